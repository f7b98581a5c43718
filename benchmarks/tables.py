"""The tables of docs/performance.md, in Markdown, from `results/bench`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.measure import cell, stored

Row = Mapping[str, Any]

WHOLE = (
    "learning",
    "rounding",
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


def everything(folder: Path) -> dict[str, str]:
    """Title -> table. Raises `SystemExit` where a benchmark has not been run."""
    step = stored(folder, "trl_step")
    shown = {
        "targets": markdown(targets.met_by(folder, targets.TARGETS)),
        "a step beside TRL": markdown(step, STEP, lambda row: row["what"] == "step"),
        "its parts": markdown(step, PARTS, _is_middle_part),
    }
    return shown | {name: markdown(stored(folder, name)) for name in WHOLE}


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
