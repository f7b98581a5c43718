"""From labelled steps to rows for supervised fine-tuning (docs/judges.md): the judge's prompt as
the question, its verdict in JSON as the solution. Pure functions of the rows and a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sage_bench.data.rows import RejectedRow
from sage_bench.generation.prompts import Messages, Prompts, Renderer
from sage_bench.judges.base import judge_messages, reference_text
from sage_bench.judges.labelled import NO_ERROR, Labelled
from sage_bench.judges.trained import texts_of
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.seeds import derive_seed

Shown = Literal["shown", "withheld", "mixed"]
SPARE_TOKENS = 32  # of a verdict, beyond the longest one that is taught


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row of the training data. prompt and target: texts; wrong: whether a step of it is."""

    name: str
    prompt: str
    target: str
    first_error: int | None

    @property
    def wrong(self) -> bool:
        return self.first_error is not None

    def row(self, uid: str) -> dict[str, Any]:
        """In the columns of `sage-bench train --backend sft`. answer: the number of the first wrong
        step, 0 for none."""
        return {
            "uid": uid,
            "question": self.prompt,
            "solution": self.target,
            "answer": str(self.first_error or 0),
        }


@dataclass
class Lessons:
    """What is taught. texts: of the judge, by key. longest_prompt, longest_target: in tokens."""

    rows: list[dict[str, Any]]
    texts: dict[str, str]
    longest_prompt: int = 0
    longest_target: int = 0
    quarantine: list[RejectedRow] = field(default_factory=list)
    wrong: int = 0
    right: int = 0
    repeated: int = 0

    def counts(self) -> dict[str, int]:
        """For people and `--json`."""
        return {
            "rows": len(self.rows),
            "with_error": self.wrong,
            "without_error": self.right,
            "repeated": self.repeated,
            "set_aside": len(self.quarantine),
        }


def verdict(
    steps: Sequence[str],
    label: int,
    why: str = "",
    *,
    remarks: Sequence[str] = (),
    quote: bool = False,
) -> str:
    """The reply that is taught (SGPO; docs/design/sgpo.md 4): the steps marked in order up to the
    first wrong one, its number or null, and what is wrong with it where somebody said.

    remarks: what is written of each step before it is marked, where somebody did: the judge thinks
    first. quote: each step is repeated before its mark, so that a small model has it before its
    eyes.

    >>> verdict(["7+6=3"], -1)
    '{"steps": [{"i": 1, "ok": true}], "first_error": null}'
    >>> verdict(["7+6=4", "4+1=5"], 0, "7+6 is 3")
    '{"steps": [{"i": 1, "ok": false}], "first_error": 1, "why": "7+6 is 3"}'
    >>> verdict(["7+6=3"], -1, quote=True)
    '{"steps": [{"i": 1, "step": "7+6=3", "ok": true}], "first_error": null}'
    >>> verdict(["7+6=3"], -1, remarks=["7+6 is 13"])
    '{"steps": [{"i": 1, "remark": "7+6 is 13", "ok": true}], "first_error": null}'
    """
    wrong = label != NO_ERROR
    looked_at = steps[: label + 1] if wrong else steps
    marks: list[dict[str, Any]] = []
    for number, step in enumerate(looked_at, 1):
        before = {"step": step} if quote else {}
        if remarks:
            before["remark"] = remarks[number - 1]
        marks.append({"i": number, **before, "ok": not (wrong and number == label + 1)})
    reply: dict[str, Any] = {"steps": marks, "first_error": label + 1 if wrong else None}
    if wrong and why:
        reply["why"] = " ".join(why.split())
    return json.dumps(reply, ensure_ascii=False)


def split(
    rows: Sequence[Labelled], share: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """(to teach, held out): the given share of the questions, each with all its rows, at random.
    Raises `DataError` where one part would be empty."""
    questions = sorted({row.problem.question for row in rows})
    random.Random(derive_seed("judge-train", "held out", seed)).shuffle(questions)
    held_out = set(questions[: max(1, round(share * len(questions)))])
    taught = [row for row in rows if row.problem.question not in held_out]
    if not taught:
        raise DataError(
            f"{len(questions)} questions are too few to hold some of them out",
            remedy="give more rows, or held-out rows of other questions with --test",
        )
    return taught, [row for row in rows if row.problem.question in held_out]


def without_questions(
    rows: Sequence[Labelled], held_out: Sequence[Labelled]
) -> tuple[list[Labelled], list[RejectedRow]]:
    """(rows, those set aside because their question is held out)."""
    taken = {row.problem.question for row in held_out}
    kept = [row for row in rows if row.problem.question not in taken]
    dropped = [row for row in rows if row.problem.question in taken]
    return kept, [_rejected(row, "its question is held out") for row in dropped]


def lessons(
    rows: Sequence[Labelled],
    renderer: Renderer,
    *,
    reference: Shown,
    context: int | None,
    balance: bool,
    quote: bool,
    seed: int,
) -> Lessons:
    """The training rows of some labelled steps.

    renderer: the model's template, with the texts to ask with. reference: shown, withheld, or
    withheld in half of the rows (mixed). context: of the model, in tokens; None where nobody knows.
    balance: rows of the rarer kind (an error, none) are repeated until there are as many of both.
    quote: verdicts repeat the steps (`verdict`).

    Set aside: rows with an empty step, and those that do not fit the context. Raises `DataError`
    when nothing is left, `UsageError` when there is nothing to balance with.
    """
    texts = texts_of(renderer, reference)
    taught = Messages(Prompts.of(texts))
    found = Lessons([], texts)
    made: list[Lesson] = []
    for row in rows:
        if not all(step.strip() for step in row.steps):
            found.quarantine.append(_rejected(row, "a step is empty"))
            continue
        shown = shows_reference(row, reference, seed)
        lesson, system = _lesson(row, taught, shown=shown, quote=quote)
        prompt = len(renderer.ids(renderer.text(system, lesson.prompt)))
        target = len(renderer.ids(lesson.target)) + 1  # and the end token
        if context is not None and prompt + target + SPARE_TOKENS > context:
            reason = f"it does not fit the model's context of {context} tokens"
            found.quarantine.append(_rejected(row, reason))
            continue
        found.longest_prompt = max(found.longest_prompt, prompt)
        found.longest_target = max(found.longest_target, target)
        made.append(lesson)
    if not made:
        raise DataError(
            "none of the labelled rows can be taught",
            remedy="see quarantine.jsonl for the reasons; a shorter wording is a file of prompts",
        )
    chosen = balanced(made, seed) if balance else [(lesson, lesson.name) for lesson in made]
    found.rows = [lesson.row(uid) for lesson, uid in chosen]
    found.wrong = sum(lesson.wrong for lesson, _ in chosen)
    found.right = len(chosen) - found.wrong
    found.repeated = len(chosen) - len(made)
    return found


def shows_reference(row: Labelled, reference: Shown, seed: int) -> bool:
    """Whether a row is taught with its reference solution."""
    if reference == "mixed":
        return derive_seed("judge-train", "reference", seed, row.name) % 2 == 0
    return reference == "shown"


def _lesson(row: Labelled, messages: Messages, *, shown: bool, quote: bool) -> tuple[Lesson, str]:
    """(the row, the system message it is asked with)."""
    reference = reference_text(row.problem) if shown else None
    system, user = judge_messages(messages, row.problem.question, reference, row.steps)
    target = verdict(row.steps, row.label, row.why, remarks=row.remarks, quote=quote)
    first_error = None if row.label == NO_ERROR else row.label + 1
    return Lesson(row.name, user, target, first_error), system


def balanced(made: Sequence[Lesson], seed: int) -> list[tuple[Lesson, str]]:
    """(lesson, its uid), as many with an error as without: those of the rarer kind are repeated, in
    turns. Raises `UsageError` where there is no row of one kind."""
    right = [lesson for lesson in made if not lesson.wrong]
    wrong = [lesson for lesson in made if lesson.wrong]
    if not right or not wrong:
        lacking = "with" if right else "without"
        raise UsageError(
            f"no row is {lacking} an error: a judge taught from these always says the same",
            where="labelled steps",
            remedy=f"add a file that has rows {lacking} an error, or give --no-balance",
        )
    rarer, missing = (right, len(wrong) - len(right))
    if missing < 0:
        rarer, missing = wrong, -missing
    order = list(rarer)
    random.Random(derive_seed("judge-train", "balance", seed)).shuffle(order)
    again = [(order[i % len(order)], 2 + i // len(order)) for i in range(missing)]
    out = [(lesson, lesson.name) for lesson in made]
    return out + [(lesson, f"{lesson.name}#{number}") for lesson, number in again]


def _rejected(row: Labelled, reason: str) -> RejectedRow:
    shown = {"problem": row.problem.question, "steps": list(row.steps), "label": row.label}
    return RejectedRow(row.name, reason, shown)
