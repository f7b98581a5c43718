"""`python -m benchmarks all`: every benchmark, each in a process of its own, one thread."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

NAMES = {
    "trl_step": "a GRPO step beside TRL's GRPOTrainer",
    "decoding": "the local sampler beside transformers",
    "choosing": "the next token of large vocabularies, with and without top-p",
    "learning": "the learner beside the machine's limit",
    "rounding": "what bfloat16 weights change",
    "grading": "rows a second of every grader",
    "pipeline": "evaluation around the model, report, compare, start-up",
    "methods": "a step of each method, beside GRPO",
    "growth": "how a step grows with group, lengths, vocabulary and policy",
    "real": "what evaluation adds to a real sampler, and the demo",
}
ABOUT = {
    **NAMES,
    "all": "all of these, one after the other, then picture and targets",
    "picture": "results/bench/*.json as one picture",
    "targets": "which targets those results meet",
    "tables": "the same results as the tables of docs/performance.md",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description="What the work costs: CPU seconds and ratios, side by side in one run.",
        epilog="\n".join(f"{name}: {what}" for name, what in ABOUT.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=list(ABOUT))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs at all")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), help="for the JSON")
    args = parser.parse_args()
    if args.what == "all":
        return everything(args.quick, args.out)
    if args.what == "picture":
        from benchmarks import picture

        print(picture.draw(args.out))
        return 0
    if args.what == "tables":
        from benchmarks import tables

        for title, text in tables.everything(args.out).items():
            print(f"{title}\n\n{text}\n")
        return 0
    if args.what == "targets":
        from benchmarks import measure, targets

        measure.show(targets.table(args.out))
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from benchmarks import measure

    result = importlib.import_module(f"benchmarks.{args.what}").run(args.quick)
    measure.show(result)
    print(measure.write(result, args.out))
    return 0


def everything(quick: bool, out: Path) -> int:
    """All of them; one that fails is told at the end and stops no other."""
    failed = []
    for name in NAMES:
        words = [sys.executable, "-m", "benchmarks", name, "--out", str(out)]
        done = subprocess.run(words + ["--quick"] * quick, check=False)
        if done.returncode != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    for name in ("picture",) if quick else ("picture", "targets"):
        subprocess.run([sys.executable, "-m", "benchmarks", name, "--out", str(out)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
