#!/usr/bin/env python3
"""Numbers of training over the steps, by row of a study: medians over training seeds.

    python scripts/over_steps.py runs/stories/hint --columns learner/affinity learner/entropy

Every column of metrics.jsonl can be named; `validation` is the reward without hints on the
validation set, `rollouts` counts from the start. `--parts` says into how many stretches the steps
of a row are divided; a cell is the mean over the steps of its stretch. Rows of other lengths are in
tables of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import pandas as pd

from sage_bench.cli.output import table_text
from sage_bench.reporting.runs import TrainRun
from sage_bench.study.figures.collect import StudyRun, collect
from sage_bench.study.figures.frames import by_row
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import read_jsonl

VALIDATION = "validation"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of `sage-bench matrix`")
    parser.add_argument("--columns", nargs="+", default=[VALIDATION, "reward", "learner/entropy"])
    parser.add_argument("--parts", type=int, default=4)
    args = parser.parse_args()
    try:
        rows = by_row(collect(args.study)[0])
    except SageBenchError as error:
        print(error, file=sys.stderr)
        return 2
    for column in args.columns:
        print(f"{column}: median over seeds (lowest, highest)\n")
        print(table(rows, column, args.parts), "\n")
    return 0


def table(rows: dict[tuple[str, str], list[StudyRun]], column: str, parts: int) -> str:
    """One table for all rows of one length: their stretches are the same steps."""
    lines: dict[int, list[tuple[object, ...]]] = {}
    for (model, method), members in rows.items():
        trained = [run.trained for run in members if run.trained is not None]
        series = [found for run in trained if (found := numbers(run, column)) is not None]
        if series:
            last = max(int(own.index.max()) for own in series)
            cells = [
                spread([own.loc[a:b].mean() for own in series]) for a, b in stretches(last, parts)
            ]
            lines.setdefault(last, []).append((model, method, len(series), *cells))
    tables = []
    for last, own in lines.items():
        header = [f"{a} to {b}" for a, b in stretches(last, parts)]
        tables.append(table_text(("model", "row", "seeds", *header), own, right=2))
    return "\n\n".join(tables) or "no run has this column"


def numbers(run: TrainRun, column: str) -> pd.Series | None:
    """A number by step."""
    if column == VALIDATION:
        file = run.folder / "validation.jsonl"
        read = pd.DataFrame(read_jsonl(file)) if file.is_file() else pd.DataFrame()
        return None if read.empty else read.set_index("step")["reward"]
    if column not in run.metrics:
        return None
    own = run.metrics.set_index("step")[column]
    return own.cumsum() if column == "rollouts" else own


def stretches(last: int, parts: int) -> list[tuple[int, int]]:
    """First and last step of each part.

    >>> stretches(39, 4)
    [(0, 9), (10, 19), (20, 29), (30, 39)]
    """
    edges = [round(i * (last + 1) / parts) for i in range(parts + 1)]
    return [(a, b - 1) for a, b in pairwise(edges)]


def spread(values: Sequence[float]) -> str:
    known = [v for v in values if v == v]  # a stretch without a number gives NaN
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{median(known):.3f} ({min(known):.3f}, {max(known):.3f})"


if __name__ == "__main__":
    sys.exit(main())
