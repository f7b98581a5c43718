"""Registered datasets. A source is a function without arguments that yields rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sage_bench.data import tiny_steps as labelled_steps
from sage_bench.data import tiny_world
from sage_bench.data.hub import HubData, read_hub
from sage_bench.data.registry import register_dataset

# No revision is pinned: the datasets were not public when this was written. `sage-train@COMMIT`
# pins one, and a run without it says which was read.
SAGE_TRAIN = HubData(
    "sage-train", "baohao/sage_train", "train", pin="data.source=sage-train@{revision}"
)
SAGE_VALIDATION = HubData(
    "sage-validation",
    "baohao/sage_validation",
    "test",
    pin="validation.source=sage-validation@{revision}",
)
LIMO = HubData("limo", "GAIR/LIMO", "train", pin="data.source=limo@{revision}")


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
    """Training set of the tiny world: 256 chains of three to eight steps, 85 % of the operators
    `*`."""
    return _tiny("tiny")


@register_dataset("tiny-val")
def tiny_val() -> Iterator[Mapping[str, Any]]:
    """Validation set of the tiny world, same distribution as training."""
    return _tiny("tiny-val")


@register_dataset("tiny2")
def tiny2() -> Iterator[Mapping[str, Any]]:
    """Training set of the second tiny world: 256 chains of five to ten steps, 60 % of the operators
    `^`."""
    return _tiny("tiny2")


@register_dataset("tiny2-val")
def tiny2_val() -> Iterator[Mapping[str, Any]]:
    """Validation set of the second tiny world, same distribution as training."""
    return _tiny("tiny2-val")


@register_dataset("tiny-few")
def tiny_few() -> Iterator[Mapping[str, Any]]:
    """Training set in which few tokens decide: 256 chains of six to eight steps, 15 % of the
    operators `*`."""
    return _tiny("tiny-few")


@register_dataset("tiny2-few")
def tiny2_few() -> Iterator[Mapping[str, Any]]:
    """The same in the second tiny world: eight to ten steps, 15 % of the operators `^`."""
    return _tiny("tiny2-few")


def _hinted(name: str) -> Iterator[Mapping[str, Any]]:
    for row in _tiny(name):
        yield {**row, "abstract_hint": row["hints"][0], "answer_hint": row["hints"][-1]}


@register_dataset("tiny-hints")
def tiny_hints() -> Iterator[Mapping[str, Any]]:
    """The problems of `tiny` with hints of two more kinds, for HINT: `abstract_hint` is how many
    steps there are, `answer_hint` all steps but the last."""
    return _hinted("tiny")


@register_dataset("tiny2-hints")
def tiny2_hints() -> Iterator[Mapping[str, Any]]:
    """The problems of `tiny2` with the hints of `tiny-hints`."""
    return _hinted("tiny2")


def _labelled(name: str) -> Iterator[Mapping[str, Any]]:
    for number, response in enumerate(labelled_steps.responses(name)):
        yield response.row(f"{name}-{number:04d}")


@register_dataset("tiny-steps")
def tiny_steps() -> Iterator[Mapping[str, Any]]:
    """Labelled steps of the tiny world for `judge-train`: 4000 responses to chains of two to eight
    steps, 35 % of the operators `*`, half of them with one mistake."""
    return _labelled("tiny-steps")


@register_dataset("tiny-steps-test")
def tiny_steps_test() -> Iterator[Mapping[str, Any]]:
    """Labelled steps to measure judges on: 200 responses to chains of the operators that the
    policies train on, 85 % of them `*`."""
    return _labelled("tiny-steps-test")


def _sage(data: HubData) -> Iterator[Mapping[str, Any]]:
    """Rows of SAGE's own sets, which keep the gold under `reward_model`, as verl has it."""
    for row in read_hub(data):
        gold = (row.get("reward_model") or {}).get("ground_truth")
        index = (row.get("extra_info") or {}).get("index", "")
        yield {
            **row,
            "uid": f"{data.split}-{index}",
            "question": row.get("problem"),
            "answer": row.get("answer") or gold,
        }


@register_dataset("sage-train")
def sage_train(revision: str | None = None) -> Iterator[Mapping[str, Any]]:
    """The 15k training prompts of SAGE (Hub: baohao/sage_train)."""
    return _sage(replace(SAGE_TRAIN, revision=revision))


@register_dataset("limo")
def limo(revision: str | None = None) -> Iterator[Mapping[str, Any]]:
    """817 hard problems with reference solutions (Hub: GAIR/LIMO)."""
    for number, row in enumerate(read_hub(replace(LIMO, revision=revision))):
        yield {"uid": f"limo-{number:04d}", **row}


@register_dataset("sage-validation")
def sage_validation(revision: str | None = None) -> Iterator[Mapping[str, Any]]:
    """SAGE's validation prompts (Hub: baohao/sage_validation)."""
    return _sage(replace(SAGE_VALIDATION, revision=revision))
