"""The command line that starts a training run in several processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sage_bench.config.files import parse_yaml
from sage_bench.utils.errors import UsageError, did_you_mean

PLACE = "sage_bench.engines.trl"
LAUNCHER = "accelerate.commands.launch"  # what the command `accelerate launch` runs


@dataclass(frozen=True)
class Launch:
    """How processes are started. config: file for accelerate; options: of its launcher; words: of
    sage-bench."""

    config: Path
    options: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def line(self) -> list[str]:
        """To be typed."""
        return ["accelerate", "launch", *self._rest]

    @property
    def command(self) -> list[str]:
        """The same with this Python."""
        return [sys.executable, "-m", LAUNCHER, *self._rest]

    @property
    def _rest(self) -> list[str]:
        file = ["--config_file", str(self.config)]
        return [*file, *self.options, "-m", "sage_bench", *self.words]


def packaged() -> dict[str, Path]:
    """Configurations of accelerate that come with sage-bench, by name."""
    folder = Path(str(files(PLACE))) / "accelerate"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def launch_of(
    config: str,
    words: Sequence[str],
    *,
    processes: int | None = None,
    machine_rank: int | None = None,
    main_process_ip: str | None = None,
) -> Launch:
    """What starts `sage-bench WORDS` under a configuration (name or file).

    processes: in all, instead of the configuration's. Raises `UsageError` for what accelerate would
    fail on minutes later, or not at all.
    """
    file = file_of(config)
    settings = read(file)
    if not words or words[0] != "train":
        raise UsageError(
            "only `train` runs in several processes",
            where="launch",
            remedy="sage-bench launch --config fsdp2-8gpu -- train ... --out DIR",
        )
    words = [*words]
    if "--engine" not in words and not any(word.startswith("engine.name=") for word in words):
        words += ["--engine", "trl"]
    options = []
    if processes is not None:
        options += ["--num_processes", str(processes)]
    if int(settings.get("num_machines") or 1) > 1:
        main_process_ip = main_process_ip or settings.get("main_process_ip")
        if main_process_ip is None or machine_rank is None:
            raise UsageError(
                f"{settings['num_machines']} machines need to know each other",
                where=str(file),
                remedy="give --main-process-ip (of machine 0) and --machine-rank (0, 1, ...)",
            )
    if machine_rank is not None:
        options += ["--machine_rank", str(machine_rank)]
    if main_process_ip is not None:
        options += ["--main_process_ip", main_process_ip]
    return Launch(file, tuple(options), tuple(words))


def file_of(config: str) -> Path:
    """A configuration's file. Raises `UsageError` naming the packaged ones."""
    known = packaged()
    if config in known:
        return known[config]
    if Path(config).is_file():
        return Path(config)
    hint = did_you_mean(config, known)
    raise UsageError(
        f"there is no configuration `{config}`" + (f"; {hint}" if hint else ""),
        where="--config",
        remedy="give a file of accelerate, or one of " + ", ".join(known),
    )


def read(file: Path) -> dict[str, Any]:
    """A configuration's values. Raises `UsageError` where it is not a YAML mapping."""
    values = parse_yaml(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise UsageError("is not a configuration of accelerate", where=str(file))
    return values


def check_devices(launch: Launch) -> None:
    """Raise `UsageError` where this machine has fewer GPUs than the configuration wants here."""
    import torch

    settings = read(launch.config)
    if settings.get("use_cpu"):
        raise UsageError(
            "accelerate starts one process on a CPU, whatever its configuration says",
            where=str(launch.config),
            remedy="torchrun --standalone --nproc-per-node 2 -m sage_bench train --engine trl ...",
        )
    wanted = int(settings.get("num_processes") or 1)
    if "--num_processes" in launch.options:
        wanted = int(launch.options[launch.options.index("--num_processes") + 1])
    here = wanted // int(settings.get("num_machines") or 1)
    count = torch.cuda.device_count()
    if count < here:
        raise UsageError(
            f"{here} GPUs are wanted on this machine, {count} are visible",
            where=str(launch.config),
            remedy="give --processes, or --print to see the command line",
        )
