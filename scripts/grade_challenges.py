"""Count how a grader does on challenge rows (gold, answer, label, kind), by kind.

usage: python scripts/grade_challenges.py FILE... [--grader robust] [--show]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from sage_bench.grading.question import grade_question


def completion(row: dict[str, Any]) -> str:
    """What the grader is given: the answer in a box; a row about boxes is a text of its own."""
    return row["answer"] if row["kind"] == "bare box" else rf"\boxed{{{row['answer']}}}"


def graded(rows: list[dict[str, Any]], grader: str) -> list[bool]:
    return [grade_question(r["gold"], [completion(r)], grader)[0].correct for r in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--grader", default="robust")
    parser.add_argument("--show", action="store_true", help="print the rows it gets wrong")
    args = parser.parse_args()
    for file in args.files:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for row, taken in zip(rows, graded(rows, args.grader), strict=True):
            right = bool(row["label"])
            for kind in (row["kind"], "all"):
                counts[kind][0 if right else 2] += 1
                counts[kind][1 if right else 3] += taken
            if args.show and taken != right:
                print(
                    "missed" if right else "TAKEN",
                    row["kind"],
                    "|",
                    row["gold"],
                    "|",
                    row["answer"],
                )
        print(f"{file.name}, {args.grader}")
        print(f"{'kind':24}{'right':>7}{'taken':>7}{'wrong':>7}{'taken':>7}")
        for kind, numbers in counts.items():
            print(f"{kind:24}" + "".join(f"{n:7}" for n in numbers))


if __name__ == "__main__":
    main()
