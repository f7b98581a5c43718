"""Runs of three steps of the method of `rank_faults` in several processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_runs
from forked_ranks import Ranks

SUPPORT = Path(__file__).resolve().parent
RUN = [*small_runs.WORDS, "train.prompts_per_step=4", "train.steps=3", "validation.every=10"]


@dataclass(frozen=True)
class Ended:
    returncode: int
    codes: list[int]
    stderr: str


def words_of(folder: Path, *words: str, backend: str = "faulty") -> list[str]:
    what = ["train", "--engine", "trl", "--backend", backend, "--model", "tiny-qwen2"]
    faults = ["--backend-file", str(SUPPORT / "rank_faults.py")]
    return [*what, *faults, "--data", "tiny", "--out", str(folder), "-q", *RUN, *words]


def starter(ranks: Ranks) -> Callable[..., Ended]:
    """run(folder, *words): a run to its end. fault, room: see `rank_faults`; env: further
    variables; processes, file_bytes, shards: see `forked_ranks`."""

    def start(
        folder: Path,
        *words: str,
        fault: str = "",
        room: str = "",
        env: dict[str, str] | None = None,
        **how: Any,
    ) -> Ended:
        note = str(folder.parent / f"{folder.name}.met")
        env = {"SB_FAULT": fault, "SB_FAULT_NOTE": note, "SB_ROOM": room, **(env or {})}
        found = ranks.run(words_of(folder, *words), env=env, **how)
        return Ended(max(map(abs, found["codes"])), found["codes"], found["stderr"])

    return start


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "step_000003"


def distance(a: Path, b: Path, file: str = "model.safetensors") -> float:
    """Of the last checkpoints of two runs, relative to their norm."""
    return small_runs.distance(last(a) / file, last(b) / file)
