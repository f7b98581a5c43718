"""Planned against measured memory of a training step, on a CPU: the three architectures, small.

    python scripts/plan_check.py [--markdown FILE] [--json]

Every case runs in a process of its own, which builds a model with random weights, takes two steps
of the local learner (the second has the optimiser's state from the beginning) of two micro-batches
(the second finds gradients that lie there) and reports the peak of its resident memory over what
it had before the model. Exit code 1 when a case is off by more than 15 %.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from random_models import Case, asdict, build, learner, planned, rows, small

MOST_OFF = 0.15
MIB = 1 << 20
SIZES = dict(layers=6, hidden=384, heads=6, kv_heads=2, head_dim=64, intermediate=1024)
VOCABULARY = 8192
BATCH = dict(prompts=1, prompt_tokens=32, rows=4, completion_tokens=96)
LONG = BATCH | {"rows": 16}  # more logits than are kept
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"checkpointing": True},
    {"prompt_once": True},
    {"adapters": 16},
    {"adapters": 16, "checkpointing": True},
    {"checkpointing": True, "batch": LONG},
)
HEADING = """# Planned and measured memory of a training step

Printed by `python scripts/plan_check.py --markdown FILE`: two steps of the local learner on a CPU
in float32, each case in a process of its own; 6 layers of width 384, a vocabulary of 8192, 4 rows
of 96 tokens in a micro-batch. With 16 rows the logits are more than are kept: they are made again
in the backward.

"""
# freed memory goes back to the system at once: what counts is what is held
STEADY = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
}


def cases() -> list[Case]:
    found = []
    for model in architectures():
        for way in WAYS:
            found.append(Case(model, **{"batch": BATCH, **way}))
    return found


def architectures() -> dict[str, Any]:
    """The three of the paper with their own layout, at small sizes."""
    from sage_bench.training.architectures import ARCHITECTURES

    shrunk = {}
    for arch in ARCHITECTURES.values():
        shrunk[arch.family] = small(arch, **SIZES, vocabulary=VOCABULARY, context=1024)
    return shrunk


# ---- in the process that is measured -------------------------------------------------------------
def memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", text, flags=re.M)
    if found is None:
        raise RuntimeError(f"this system does not report {name}")
    return int(found[1]) * 1024


def measure(case: Case) -> dict[str, float]:
    """Peak memory of two steps over what there was before the model."""
    import torch

    from sage_bench.methods.objective import Objective
    from sage_bench.training.memory import Batch

    torch.set_num_threads(1)
    arch = architectures()[case.model]
    tiny = small(arch, layers=1, hidden=32, heads=2, kv_heads=1, head_dim=16, intermediate=32)
    few = Batch(1, 2, 2, 3)
    square = torch.ones(1024, 1024)
    square @ square  # what the matrix library needs for itself
    # libraries load what they load lazily before the first number is taken
    learner(build(tiny, torch.float32), case).update(rows(few, 64), Objective())
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    batch = Batch(**case.batch)
    own = learner(build(arch, torch.float32), case)
    data = rows(batch, arch.vocabulary, batches=2)
    for _ in range(2):
        own.update(data, Objective())
    return {"measured": memory("VmHWM") - before, "planned": planned(arch, case, on_cpu=True).peak}


# ---- in the process that asks --------------------------------------------------------------------
def in_a_process(case: Case) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", json.dumps(asdict(case))]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **STEADY}, check=False
    )
    if done.returncode:
        raise SystemExit(f"{case.model}, {case.label}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "architecture": case.model,
        "step": case.label + (", 16 rows" if case.batch == LONG else ""),
        "planned_mib": round(found["planned"] / MIB, 1),
        "measured_mib": round(found["measured"] / MIB, 1),
        "ratio": round(found["planned"] / found["measured"], 3),
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| architecture | step | planned MiB | measured MiB | ratio |",
        "|---|---|--:|--:|--:|",
    ]
    for row in results:
        lines.append("| " + " | ".join(str(value) for value in row.values()) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", help="an architecture: llama, qwen2 or qwen3")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(Case(**json.loads(options.worker)))))
        return 0
    wanted = [case for case in cases() if options.only in (None, case.model)]
    results = []
    for number, case in enumerate(wanted, start=1):
        results.append(in_a_process(case))
        print(f"{number}/{len(wanted)} {case.model}, {case.label}", file=sys.stderr)
    print(json.dumps(results, indent=1) if options.json else table(results))
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(HEADING + table(results) + "\n", encoding="utf-8")
    return int(any(abs(row["ratio"] - 1) > MOST_OFF for row in results))


if __name__ == "__main__":
    sys.exit(main())
