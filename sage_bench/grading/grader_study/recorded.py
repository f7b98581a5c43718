"""Completions that were recorded elsewhere, graded again: JSONL with a gold and a text a row."""

from __future__ import annotations

import json
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
) -> tuple[list[Recorded], list[tuple[str, str]]]:
    """The rows of a file, and (file:line, reason) of those that cannot be used.

    gold, text: names of the fields; `label` or `correct` is read where a row has one. by: field
    that names the group. stated: a text without a box counts by the answer it states. Raises
    `DataError` when the file cannot be read, or no row has the field `by`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read: {error}",
            where=str(path),
            remedy="give a JSONL file with a gold and a text a row",
        ) from error
    kept: list[Recorded] = []
    bad: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kept.append(_recorded(json.loads(line), number, path.stem, by, gold, text, stated))
        except json.JSONDecodeError:
            bad.append((f"{path}:{number}", "is not JSON"))
        except (ValueError, TypeError, KeyError) as error:
            bad.append((f"{path}:{number}", str(error).strip("'\"")))
    if not kept:
        raise DataError(
            f"no row can be used: {bad[0][1] if bad else 'it is empty'}",
            where=bad[0][0] if bad else str(path),
            remedy="name the fields with --gold-field and --text-field",
        )
    return kept, bad


def _recorded(
    row: Any, number: int, stem: str, by: str | None, gold: str, text: str, stated: bool
) -> Recorded:
    if not isinstance(row, dict):
        raise TypeError("is not an object")
    for field in (gold, text, *([by] if by else [])):
        if field not in row:
            raise KeyError(f"has no field `{field}` (there are: {', '.join(row)})")
    usable = isinstance(row[text], str) and isinstance(row[gold], (str, int, float))
    if not usable or not str(row[gold]).strip():
        raise TypeError(f"`{gold}` is empty or `{text}` is not text")
    label = row.get("label", row.get("correct"))
    options = row.get("options") or row.get("choices")
    completion = given_text({**row, "response": row[text]}) if stated else row[text]
    known = [str(row[k]) for k in ("doc_id", "uid", "problem", "question") if k in row]
    question = known[0] if known else str(row[gold])
    return Recorded(
        row.get("row", number),
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
