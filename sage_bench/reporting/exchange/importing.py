"""Scores that other programs wrote: results of lm-eval, logs of Inspect, Every Eval Ever documents.

A file, or a line of a `.jsonl` file, is recognised by its content. What is none of the three forms,
or holds a score that is not a number, is set aside with its reason; the rest is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.reporting.exchange import eee, inspect_log, lm_eval
from sage_bench.reporting.exchange.scores import Score
from sage_bench.utils.cells import csv_text
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import make_folder, write_jsonl, write_text
from sage_bench.utils.rows import RejectedRow, read_rows

Reader = Callable[[Mapping[str, Any]], tuple[str, list[Score | str]]]
Test = Callable[[Mapping[str, Any]], bool]
FORMS: dict[str, tuple[Test, Reader]] = {
    "eee": (eee.is_one, eee.read),
    "inspect": (inspect_log.is_one, inspect_log.read),
    "lm-eval": (lm_eval.is_one, lm_eval.read),
}
NONE_OF_THEM = "neither results of lm-eval, nor a log of Inspect, nor Every Eval Ever"
EXCERPT = 300  # characters of a document that are kept in the quarantine file


@dataclass(frozen=True, slots=True)
class ImportedScore:
    """A score, what it is of, and where it was found. form: eee, inspect or lm-eval."""

    model: str
    form: str
    place: str
    score: Score

    def as_dict(self) -> dict[str, Any]:
        """One flat row."""
        return {"model": self.model, **asdict(self.score), "form": self.form, "place": self.place}


@dataclass
class Imported:
    """What was read, and what was set aside."""

    scores: list[ImportedScore] = field(default_factory=list)
    quarantine: list[RejectedRow] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def read_files(files: Sequence[Path]) -> Imported:
    """Read all files. Raises `UsageError` for a file that does not exist."""
    found = Imported()
    for file in files:
        if not file.is_file():
            raise UsageError(
                "no such file",
                where=str(file),
                remedy="give results of lm-eval, logs of Inspect or Every Eval Ever documents",
            )
        for where, document in _documents(file):
            if isinstance(document, RejectedRow):
                found.quarantine.append(document)
            else:
                _add(found, where, document)
    return found


def import_files(files: Sequence[Path], out: Path) -> Imported:
    """Read files and write scores.jsonl, scores.csv and, where anything was set aside,
    quarantine.jsonl.

    Raises `DataError` when no file holds a score that can be used.
    """
    found = read_files(files)
    make_folder(out)
    rows = [score.as_dict() for score in found.scores]
    if found.quarantine:
        found.files.append(out / "quarantine.jsonl")
        write_jsonl(found.files[-1], [row.as_dict() for row in found.quarantine])
    if not rows:
        reasons = "; ".join(f"{q.where}: {q.reason}" for q in found.quarantine[:3])
        raise DataError(
            f"no score could be read ({reasons or 'the files are empty'})",
            where=", ".join(map(str, files[:3])),
            remedy=f"all rows and their reasons are in {out / 'quarantine.jsonl'}",
        )
    write_jsonl(out / "scores.jsonl", rows)
    write_text(out / "scores.csv", csv_text(pd.DataFrame(rows)))
    found.files += [out / "scores.jsonl", out / "scores.csv"]
    return found


def _documents(file: Path) -> Iterator[tuple[str, Mapping[str, Any] | RejectedRow]]:
    """The JSON objects of a file: one, or one a line."""
    if file.suffix == ".jsonl":
        for row in read_rows(file):
            yield row.where, row if isinstance(row, RejectedRow) else row.values
        return
    where = file.name
    try:
        content = inspect_log.header(file) if file.suffix == ".eval" else file.read_bytes()
        document = json.loads(content)
    except (DataError, ValueError, RecursionError, OSError) as error:
        reason = error.what if isinstance(error, DataError) else f"is not JSON ({error})"
        yield where, RejectedRow(where, reason)
        return
    many = document if isinstance(document, list) else [document]
    for number, item in enumerate(many, 1):
        place = f"{where}:{number}" if isinstance(document, list) else where
        if isinstance(item, dict):
            yield place, item
        else:
            yield place, RejectedRow(place, "not a JSON object", item)


def _add(found: Imported, where: str, document: Mapping[str, Any]) -> None:
    forms = [name for name, (test, _) in FORMS.items() if test(document)]
    if not forms:
        found.quarantine.append(RejectedRow(where, NONE_OF_THEM, _excerpt(document)))
        return
    (form, *_) = forms
    try:
        model, scores = FORMS[form][1](document)
    except DataError as error:
        found.quarantine.append(RejectedRow(where, error.what, _excerpt(document)))
        return
    # a document may have any shape below the keys it was recognised by
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"is not a document of the form {form} after all ({type(error).__name__}: {error})"
        found.quarantine.append(RejectedRow(where, reason, _excerpt(document)))
        return
    for score in scores:
        if isinstance(score, str):
            found.quarantine.append(RejectedRow(where, score))
        else:
            found.scores.append(ImportedScore(model, form, where, score))


def _excerpt(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, default=str)
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."
