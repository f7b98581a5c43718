"""One evaluation of a sampler, and the rows it stored."""

from __future__ import annotations

from pathlib import Path

from sage_bench.evaluation import runner
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.samplers.base import Sampler
from sage_bench.utils.files import read_jsonl


def evaluate(
    sampler: Sampler, out: Path, tasks: str = "tiny_short:2", model: str = "model", **changes
) -> Path:
    return runner.evaluate(
        runner.EvalConfig(model, parse(tasks), out, **{"limit": 12, **changes}), sampler, quiet=True
    )


def rows(folder: Path, task: str = "tiny_short") -> list[dict]:
    return [
        {k: v for k, v in r.items() if k != "time"}
        for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
    ]
