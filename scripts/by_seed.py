#!/usr/bin/env python3
"""Averages over benchmarks by training seed, in Markdown.

    python scripts/by_seed.py runs/table1

above: seeds in which the row ends above the baseline with the same seed, of those that both have.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

from sage_bench.study.figures.collect import collect
from sage_bench.study.figures.frames import average, by_row
from sage_bench.utils.errors import SageBenchError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of `sage-bench matrix`")
    parser.add_argument("--baseline", default="grpo")
    args = parser.parse_args()
    try:
        rows = by_row(collect(args.study)[0])
    except SageBenchError as error:
        print(error, file=sys.stderr)
        return 2
    found = {}
    for key, members in rows.items():
        scores = {run.seed: average(run.evaluated) for run in members if run.evaluated is not None}
        found[key] = {s: v for s, v in scores.items() if s is not None and v is not None}
    print(f"| model | row | mean | sd | above {args.baseline} | by seed |")
    print("|---|---|---:|---:|---:|---|")
    for (model, method), own in found.items():
        if len(own) < 2:
            continue
        base = found.get((model, args.baseline), {})
        shared = [seed for seed in own if seed in base]
        above = "–"
        if method != args.baseline:
            above = f"{sum(own[s] > base[s] for s in shared)} of {len(shared)}"
        values = [own[seed] for seed in sorted(own)]
        each = " ".join(f"{seed}: {own[seed]:.1f}" for seed in sorted(own))
        print(
            f"| {model} | {method} | {mean(values):.1f} | {stdev(values):.1f} | {above} | {each} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
