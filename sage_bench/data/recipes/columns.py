"""Further columns of a training set: scaffolds, hints, traces that others released, joined by the
question's text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sage_bench.data.question_key import question_key
from sage_bench.data.recipes.source import Source
from sage_bench.utils.errors import UsageError
from sage_bench.utils.rows import DataRow

QUESTION = ("problem", "question")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kind of columns: ours, each with the names it has in released sets."""

    about: str
    names: Mapping[str, tuple[str, ...]]


KINDS: dict[str, Wanted] = {
    "scaffolds": Wanted(
        "lists of hint items for Scaf-GRPO",
        {
            "knowledge": ("knowledge", "knowledge_parts", "knowledge_components_parts"),
            "planning": ("planning", "planning_parts", "planning_skeleton_parts"),
            "solution_parts": ("solution_parts", "solution_breakdown_parts"),
        },
    ),
    "hints": Wanted("one abstract hint for HINT", {"meta_hint": ("meta_hint", "hint", "metahint")}),
}


@dataclass
class Extra:
    """The values of one kind by question. digest: of the source, to be recorded."""

    kind: str
    by_question: dict[str, dict[str, Any]] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def add(self, question: str, values: Mapping[str, Any]) -> None:
        self.by_question[question_key(question)] = dict(values)

    def of(self, question: str) -> dict[str, Any]:
        """This kind's columns for a question, None where there is nothing."""
        empty = dict.fromkeys(KINDS[self.kind].names)
        return {**empty, **self.by_question.get(question_key(question), {})}

    def count(self, questions: Iterable[str]) -> int:
        """How many of these questions have a value."""
        return sum(question_key(q) in self.by_question for q in questions)


def read_extra(kind: str, source: Source) -> Extra:
    """The columns of one kind from a released set.

    Raises `UsageError` where no row has any of them.
    """
    found = Extra(kind, origin=source.as_dict())
    seen: set[str] = set()
    for row in source.rows():
        if not isinstance(row, DataRow):
            continue
        seen.update(map(str, row.values))
        question = next((row.values[k] for k in QUESTION if row.values.get(k)), None)
        values = _values(kind, row.values)
        if isinstance(question, str) and values:
            found.add(question, values)
    if not found.by_question:
        wanted = ", ".join(" or ".join(names) for names in KINDS[kind].names.values())
        raise UsageError(
            f"no row has a problem and {wanted} (there are: {', '.join(sorted(seen)) or 'none'})",
            where=source.name,
            remedy="give another set, or rename its columns",
        )
    return found


def _values(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for ours, theirs in KINDS[kind].names.items():
        value = next((row[name] for name in theirs if row.get(name)), None)
        if value is not None:
            found[ours] = value
    return found
