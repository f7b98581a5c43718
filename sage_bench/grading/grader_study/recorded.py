"""Completions that were recorded elsewhere, graded again: JSONL with a gold and a text a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.grading.grader_study.measure import given_text
from sage_bench.grading.question import grade_question
from sage_bench.grading.verdict import Verdict
from sage_bench.utils.errors import DataError
from sage_bench.utils.rows import DataRow, RejectedRow, read_rows

COLUMNS = "row group question gold label grader correct status extracted"


@dataclass(frozen=True)
class Recorded:
    """One completion.

    label: what its source says of it, or None; group: which table row it belongs to; question: the
    same for all samples of a question.
    """

    row: int | str
    group: str
    question: str
    gold: str
    text: str
    label: bool | None
    options: tuple[str, ...] | None = None


def read_recorded(
    path: Path,
    by: str | None = None,
    *,
    gold: str = "gold",
    text: str = "response",
    stated: bool = False,
) -> tuple[list[Recorded], list[RejectedRow]]:
    """The rows of a file, and those that cannot be used.

    gold, text: names of the fields; `label` or `correct` is read where a row has one. by: field
    that names the group. stated: a text without a box counts by the answer it states. Raises
    `DataError` when the file cannot be read, or no row has the field `by`.
    """
    kept: list[Recorded] = []
    bad: list[RejectedRow] = []
    for row in read_rows(path, place=str(path)):
        if isinstance(row, RejectedRow):
            bad.append(row)
            continue
        try:
            kept.append(_recorded(row, path.stem, by, gold, text, stated))
        except ValueError as error:
            bad.append(RejectedRow(row.where, str(error), row.values))
    if not kept:
        raise DataError(
            f"no row can be used: {bad[0].reason if bad else 'it is empty'}",
            where=bad[0].where if bad else str(path),
            remedy="name the fields with --gold-field and --text-field",
        )
    return kept, bad


def _recorded(
    found: DataRow, stem: str, by: str | None, gold: str, text: str, stated: bool
) -> Recorded:
    row = found.values
    for field in (gold, text, by):
        if field is not None and field not in row:
            raise ValueError(f"has no field `{field}` (there are: {', '.join(row)})")
    if not isinstance(row[gold], (str, int, float)) or not str(row[gold]).strip():
        raise ValueError(f"`{gold}` is empty")
    if not isinstance(row[text], str):
        raise ValueError(f"`{text}` is not a text")
    label = row.get("label", row.get("correct"))
    options = row.get("options") or row.get("choices")
    completion = given_text({**row, "response": row[text]}) if stated else row[text]
    known = [str(row[k]) for k in ("doc_id", "uid", "problem", "question") if k in row]
    question = known[0] if known else str(row[gold])
    return Recorded(
        row.get("row", found.number),
        str(row[by]) if by else stem,
        question,
        str(row[gold]),
        completion,
        bool(label) if isinstance(label, (bool, int)) else None,
        tuple(map(str, options)) if isinstance(options, list) else None,
    )


def grade_recorded(
    rows: Sequence[Recorded],
    graders: Sequence[str],
    tell: Callable[[str], None] = lambda name: None,
) -> pd.DataFrame:
    """One line a row and grader. tell(name of the grader) counts."""
    # one call a gold: its answers are compared side by side
    alike: dict[tuple[str, tuple[str, ...] | None], list[int]] = defaultdict(list)
    for i, r in enumerate(rows):
        alike[r.gold, r.options].append(i)
    out: list[dict[str, Any]] = []
    for name in graders:
        verdicts: dict[int, Verdict] = {}
        for (gold, options), members in alike.items():
            texts = [rows[i].text for i in members]
            found = grade_question(gold, texts, name, options)
            for i, verdict in zip(members, found, strict=True):
                verdicts[i] = verdict
                tell(name)
        out += [_graded(r, name, verdicts[i]) for i, r in enumerate(rows)]
    return pd.DataFrame(out, columns=COLUMNS.split())


def _graded(row: Recorded, grader: str, verdict: Verdict) -> dict[str, Any]:
    """One line of `grade_recorded`."""
    return {
        "row": row.row,
        "group": row.group,
        "question": row.question,
        "gold": row.gold,
        "label": row.label,
        "grader": grader,
        "correct": verdict.correct,
        "status": verdict.status,
        "extracted": verdict.extracted,
    }


def shares(graded: pd.DataFrame) -> pd.DataFrame:
    """Percent of right completions by group: rows, label (NaN where rows have none), the graders.

    >>> rows = {"row": [1, 2], "group": "a", "label": [True, None]}
    >>> graded = pd.DataFrame({**rows, "grader": "robust", "correct": [True, False]})
    >>> shares(graded).to_dict("records")
    [{'rows': 2, 'label': 100.0, 'robust': 50.0}]
    """
    one = graded[graded.grader == graded.grader.iloc[0]]
    labels = one.dropna(subset=["label"]).groupby("group")["label"]
    known = labels.apply(lambda x: 100 * x.astype(float).mean())
    out = pd.DataFrame({"rows": one.groupby("group").size(), "label": known})
    for name in dict.fromkeys(graded.grader):
        out[name] = 100 * graded[graded.grader == name].groupby("group")["correct"].mean()
    return out
