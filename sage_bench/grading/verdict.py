"""What a grader says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Status = Literal["ok", "no_answer", "parse_error", "timeout", "crash"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """correct, and how it came about.

    status: ok (answer and gold were compared), no_answer (nothing to compare), parse_error (the
    answer is no mathematics the comparer can read), timeout and crash (the comparison was killed or
    died). Only `ok` can be correct.
    extracted: the answer that was compared, or None.
    """

    correct: bool
    status: Status
    extracted: str | None = None


class Grader(Protocol):
    """A grader compares texts with a gold. Register one with `@register_grader("name")` on a class
    without arguments."""

    version: str

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in order. Never raises on a bad text."""
        ...

    def gold_error(self, gold: str) -> str | None:
        """Why this gold cannot be graded against, or None when it can."""
        ...
