"""`plan` from Python: memory, time and disk of a run on given GPUs, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.api.settings import YAML, Overrides, training_config
from sage_bench.config.layers import Resolved
from sage_bench.config.registry import MODELS
from sage_bench.config.schema import RunConfig
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.training.gpus import Gpus, parse
from sage_bench.training.outlook import Lengths, Outlook, advice, look, with_words
from sage_bench.utils.errors import UsageError

SPREAD = "more than one GPU: engine `trl`, since engine.name was not set"


@dataclass(frozen=True)
class RunPlan:
    """What a run needs on some GPUs. advice: `key=value` words that make it fit; empty when it
    does."""

    outlook: Outlook
    advice: list[str]

    @property
    def fits(self) -> bool:
        return self.outlook.fits

    @property
    def hours(self) -> float | None:
        return self.outlook.hours

    def values(self) -> dict[str, Any]:
        """For programs; memory in GiB."""
        plan = self.outlook
        return {
            "model": plan.model,
            "gpus": str(plan.gpus),
            "engine": plan.engine,
            "devices": plan.devices,
            "parameters": plan.parameters,
            "learning_parameters": plan.learning,
            "fits": plan.fits,
            "memory": rounded(plan.memory),
            "phases": rounded(plan.phases),
            "peak": round(plan.peak, 2),
            "limit": round(plan.limit, 2),
            "host": round(plan.host, 2),
            "advice": self.advice,
            "tokens": plan.tokens,
            "seconds_per_step": None if plan.seconds is None else rounded(plan.seconds, 1),
            "hours": None if plan.hours is None else round(plan.hours, 1),
            "disk": rounded(plan.disk),
            "assumptions": plan.assumptions,
        }


def rounded(values: dict[str, float], digits: int = 2) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}


def plan(
    what: str,
    *,
    gpus: str,
    backend: str | None = None,
    overrides: Overrides = (),
    backend_files: Sequence[str] = (),
    mean_tokens: float | None = None,
    mean_prompt: float | None = None,
) -> RunPlan:
    """What a run needs and how long it takes; loads no weights.

    what: a preset or a YAML file. gpus: `8xH100-80G`. mean_tokens, mean_prompt: lengths of
    completions and prompts, which the hours hang on. Raises `UsageError` for wrong names, keys and
    models whose sizes nobody knows.
    """
    chosen = parse(gpus)
    is_file = what not in MODELS and (Path(what).suffix in YAML or Path(what).is_file())
    resolved = training_config(
        backend=backend,
        model=None if is_file else what,
        configs=[what] if is_file else [],
        overrides=overrides,
        backend_files=backend_files,
    )
    return plan_of(resolved, chosen, Lengths(mean_tokens, mean_prompt))


def plan_of(resolved: Resolved[RunConfig], gpus: Gpus, lengths: Lengths | None = None) -> RunPlan:
    """The plan of a resolved configuration."""
    config, notes = resolved.config, []
    if gpus.count > 1 and "engine.name" not in resolved.origins:
        if config.optim.offload or config.optim.name != "adamw":
            notes.append("8-bit and offloaded states are not spread over GPUs: one GPU works")
        else:
            config = with_words(config, {"engine.name": "trl"})
            notes.append(SPREAD)
    size, samples = group_of(resolved)
    how: dict[str, Any] = {"group_size": size, "samples": samples, "lengths": lengths}
    found = look(config, gpus, **how)
    found.assumptions[:0] = notes
    return RunPlan(found, advice(config, gpus, **how))


def group_of(resolved: Resolved[RunConfig]) -> tuple[int, bool]:
    """(completions a prompt, whether the method samples at all)."""
    method = BACKENDS.get(resolved.config.backend)
    where = resolved.origins.get("method", "method")
    config = make_config(method, resolved.config.method, where)
    return config.group_size, bool(method.needs)


def short_plan(resolved: Resolved[RunConfig]) -> tuple[str, dict[str, Any] | None]:
    """(a line on memory for `--dry-run`, its numbers), on one device of this machine.

    Where the sizes of the model are not known here the line says so, and there are no numbers.
    """
    import torch

    half = torch.cuda.is_available() or not Path(resolved.config.model.path).exists()
    size, samples = group_of(resolved)
    # without a GPU the line says what is needed, not whether it fits
    memory = torch.cuda.mem_get_info()[1] / (1 << 30) if torch.cuda.is_available() else 0.0
    try:
        found = look(
            resolved.config,
            Gpus(1, "GPU", memory, None),
            group_size=size,
            samples=samples,
            half=half,
        )
    except UsageError as error:
        return f"not planned: {error.what}", None
    parts = ", ".join(f"{name} {value:.2f}" for name, value in found.memory.items())
    line = f"{found.peak:.2f} GiB at its peak on one device ({parts})"
    line += f"; checkpoints {found.disk['total']:.2f} GiB; `sage-bench plan` says more"
    return line, {"peak": found.peak, "memory": found.memory, "disk": found.disk}
