#!/usr/bin/env python3
"""The averages of a study's table, methods by model, in Markdown.

    python scripts/averages.py results/tiny/table1/table.csv

Reads table.csv of `sage-bench matrix` or `sage-bench report --format csv`; ± is the standard error
over training seeds and questions, (n) the number of seeds. Bold: best of its model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", type=Path, help="table.csv of a study")
    parser.add_argument("--benchmark", default="avg_id", help="a benchmark, avg_id or avg_ood")
    parser.add_argument("--turned", action="store_true", help="one row a model")
    args = parser.parse_args()
    print(markdown(pd.read_csv(args.table), args.benchmark, turned=args.turned))


def markdown(frame: pd.DataFrame, benchmark: str, *, turned: bool = False) -> str:
    """One row a method, one column a model, both in the order of the file; or turned."""
    kept = frame[(frame.benchmark == benchmark) & frame.score.notna()]
    models = list(dict.fromkeys(kept.model))
    best = kept.groupby("model").score.max()
    cells = {}
    for row in kept.itertuples(index=False):
        score = f"**{row.score:.1f}**" if row.score == best[row.model] else f"{row.score:.1f}"
        seeds = f" ({row.n_seeds:.0f})" if row.n_seeds > 1 else ""
        cells[row.method, row.model] = f"{score} ± {row.se:.1f}{seeds}"
    table = pd.Series(cells).unstack()
    table = table.loc[list(dict.fromkeys(kept.method)), models].fillna("–")
    table = table.T if turned else table
    lines = ["| | " + " | ".join(table.columns) + " |", "|---" + "|---:" * len(table.columns) + "|"]
    for row in table.itertuples():
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
