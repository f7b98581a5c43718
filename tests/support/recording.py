"""Problems of two steps, of which the packaged policy solves some: groups with a signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sage_bench.data.tiny_world import problems
from sage_bench.types import Problem
from sage_bench.utils.files import write_jsonl

# two optimiser steps a batch: the second one has a ratio
GRPO = (
    "train.steps=3",
    "train.prompts_per_step=4",
    "train.updates_per_step=2",
    "method.group_size=8",
    "sampling.max_tokens=32",
    "optim.lr=2e-4",
    "validation.source=null",
    "log.kl_rows=0",
)


def short_problems(file: Path, count: int = 12) -> Path:
    """A data file of problems of `tiny_short` with a product, which the policy guesses."""
    chosen = [p for p in problems("tiny_short") if "*" in p.question]
    return written(file, chosen[:count])


def mixed_problems(file: Path, count: int = 12) -> Path:
    """Half of them so, half of three or four steps, which the policy hardly ever solves."""
    short = [p for p in problems("tiny_short") if "*" in p.question]
    longer = [p for p in problems("tiny") if len(p.extra["steps"]) <= 4]
    return written(file, [*short[: count // 2], *longer[: count - count // 2]])


def written(file: Path, chosen: Sequence[Problem]) -> Path:
    write_jsonl(
        file,
        [
            {
                "uid": p.uid,
                "question": p.question,
                "solution": p.solution,
                "answer": p.answer,
                "meta_hint": p.extra["meta_hint"],
            }
            for p in chosen
        ],
    )
    return file
