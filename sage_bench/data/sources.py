"""Registered datasets. A source is a function without arguments that yields rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sage_bench.data import tiny_world
from sage_bench.data.registry import register_dataset
from sage_bench.utils.errors import DataError


def _tiny(name: str) -> Iterator[Mapping[str, Any]]:
    for p in tiny_world.problems(name):
        yield {
            "uid": p.uid,
            "question": p.question,
            "solution": p.solution,
            "answer": p.answer,
            **p.extra,
        }


@register_dataset("tiny")
def tiny() -> Iterator[Mapping[str, Any]]:
    """Training set of the tiny world: 256 chains of three to eight steps, 70 % of the operators
    `*`."""
    return _tiny("tiny")


@register_dataset("tiny-val")
def tiny_val() -> Iterator[Mapping[str, Any]]:
    """Validation set of the tiny world, same distribution as training."""
    return _tiny("tiny-val")


def _hub(repository: str, split: str, revision: str | None = None) -> Iterator[Mapping[str, Any]]:
    import datasets

    try:
        rows = datasets.load_dataset(repository, split=split, revision=revision)
    except (
        Exception
    ) as error:  # no network, no access, no such id: the Hub client has many types for it
        raise DataError(
            f"cannot be loaded from the Hub: {type(error).__name__}: {str(error).splitlines()[0]}",
            where=repository,
            remedy=(
                "check network and `HF_TOKEN`, or give a local .jsonl or .parquet file with"
                " data.source=FILE"
            ),
        ) from error
    for row in rows:
        gold = (row.get("reward_model") or {}).get("ground_truth")
        yield {
            **row,
            "uid": f"{split}-{(row.get('extra_info') or {}).get('index', '')}",
            "question": row.get("problem"),
            "answer": row.get("answer") or gold,
        }


@register_dataset("sage-train")
def sage_train() -> Iterator[Mapping[str, Any]]:
    """The 15k training prompts of SAGE (Hub: baohao/sage_train; could not be read where this was
    written)."""
    return _hub("baohao/sage_train", "train")


@register_dataset("sage-validation")
def sage_validation() -> Iterator[Mapping[str, Any]]:
    """SAGE's validation prompts (Hub: baohao/sage_validation; could not be read where this was
    written)."""
    return _hub("baohao/sage_validation", "test")
