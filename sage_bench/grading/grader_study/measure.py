"""Measure graders against labelled rows: who agrees with the labels, who is too strict or lenient,
who is slow."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.grading.extract import extract
from sage_bench.grading.grader_study.stated import stated_answer
from sage_bench.grading.verdict import Grader, OptionGrader, Verdict
from sage_bench.utils.errors import DataError
from sage_bench.utils.rows import DataRow, RejectedRow, read_rows

# readings after which a label does not stand
UNDECIDED = ("policy", "unclear", "ill_posed", "bad_gold", "disagree_unread")
_TEXT = re.compile(r"answer|####|\n|[a-z]\.\s*$|[$)]\.\s*$")
SHORT = {"answer_pair", "unit_test"}  # kinds of row whose response is the answer itself
LONGEST_PAIR, LONGEST_BARE = 400, 150  # characters of such a response; of one without a kind


@dataclass(frozen=True)
class Labelled:
    """One labelled row.

    text: what graders are given (boxed if it had no box); label: is it right; options of a
    multiple-choice question.
    """

    source: str
    row: int | str
    gold: str
    text: str
    label: bool
    options: tuple[str, ...] | None = None


@dataclass
class Score:
    """One grader on one file.

    misses: right answers it refused; slips: wrong answers it took; skipped: rows of another kind
    (multiple choice for `mcq` alone); abstained: rows whose gold it cannot read, counted as
    refused.
    """

    grader: str
    source: str
    rows: int = 0
    misses: int = 0
    slips: int = 0
    skipped: int = 0
    abstained: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    disagreements: list[dict[str, Any]] = field(default_factory=list)

    @property
    def agreement(self) -> float:
        """Share of the graded rows on which grader and label agree; NaN without rows."""
        return 1 - (self.misses + self.slips) / self.rows if self.rows else float("nan")


def read_labels(
    path: Path,
    adjudications: Mapping[tuple[str, str], bool | None] | None = None,
    limit: int | None = None,
) -> tuple[list[Labelled], list[RejectedRow]]:
    """The rows of a file with `gold`, `response` and `label` (`label_fixed` wins), and those that
    cannot be used.

    A row has `gold`, `response` and `label` (`label_fixed` wins).
    adjudications: (file stem, row) to the label as read by hand, None where it does not stand.
    Raises `UsageError` or `DataError` when the file cannot be read.
    """
    kept: list[Labelled] = []
    rejected: list[RejectedRow] = []
    for row in read_rows(path, place=str(path)):
        if limit is not None and len(kept) >= limit:
            break
        found = (
            row if isinstance(row, RejectedRow) else _labelled(row, path.stem, adjudications or {})
        )
        if isinstance(found, Labelled):
            kept.append(found)
        else:
            rejected.append(found)
    return kept, rejected


def _labelled(
    found: DataRow, source: str, adjudications: Mapping[tuple[str, str], bool | None]
) -> Labelled | RejectedRow:
    row = found.values

    def reject(reason: str, *, malformed: bool = True) -> RejectedRow:
        return RejectedRow(found.where, reason, row, malformed)

    gold, response = row.get("gold"), row.get("response")
    if not isinstance(gold, (str, int, float)) or not str(gold).strip():
        return reject("`gold` is missing or empty")
    if not isinstance(response, str):
        return reject("`response` is missing or not a text")
    reading = str(row.get("adjudicated", row.get("status", ""))).removeprefix("adjudicated:")
    name = row.get("row", found.number)
    if "adjudicated" in row:
        label = {"correct": True, "incorrect": False}.get(reading)
    else:
        label = row.get("label_fixed", row.get("label"))
    known = (source, str(name)) in adjudications
    if known:
        label = adjudications[source, str(name)]
        if label is None:
            return reject("the label does not stand (read by hand)", malformed=False)
    elif reading in UNDECIDED:
        return reject(f"the label does not stand ({reading})", malformed=False)
    if not isinstance(label, (bool, int)):
        return reject("`label` is missing or neither true nor false")
    options = row.get("choices") or row.get("options")
    letters = tuple(map(str, options)) if isinstance(options, list) else None
    return Labelled(source, name, str(gold), given_text(row), bool(label), letters)


def given_text(row: Mapping[str, Any]) -> str:
    r"""What a grader is given, so that all graders judge the same answer.

    A text with a box as it is, else the answer it states, boxed.

    >>> given_text({"kind": "answer_pair", "response": "1/2"})
    '\\boxed{1/2}'
    >>> given_text({"response": "so the answer is 7."}), given_text({"response": r"\boxed{3}"})
    ('\\boxed{7}', '\\boxed{3}')
    """
    response = str(row["response"])
    has_options = row.get("choices") or row.get("options")
    if has_options or extract(response).answer is not None:
        return response  # multiple choice has its own rules for texts without a box
    if _is_bare_answer(row, response):
        answer: str | None = response
    elif row.get("kind") == "program_output":
        answer = row.get("extracted")
    else:
        answer = stated_answer(response)
    if not answer:
        return response
    boxed = f"\\boxed{{{answer}}}"
    if extract(boxed).answer:
        return boxed
    bare = answer.rstrip("\\")  # a backslash at the end would escape the brace
    return f"\\boxed{{{bare}}}"


def _is_bare_answer(row: Mapping[str, Any], response: str) -> bool:
    """Is the response nothing but an answer?"""
    if "\n\n" in response.strip() or len(response) >= LONGEST_PAIR:
        return False
    if "kind" in row:
        return row["kind"] in SHORT
    return len(response) < LONGEST_BARE and not _TEXT.search(response)


def measure(
    name: str, grader: Grader, rows: Sequence[Labelled], tell: Callable[[], None] = lambda: None
) -> list[Score]:
    """One score a source, in order of appearance.

    Every row is graded by itself, so that the time a row is that of a single answer. tell counts.
    """
    scores: dict[str, Score] = {}
    faults: dict[tuple[str, tuple[str, ...] | None], str | None] = {}
    wants_options = isinstance(grader, OptionGrader)
    for row in rows:
        score = scores.setdefault(row.source, Score(name, row.source))
        one = grader
        if isinstance(grader, OptionGrader) and row.options is not None:
            one = grader.for_options(row.options)
        key = (row.gold, row.options)
        if key not in faults:
            faults[key] = one.gold_error(row.gold)
        other_kind = wants_options != (row.options is not None)
        if other_kind and (row.options is not None or faults[key]):
            score.skipped += 1
        else:
            score.abstained += faults[key] is not None
            began = time.perf_counter()
            (verdict,) = one.grade(row.gold, [row.text])
            score.seconds += time.perf_counter() - began
            _count(score, row, verdict)
        tell()
    return list(scores.values())


def _count(score: Score, row: Labelled, verdict: Verdict) -> None:
    score.rows += 1
    score.statuses[verdict.status] += 1
    if verdict.correct == row.label:
        return
    score.misses += row.label
    score.slips += not row.label
    score.disagreements.append(
        {
            "source": row.source,
            "row": row.row,
            "grader": score.grader,
            "gold": row.gold,
            "answer": verdict.extracted,
            "label": row.label,
            "correct": verdict.correct,
            "status": verdict.status,
        }
    )


def read_adjudications(path: Path) -> dict[tuple[str, str], bool | None]:
    """Labels read by hand: JSON lines with set, row, label (true, false or null) and reason.

    Raises `DataError` naming the line.
    """
    return {key: label for key, (label, _) in read_reasons(path).items()}


def read_reasons(path: Path) -> dict[tuple[str, str], tuple[bool | None, str]]:
    """The same with the reasons: (file stem, row) to (label, reason)."""
    out: dict[tuple[str, str], tuple[bool | None, str]] = {}
    for row in read_rows(path):
        try:
            if isinstance(row, RejectedRow):
                raise ValueError(row.reason)
            found = row.values
            key = str(found["set"]), str(found["row"])
            out[key] = (found["label"], str(found.get("reason") or ""))
        except (ValueError, KeyError) as error:
            raise DataError(
                f"is not an adjudication: {error}",
                where=f"{path}:{row.where.rsplit(':', 1)[-1]}",
                remedy='write {"set": ..., "row": ..., "label": true|false|null, "reason": ...}',
            ) from error
    return out
