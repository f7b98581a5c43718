"""Checkpoints: a folder is complete or does not exist.

`checkpoints/step_000050/` holds the model as `transformers` loads it, and beside it what the run
needs to go on: optimizer.safetensors, engine.json, method.json, run.json. It is written under
another name and renamed when whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from sage_bench.engines.base import Engine
from sage_bench.generation.model_folders import LABEL
from sage_bench.methods.base import Method
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import write_json

_NAME = re.compile(r"step_(\d{6,})")


def name(step: int) -> str:
    return f"step_{step:06d}"


def steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints of a run, ascending."""
    found = [_NAME.fullmatch(p.name) for p in (folder / "checkpoints").glob("step_*")]
    return sorted(int(m[1]) for m in found if m)


def save(
    folder: Path,
    step: int,
    engine: Engine,
    method: Method,
    *,
    state: dict[str, Any],
    label: dict[str, Any],
    keep: int | None = None,
) -> Path:
    """Write the checkpoint of `step` (weights after that many steps).

    Older ones lose their optimiser state, then go (`keep`). state goes to run.json; label to
    `sage_bench.json`, which says what these weights are wherever the
    folder goes.
    """
    final = folder / "checkpoints" / name(step)
    partial = final.with_name(f".partial-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    engine.save(partial)
    write_json(partial / "method.json", {"state": method.state_dict(), "prepared": method.prepared})
    write_json(partial / "run.json", {"step": step, **state})
    write_json(partial / LABEL, {"step": step, **label})
    for file in partial.iterdir():
        with file.open("rb") as f:
            os.fsync(f.fileno())
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    for old in [s for s in steps(folder) if s < step]:
        (final.with_name(name(old)) / "optimizer.safetensors").unlink(missing_ok=True)
    if keep is not None:
        for old in steps(folder)[:-keep]:
            shutil.rmtree(final.with_name(name(old)))
    return final


def load_latest(folder: Path, engine: Engine, method: Method) -> dict[str, Any] | None:
    """Bring engine and method to the newest complete checkpoint.

    Returns its run.json, or None when there is none.
    """
    for leftover in (folder / "checkpoints").glob(".partial-*"):
        shutil.rmtree(leftover)
    found = steps(folder)
    if not found:
        return None
    path = folder / "checkpoints" / name(found[-1])
    if not (path / "optimizer.safetensors").exists():
        raise SageBenchError(
            "the newest checkpoint has no optimiser state",
            where=str(path),
            remedy="start in another --out with --model set to this checkpoint",
        )
    engine.load(path)
    saved = json.loads((path / "method.json").read_text(encoding="utf-8"))
    method.prepared = saved["prepared"]
    method.load_state_dict(saved["state"])
    state: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
    return state
