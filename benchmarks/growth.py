"""How the cost of our GRPO step grows with the group, the lengths, the vocabulary and the policy:
one of them is changed at a time, and a straight line is fitted to each."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure import Result, in_a_process, machine
from benchmarks.models import SIZES

BASE = {"G": 8, "prompt": 128, "completion": 64, "size": "5M", "vocabulary": 8000}
AXES: dict[str, list[Any]] = {
    "G": [4, 8, 16, 32],
    "prompt": [32, 128, 256, 512],
    "completion": [32, 64, 128, 256],
    "vocabulary": [8000, 16000, 32000, 128000],
    "size": list(SIZES),
}
QUICK: dict[str, list[Any]] = {"G": [2, 4]}
MEASURED = ("step", "sampling", "memory")


def run(quick: bool = False) -> Result:
    """One line a value of one axis: what was measured, and what the fitted line says there."""
    base = BASE | ({"prompt": 16, "completion": 8} if quick else {})
    rows: list[dict[str, Any]] = []
    for axis, values in (QUICK if quick else AXES).items():
        found = [
            in_a_process("benchmarks.growth", json.dumps(base | {axis: value})) for value in values
        ]
        xs = [one["millions"] for one in found] if axis == "size" else list(map(float, values))
        fits = {name: line([one[name] for one in found], xs) for name in MEASURED}
        for i, x in enumerate(xs):
            row: dict[str, Any] = {"axis": axis, "value": x}
            for name in MEASURED:
                unit = "MiB" if name == "memory" else "s"
                at, slope = fits[name]
                row |= {f"{name} {unit}": found[i][name], f"{name} fit": at + slope * x}
            rows.append(row)
    about = (
        "A GRPO step of ours, one axis changed at a time from G 8, prompts of 128 and completions"
        " of 64 tokens, a vocabulary of 8,000, 4.9 M parameters; 4 prompts, float32, one thread,"
        " CPU seconds, peak memory above what was resident. Fit: a straight line a column and axis,"
        " by least squares of relative errors. The value of `size` is in millions of parameters"
    )
    return Result("growth", about, rows, machine())


def line(values: Sequence[float], xs: Sequence[float]) -> tuple[float, float]:
    """(value at 0, slope) of the line with the smallest squared relative errors.

    >>> at, slope = line([3.0, 5.0, 9.0], [1.0, 2.0, 4.0])
    >>> round(at, 6), round(slope, 6)
    (1.0, 2.0)
    """
    slope, at = np.polyfit(xs, values, 1, w=1 / np.asarray(values))
    return float(at), float(slope)


def _measure(setting: dict[str, Any]) -> dict[str, float]:
    import torch

    from benchmarks.trl_step import ours

    torch.set_num_threads(1)
    size, vocabulary = setting["size"], setting["vocabulary"]
    shape = (setting["G"], setting["prompt"], setting["completion"])
    return ours("qwen2", "all", *shape, size, vocabulary)


if __name__ == "__main__":
    print(json.dumps(_measure(json.loads(sys.argv[1]))))
