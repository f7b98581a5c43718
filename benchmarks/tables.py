"""The tables of docs/performance.md, in Markdown, from `results/bench`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.measure import cell

Row = Mapping[str, Any]


def everything(folder: Path) -> dict[str, str]:
    """Title -> table. Raises `SystemExit` where a benchmark has not been run."""
    rows = {name: _rows(folder, name) for name in ALL}
    return {
        "targets": markdown(targets.met_by(folder, targets.TARGETS)),
        "a step beside TRL": markdown(rows["trl_step"], STEP, lambda row: row["what"] == "step"),
        "its parts": markdown(rows["trl_step"], PARTS, _is_middle_part),
        "the learner": markdown(rows["learning"]),
        "decoding": markdown(rows["decoding"]),
        "choosing": markdown(rows["choosing"]),
        "methods": markdown(rows["methods"], METHODS),
        "growth": markdown(rows["growth"]),
        "grading": markdown(rows["grading"]),
        "pipeline": markdown([*rows["pipeline"]]),
        "real": markdown(rows["real"]),
    }


ALL = (
    "trl_step",
    "learning",
    "decoding",
    "choosing",
    "methods",
    "growth",
    "grading",
    "pipeline",
    "real",
)
CELL = ("policy", "learns", "G", "prompt", "completion")
STEP = (*CELL, "ours s", "TRL s", "TRL / ours", "floor s", "memory ours / TRL")
PARTS = ("prompt", "completion", "what", "ours s", "TRL s", "TRL / ours", "floor s")
METHODS = (
    "failing",
    "method",
    "rollouts",
    "trained tokens",
    "rollout s",
    "update s",
    "step s",
    "step, grpo = 1",
    "step, grpo, dead rows too = 1",
)


def _is_middle_part(row: Row) -> bool:
    """The parts of the step of the three shapes at group size 8."""
    plain = (row["policy"], row["learns"], row["G"]) == ("qwen2", "all", 8)
    return plain and row["what"] != "step"


def markdown(
    rows: Sequence[Row],
    columns: Sequence[str] = (),
    where: Callable[[Row], bool] = lambda _: True,
) -> str:
    """A table of some columns of the rows for which `where` holds.

    >>> print(markdown([{"what": "eval", "CPU s": 1.2345}, {"what": "help", "CPU s": None}]))
    | what | CPU s |
    |---|---:|
    | eval | 1.23 |
    | help | – |
    """
    columns = columns or list(rows[0])
    chosen = [row for row in rows if where(row)]
    lines = ["| " + " | ".join(columns) + " |"]
    kinds = ["---:" if _is_number(chosen, c) else "---" for c in columns]
    lines.append("|" + "|".join(kinds) + "|")
    lines += ["| " + " | ".join(cell(row[c]) for c in columns) + " |" for row in chosen]
    return "\n".join(lines)


def _is_number(rows: Sequence[Row], column: str) -> bool:
    return all(isinstance(row[column], int | float | None) for row in rows)


def _rows(folder: Path, name: str) -> list[Row]:
    file = folder / f"{name}.json"
    if not file.is_file():
        raise SystemExit(f"{file} is not there: python -m benchmarks {name}")
    found: list[Row] = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return found
