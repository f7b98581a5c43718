"""What a grader is and what it says; the whole project uses these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Status = Literal["ok", "no_answer", "parse_error", "timeout", "crash"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """correct, and how it came about.

    status: ok (answer and gold were compared), no_answer (nothing to compare), parse_error (the
    answer is not mathematics the comparer can read), timeout and crash (the comparison was killed
    or died). Only `ok` can be correct.
    extracted: the answer that was compared, or None.
    """

    correct: bool
    status: Status
    extracted: str | None = None


class Grader(Protocol):
    """A grader compares texts with a gold.

    Register one with `@register_grader("name")` on a class without arguments.
    """

    version: str

    def grade(self, gold: str, texts: Sequence[str]) -> Sequence[Verdict]:
        """One verdict a text, in order. Never raises on a bad text."""
        ...

    def gold_error(self, gold: str) -> str | None:
        """Why this gold cannot be graded against, or None when it can."""
        ...


@runtime_checkable
class OptionGrader(Grader, Protocol):
    """A grader that wants to know the options of a multiple-choice question."""

    def for_options(self, options: Sequence[str]) -> Grader:
        """The grader of one question."""
        ...
