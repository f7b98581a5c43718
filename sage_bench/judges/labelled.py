"""Labelled steps: responses cut into steps by somebody, with the first wrong one marked
(ProcessBench and its relatives)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sage_bench.data.rows import RejectedRow, check_source, read_source
from sage_bench.judges import formats
from sage_bench.judges.formats import QUESTION, STEPS, is_wrong, listed, missing, whole
from sage_bench.types import Problem
from sage_bench.utils import rows as data_rows
from sage_bench.utils.errors import DataError, UsageError

ANSWER = ("gold", "answer", "final_answer", "ground_truth", "reference_answer")
SOLUTION = ("solution", "reference_solution", "ground_truth_solution")
UID = ("id", "uid", "unique_id", "uuid", "idx")
SUBSET = ("subset", "split", "classification", "category")
WHY = ("why", "error_reason")
NO_ERROR = -1


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row. label: 0-based index of the first wrong step, -1 = none is wrong. problem.answer is
    "" where the row has none. why: what is wrong with that step, "" where nobody said. remarks:
    what somebody wrote of each step while looking for it, up to the first wrong one at least; empty
    where nobody did."""

    file: str
    subset: str
    uid: str
    problem: Problem
    steps: tuple[str, ...]
    label: int
    why: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique over all files."""
        return f"{self.file}/{self.uid}"

    def digest(self) -> str:
        """Hash of all a judge is shown: a row that changed is another row."""
        return _sha(
            "\x1f".join(
                [
                    self.problem.question,
                    self.problem.answer,
                    self.problem.solution or "",
                    *self.steps,
                ]
            )
        )


@dataclass
class Rows:
    """Labelled rows, and those that were set aside."""

    rows: list[Labelled] = field(default_factory=list)
    quarantine: list[RejectedRow] = field(default_factory=list)

    def reasons(self) -> dict[str, int]:
        """How many rows were set aside for each reason."""
        return data_rows.reasons(self.quarantine)


def read_labelled(
    files: Sequence[str],
    *,
    limit: int | None = None,
    solutions: Sequence[str] = (),
    every_file: bool = False,
) -> Rows:
    """Rows of some files (.jsonl, .json, .parquet, .csv) or registered datasets, in any of the
    formats of `sage_bench.judges.formats`. limit: only the first rows of each subset. solutions:
    files with `problem` and `solution` (and `answer`) columns, joined by the question where a row
    has none. every_file: a file none of whose rows is of a known format is a `DataError`.

    Set aside, with the reason: rows that cannot be read, lack question, steps or label, have a
    label that is none of their steps, or repeat an id. Raises `UsageError` for files that cannot
    be, `DataError` when nothing is left.
    """
    for file in [*files, *solutions]:
        check_source(file)
    names = [Path(f).stem for f in files]
    if twice := [n for n, count in Counter(names).items() if count > 1]:
        raise UsageError(
            f"two files are called `{twice[0]}`: their rows could not be told apart",
            remedy="rename one of them",
        )
    known = read_solutions(solutions)
    found = Rows()
    taken: Counter[tuple[str, str]] = Counter()
    seen: set[str] = set()
    for name, file in zip(names, files, strict=True):
        known_format = not every_file
        for raw in read_source(file):
            if isinstance(raw, RejectedRow):
                found.quarantine.append(raw)
                continue
            known_format = known_format or formats.is_known(raw.values)
            try:
                row = with_solution(to_labelled(name, raw.where, raw.values), known)
                if row.name in seen:
                    raise ValueError("its id occurs twice")
            except ValueError as error:
                found.quarantine.append(RejectedRow(raw.where, str(error), raw.values))
                continue
            seen.add(row.name)
            taken[row.file, row.subset] += 1
            if limit is None or taken[row.file, row.subset] <= limit:
                found.rows.append(row)
        if not known_format:
            raise DataError(
                "no row of it has labelled steps in a format that is known",
                where=file,
                remedy=f"give rows of one of these: {formats.described()}",
            )
    if not found.rows:
        raise DataError(
            f"no usable row ({data_rows.summary(found.quarantine) or 'no rows'})",
            where=", ".join(files),
            remedy=(
                "rows need `problem`, `steps` (a list of texts) and `label` (first wrong step from"
                f" 0, -1 = none), or another known format: {formats.described()}"
            ),
        )
    return found


def to_labelled(file: str, place: str, raw: Mapping[str, Any]) -> Labelled:
    """One row. Raises `ValueError` with the reason why it cannot be used.

    >>> row = {"id": "gsm8k-7", "problem": "1+1?", "steps": ["1+1=3"], "label": 0, "gold": 2}
    >>> to_labelled("f", "f:1", row).subset
    'gsm8k'
    """
    raw = formats.plain_row(raw)
    question = _first(raw, QUESTION)
    uid = _first(raw, UID)
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no question")
    steps = steps_of(_first(raw, STEPS))
    label = label_of(raw, len(steps))
    name = str(uid) if uid is not None else place
    answer, solution = _first(raw, ANSWER), _first(raw, SOLUTION)
    problem = Problem(f"{file}/{name}", question.strip(), _text(solution), _text(answer) or "")
    why = _text(_first(raw, WHY)) or ""
    if why.lower() in formats.NOT_APPLICABLE:
        why = ""
    remarks = remarks_of(raw.get("remarks"), len(steps) if label == NO_ERROR else label + 1)
    return Labelled(file, subset_of(raw, name), name, problem, steps, label, why, remarks)


def steps_of(value: Any) -> tuple[str, ...]:
    """Texts, or objects with a `text`. Raises `ValueError`. Blank steps stay: the label counts
    them."""
    if value is None:
        raise ValueError("no steps")
    steps: list[Any] = [
        s.get("text") if isinstance(s, Mapping) else s for s in listed(value, "its steps")
    ]
    if not all(isinstance(s, str) for s in steps):
        raise ValueError("a step is no text")
    if not any(s.strip() for s in steps):
        raise ValueError("no steps")
    return tuple(s.strip() for s in steps)


def remarks_of(value: Any, judged: int) -> tuple[str, ...]:
    """One text for each judged step; those of later steps are left out.

    >>> remarks_of(["7+6=3", "3*8=4", "then"], 2), remarks_of(None, 2)
    (('7+6=3', '3*8=4'), ())
    """
    texts = [] if missing(value) else listed(value, "its remarks")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its remarks are no texts")
    if texts and len(texts) < judged:
        raise ValueError(f"it has {len(texts)} remarks for {judged} steps")
    return tuple(" ".join(text.split()) for text in texts[:judged])


def label_of(row: Mapping[str, Any], steps: int) -> int:
    """`label` (0-based, -1 = no error); where it is missing, from `error_steps` (1-based, all wrong
    ones) or from `ratings` (-1 = wrong).

    >>> label_of({"label": "2"}, 3), label_of({"error_steps": [3, 2]}, 3)
    (2, 1)
    >>> label_of({"ratings": [1, 0, 1]}, 3)
    -1
    """
    if not missing(row.get("label")):
        label = whole(row["label"])
        if label is None:
            raise ValueError("its label is no whole number")
        if not NO_ERROR <= label < steps:
            raise ValueError("its label is none of its steps")
        return label
    if not missing(row.get("error_steps")):
        wrong = [whole(number) for number in listed(row["error_steps"], "its error steps")]
        if any(number is None or not 1 <= number <= steps for number in wrong):
            raise ValueError("an error step is none of its steps, which count from 1")
        return min((number for number in wrong if number is not None), default=0) - 1
    if not missing(row.get("ratings")):
        ratings = listed(row["ratings"], "its ratings")
        if len(ratings) != steps:
            raise ValueError("it has not one rating for each step")
        # all are read: a rating of another scale is seen behind the first wrong step too
        marked = [is_wrong(rating) for rating in ratings]
        return marked.index(True) if True in marked else NO_ERROR
    raise ValueError("no label")


def subset_of(row: Mapping[str, Any], uid: str) -> str:
    """A column that names it, or the front of ids like `olympiadbench-17`; "" where there is
    none."""
    named = _first(row, SUBSET)
    if isinstance(named, str) and named:
        return named
    front = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)-\d+", uid)
    return front[1] if front else ""


def read_solutions(files: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(solution, answer) by question, letters and digits only."""
    known: dict[str, tuple[str, str]] = {}
    for file in files:
        for row in read_source(file):
            if isinstance(row, RejectedRow):
                continue
            solution = _text(_first(row.values, SOLUTION))
            question = _text(_first(row.values, QUESTION))
            if solution and question:
                answer = _text(_first(row.values, ANSWER)) or ""
                known.setdefault(_bare(question), (solution, answer))
    return known


def with_solution(row: Labelled, known: Mapping[str, tuple[str, str]]) -> Labelled:
    solution, answer = known.get(_bare(row.problem.question), (None, ""))
    problem = replace(
        row.problem, solution=row.problem.solution or solution, answer=row.problem.answer or answer
    )
    return replace(row, problem=problem)


def in_batches(rows: Sequence[Labelled], size: int) -> Iterator[Sequence[Labelled]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[n] for n in names if not missing(row.get(n))), None)


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _bare(question: str) -> str:
    return re.sub(r"\W+", "", question).lower()


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
