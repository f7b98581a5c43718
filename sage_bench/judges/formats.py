"""Labelled steps as their authors publish them, brought to one set of columns: `problem`, `steps`,
`label` (0-based, -1 = none is wrong), and what else there is. Pure functions of one row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Raw = Mapping[str, Any]

# what a row of each format is known by, for people
FORMATS = {
    "ProcessBench": "problem, steps, label (first wrong step from 0, -1 = none)",
    "PRM800K": "question.problem, label.steps (completions with ratings), as OpenAI published it",
    "MR-GSM8K": "question, model_output_steps, model_output_solution_first_error_step (from 1)",
    "marked steps": "problem, steps, error_steps (all wrong ones, from 1) or ratings (-1 = wrong)",
}
QUESTION = ("problem", "question", "prompt")
STEPS = ("steps", "model_output_steps", "solution_steps")
FIRST_ERROR = "model_output_solution_first_error_step"
LABELS = ("label", "error_steps", "ratings", FIRST_ERROR)
NOT_APPLICABLE = ("", "n/a", "none", "null")
# why a labeller left a solution without a verdict on its steps
NO_VERDICT = {"give_up": "its labeller gave up", "bad_problem": "its labeller called it a bad one"}


def described() -> str:
    """The formats in one sentence."""
    return "; ".join(f"{name}: {columns}" for name, columns in FORMATS.items())


def is_known(raw: Raw) -> bool:
    """Whether a row has the columns of any of the formats, right or wrong.

    >>> is_known({"problem": "1+1?", "steps": [], "label": 0}), is_known({"text": "1+1=3"})
    (True, False)
    """
    if _is_prm800k(raw):
        return True
    return all(any(name in raw for name in names) for names in (QUESTION, STEPS, LABELS))


def plain_row(raw: Raw) -> Raw:
    """The row in the common columns; a row that has them stays as it is. Raises `ValueError` with
    the reason why it cannot be used."""
    if _is_prm800k(raw):
        return _from_prm800k(raw)
    if FIRST_ERROR in raw and raw.get("label") is None:
        return _from_mr_gsm8k(raw)
    return raw


# ---- values --------------------------------------------------------------------------------------
def missing(value: Any) -> bool:
    """What a file has where there is nothing: null, or the NaN of a table."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def whole(value: Any) -> int | None:
    """A whole number, also one that stands as text or, as in tables, as 3.0; None for all else.

    >>> whole(3), whole("3"), whole(3.0), whole(2.5), whole(True), whole("N/A")
    (3, 3, 3, None, None, None)
    """
    if isinstance(value, str):
        return int(float(value)) if re.fullmatch(r"\s*-?\d{1,6}(\.0)?\s*", value) else None
    if isinstance(value, bool):
        return None
    exact = isinstance(value, int) or (hasattr(value, "is_integer") and value.is_integer())
    return int(value) if exact else None


def listed(value: Any, what: str) -> list[Any]:
    """The members of a list. Raises `ValueError` for all else."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"{what} are no list")
    return list(value)


def is_wrong(rating: Any) -> bool:
    """Whether a step is rated -1. Raises `ValueError` for a rating of another scale."""
    number = None if missing(rating) else whole(rating)
    if number not in (-1, 0, 1) and not missing(rating):
        raise ValueError("a rating is none of -1, 0 and 1")
    return number == -1


# ---- MR-GSM8K ------------------------------------------------------------------------------------
def _from_mr_gsm8k(raw: Raw) -> dict[str, Any]:
    """Counts from 1, and says N/A where nothing is wrong."""
    first = raw[FIRST_ERROR]
    blank = missing(first) or str(first).strip().lower() in NOT_APPLICABLE
    if blank and raw.get("model_output_solution_correctness") == "wrong":
        raise ValueError("it is called wrong, and none of its steps is")
    label = -1
    if not blank:
        number = whole(first)
        if number is None:
            raise ValueError("its label is no whole number")
        if number < 1:
            raise ValueError("its label is none of its steps")
        label = number - 1
    return {
        **raw,
        "label": label,
        "answer": raw.get("ground_truth_answer", raw.get("answer")),
        "solution": raw.get("ground_truth_solution", raw.get("solution")),
        "why": raw.get("model_output_solution_first_error_reason"),
    }


# ---- PRM800K -------------------------------------------------------------------------------------
def _is_prm800k(raw: Raw) -> bool:
    return isinstance(raw.get("question"), Mapping) and isinstance(raw.get("label"), Mapping)


def _from_prm800k(raw: Raw) -> dict[str, Any]:
    """The path its labellers followed, up to the first step rated -1, and on with the steps that
    had been generated before (phase 2)."""
    question, label = raw["question"], raw["label"]
    verdict = label.get("finish_reason")
    if isinstance(verdict, str) and verdict in NO_VERDICT:
        raise ValueError(NO_VERDICT[verdict])
    marked = listed(label.get("steps") or [], "its steps")
    if not marked:
        raise ValueError("no steps")
    steps: list[Any] = []
    first_wrong = -1
    for number, step in enumerate(marked):
        text, rating = _followed(step)
        steps.append(text)
        if is_wrong(rating):
            first_wrong = number
            break
    if first_wrong < 0 and verdict == "found_error":
        raise ValueError("an error was found in it, and no step is rated -1")
    return {
        "id": raw.get("id"),
        "problem": question.get("problem"),
        "steps": [*steps, *_rest(question.get("pre_generated_steps"), steps)],
        "label": first_wrong,
        "answer": question.get("ground_truth_answer"),
        "solution": question.get("ground_truth_solution"),
    }


def _followed(step: Any) -> tuple[Any, Any]:
    """(text, rating) of the completion that was gone on with; of the first one where none was,
    which is where a solution ends. What people wrote themselves is right."""
    if not isinstance(step, Mapping):
        raise ValueError("a step is no text")
    completions = listed(step.get("completions") or [], "its completions")
    chosen, human = step.get("chosen_completion"), step.get("human_completion")
    if chosen is None and isinstance(human, Mapping):
        return human.get("text"), 1
    place = chosen if chosen is not None else 0
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(completions):
        raise ValueError("its chosen completion is none of those it has")
    found = completions[place]
    if not isinstance(found, Mapping):
        raise ValueError("a step is no text")
    return found.get("text"), found.get("rating")


def _rest(generated: Any, steps: Sequence[Any]) -> list[Any]:
    """What had been generated after the steps that were looked at, where they are its beginning."""
    if not isinstance(generated, list) or generated[: len(steps)] != list(steps):
        return []
    return generated[len(steps) :]
