"""Benchmarks: rows of the Hub, or of a file, become questions with checked golds.

The task files say everything that differs between benchmarks under `metadata` (where the rows lie,
which fields they have, the form of the gold, how many rows there are); this module is the one way
from there to questions.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.data import hub as hubs
from sage_bench.data.problems import ALIASES
from sage_bench.data.question_key import question_key
from sage_bench.data.rows import DataRow, RejectedRow, read_source
from sage_bench.evaluation.tasks.digests import Digest, digest_of, other_data, unverified
from sage_bench.evaluation.tasks.golds import FORMS, correction_of, letter
from sage_bench.utils import rows as data_rows
from sage_bench.utils.errors import DataError, UsageError, did_you_mean

# our names -> columns that are taken for them where `fields` names none
NAMES: dict[str, tuple[str, ...]] = {
    **ALIASES,
    "question": (*ALIASES["question"], "Question"),
    "options": ("options", "choices"),
    "index": ("answer_index",),
    "context": ("context",),
    "wrong": (),
}


class OtherRowsError(DataError):
    """The rows are there, but they are not those of this benchmark."""


@dataclass
class Report:
    """What became of the rows.

    found: rows of the source; expected: row counts of the known editions; the lists name uids.
    other_data: what is not this benchmark's among the rows of a file, "" for nothing. unverified:
    how many of these rows no digest is known of. digests: of its questions and golds, by uid.
    """

    source: str
    found: int = 0
    expected: tuple[int, ...] = ()
    asked: int = 0
    corrected: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    respelled: int = 0
    quarantine: list[dict[str, str]] = field(default_factory=list)
    other_data: str = ""
    unverified: int = 0
    digests: dict[str, Digest] = field(default_factory=dict, repr=False)

    @property
    def partial(self) -> bool:
        """Fewer rows than the benchmark has."""
        return bool(self.expected) and self.found < min(self.expected)

    def as_dict(self) -> dict[str, Any]:
        """As it goes into a manifest."""
        values = {k: v for k, v in asdict(self).items() if k != "digests"}
        return {**values, "partial": self.partial}

    def set_aside(self, where: str, reason: str) -> None:
        self.quarantine.append({"place": where, "reason": reason})


@dataclass
class Benchmark:
    """Questions ready to ask: {"uid", "question", "answer", "answer_raw", "grader"}, for multiple
    choice also "options" and "letters" (`A, B, C, D`)."""

    questions: list[dict[str, Any]]
    report: Report


def load(
    benchmark: str,
    *,
    hub: Mapping[str, Any] | None = None,
    file: str | None = None,
    fields: Mapping[str, Any] | None = None,
    gold: str = "latex",
    rows: int | Sequence[int] = (),
    gated: str | None = None,
    options: str | None = None,
    grader: str = "robust",
    data: Mapping[str, str] | None = None,
    offline: bool = False,
    gold_corrections: bool = True,
    **_: Any,
) -> Benchmark:
    """Read one benchmark.

    hub: {"id", "config", "split", "revision"}; file: a file in its place. fields: our names to
    those of the source (files of `data` may use the usual names). gold: a form of `golds.FORMS`.
    rows: how many the source has; several where editions differ. gated: URL of the terms.
    options: None, "given" (multiple choice in the order of the source) or "hashed" (ordered by
    `option_order`). data: files to read instead, by task. gold_corrections: False leaves golds
    exactly as the source has them.

    Raises `DataError` when the rows cannot be had or are not those of this benchmark, `GatedError`
    when terms are to be accepted.
    """
    name = benchmark.removeprefix("sb_")
    given = (data or {}).get(benchmark)
    fields = fields or {}
    source, found = _source(benchmark, given or file, hub, gated, offline)
    report = Report(source, expected=(rows,) if isinstance(rows, int) else tuple(rows))
    columns: set[str] = set()
    questions: list[dict[str, Any]] = []
    seen: set[str] = set()

    def ask(row: DataRow) -> dict[str, Any]:
        question = _question(row.values, fields, options, f"{name}-{report.found - 1}")
        if question["uid"] in seen:
            raise ValueError("its uid occurs twice")
        seen.add(question["uid"])
        if given:
            report.digests[question["uid"]] = digest_of(benchmark, question, gold)
        _settle(name, question, gold, report, gold_corrections)
        return question

    for row in found:
        report.found += 1
        if isinstance(row, RejectedRow):
            report.set_aside(row.where, row.reason)
            continue
        columns.update(row.values)
        try:
            question = ask(row)
        except ValueError as error:
            report.set_aside(row.where, str(error))
            continue
        if question["uid"] not in report.excluded:
            questions.append({**question, "grader": grader})
    report.asked = len(questions)
    if given is None and file is None and hub is not None:
        report.source = f"{hub['id']}@{hubs.revisions_read().get(hub['id'], 'main')}"
    if given:
        report.other_data = other_data(benchmark, report.digests, report.expected)
        if hub is not None and not report.other_data:
            report.unverified = unverified(benchmark, report.digests)
    else:
        _check_columns(benchmark, report, fields, columns)
    _check_count(benchmark, report)
    return Benchmark(questions, report)


def _source(
    benchmark: str,
    file: str | None,
    hub: Mapping[str, Any] | None,
    gated: str | None,
    offline: bool,
) -> tuple[str, Iterator[DataRow | RejectedRow]]:
    """(what to call it, its rows): a file where one is given, else the Hub."""
    if offline:
        hubs.go_offline()
    if file is not None:
        return file, read_source(file)
    if hub is None:
        raise UsageError(
            "this task has no data of its own",
            where=benchmark,
            remedy=f"give --data {benchmark}=FILE, or `file:` under metadata in the task file",
        )
    place = hubs.HubData.of_task(benchmark, hub, gated)
    found = (
        DataRow(f"{place.id}:{number}", number, row)
        for number, row in enumerate(hubs.read_hub(place))
    )
    return f"{place.id}@{place.revision or 'main'}", found


def _check_columns(
    benchmark: str, report: Report, fields: Mapping[str, Any], columns: Iterable[str]
) -> None:
    """A column that no row has is a spelling mistake in the task file."""
    known = sorted(columns)
    for key, value in fields.items():
        for column in [value] if isinstance(value, str) else value:
            if known and column not in known and key != "context":
                hint = did_you_mean(column, known)
                raise DataError(
                    f"no row has the column `{column}` that `metadata.fields.{key}` names;"
                    f" {hint}".rstrip("; "),
                    where=f"{benchmark}: {report.source}",
                    remedy=f"its columns are {', '.join(known)}",
                )


def _check_count(benchmark: str, report: Report) -> None:
    if not report.asked:
        reasons = "; ".join(sorted({q["reason"] for q in report.quarantine})[:5]) or "no rows"
        raise OtherRowsError(
            f"no usable row ({reasons})",
            where=f"{benchmark}: {report.source}",
            remedy="rows need `question` (or `problem`) and `answer`",
        )
    if report.expected and report.found > max(report.expected):
        raise OtherRowsError(
            f"{report.found} rows where the benchmark has {' or '.join(map(str, report.expected))}:"
            " this is another set under that name",
            where=f"{benchmark}: {report.source}",
            remedy=(
                "give the file of this benchmark (AMC 2023 has 40 problems; the set of 83 is AMC12"
                " of 2022 and 2023)"
            ),
        )


def _question(
    row: Mapping[str, Any], fields: Mapping[str, Any], options: str | None, fallback: str
) -> dict[str, Any]:
    """One row in our names. Raises `ValueError` with the reason it cannot be asked."""
    text = _take(row, fields, "question")
    answer = _take(row, fields, "answer")
    uid = _take(row, fields, "uid")
    if context := _take(row, fields, "context"):
        text = f"{context}\n{text}"
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no question")
    if answer is None or not str(answer).strip():
        raise ValueError("no answer")
    question = {
        "uid": str(uid) if uid is not None else fallback,
        "question": text.strip(),
        "answer": str(answer).strip(),
    }
    if options:
        question |= _choices(row, fields, options, question)
    question["answer_raw"] = question["answer"]
    return question


def _settle(name: str, question: dict[str, Any], gold: str, report: Report, on: bool) -> None:
    """Correct, exclude or respell a gold in place and note it."""
    disputed = question.pop("disputed", False)
    if not on:
        return
    correction = correction_of(name, question["uid"], question["question"], question["answer"])
    if disputed or (correction and correction.action == "exclude"):
        report.excluded.append(question["uid"])
        return
    if correction:
        question["answer"] = str(correction.gold)
        report.corrected.append(question["uid"])
    spelled = FORMS[gold](question["answer"])
    report.respelled += spelled != question["answer"] and not correction
    question["answer"] = spelled


def _choices(
    row: Mapping[str, Any], fields: Mapping[str, Any], order: str, question: Mapping[str, Any]
) -> dict[str, Any]:
    """{"question", "answer", "options", "letters"} of a multiple-choice row, the answer as a
    letter; "disputed" when the source gives letter and index and they differ."""
    answer = question["answer"]
    given = [str(o).strip() for o in _take(row, fields, "options") or ()]
    wrong = [str(row[w]).strip() for w in fields.get("wrong", ()) if row.get(w) is not None]
    disputed = False
    if wrong:
        # the right answer stands in a column of its own
        given = [answer, *wrong]
        right = 0
    elif len(given) < 2:
        raise ValueError("no options")
    else:
        right = string.ascii_uppercase.index(letter(answer))
        index = _take(row, fields, "index")
        disputed = index is not None and int(index) != right
    if not right < len(given) <= len(string.ascii_uppercase):
        raise ValueError(f"the gold `{answer}` is none of {len(given)} options")
    text = without_listing(question["question"], given)
    gold = given[right]
    if order == "hashed":
        given = option_order(text, given)
        right = given.index(gold)
    letters = string.ascii_uppercase[: len(given)]
    return {
        "question": text,
        "answer": letters[right],
        "options": given,
        "letters": ", ".join(letters),
        "disputed": disputed,
    }


def option_order(question: str, options: Iterable[str]) -> list[str]:
    """Options in an order that depends on the question and the options alone: sorted by
    sha256(question key, option).

    The place of the right answer in the source has no influence, and every process, run and machine
    gets the same order.

    >>> option_order("Which is prime?", ["4", "6", "7"])
    ['4', '6', '7']
    >>> option_order(" Which is  prime? ", ["7", "4", "6"])
    ['4', '6', '7']
    """
    key = question_key(question)
    return sorted(options, key=lambda o: hashlib.sha256(f"{key}\x1f{o}".encode()).hexdigest())


def without_listing(question: str, options: Sequence[str]) -> str:
    r"""The question without a list of its options at the end, which some copies put there.

    >>> without_listing("Which is prime?\n\n(A) 4\n(B) 7", ["4", "7"])
    'Which is prime?'
    """
    listing = "\n".join(f"({a}) {o}" for a, o in zip(string.ascii_uppercase, options, strict=False))
    return question.removesuffix(listing).rstrip()


def _take(row: Mapping[str, Any], fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field of ours: of the column that `fields` names, else of a usual one."""
    named = fields.get(name)
    keys = NAMES[name] if named is None else (named, *NAMES[name])
    value = next((row[k] for k in keys if row.get(k) is not None), None)
    if isinstance(value, list) and name not in ("options", "wrong"):
        value = ", ".join(map(str, value))
    return value


def data_files(words: Sequence[str], tasks: Iterable[str]) -> dict[str, str]:
    """`--data` as files by task: `task=FILE`, or a folder that holds files called like the tasks
    (`math500.jsonl` or `sb_math500.jsonl`).

    Raises `UsageError` for a task that is not asked for or a file that is not there.
    """
    known = list(tasks)
    out: dict[str, str] = {}
    for word in (w for given in words for w in given.split(",") if w):
        task, equals, path = word.partition("=")
        if not equals:
            out = _files_in(word, known) | out
            continue
        task = next((t for t in known if t in (task, f"sb_{task}")), task)
        if task not in known:
            raise UsageError(
                f"`{task}` is not among the tasks asked for",
                where="--data",
                remedy=f"tasks: {', '.join(known)}",
            )
        if not Path(path).is_file():
            raise UsageError(
                "no such data file",
                where=f"--data {task}={path}",
                remedy="give a .jsonl, .json, .parquet or .csv file",
            )
        out[task] = str(Path(path).resolve())
    return out


def _files_in(folder: str, tasks: Sequence[str]) -> dict[str, str]:
    if not Path(folder).is_dir():
        raise UsageError(
            "is neither `task=FILE` nor a folder",
            where=f"--data {folder}",
            remedy="e.g. --data sb_math500=math500.jsonl",
        )
    found: dict[str, str] = {}
    for task in tasks:
        for name in (task.removeprefix("sb_"), task):
            for file in sorted(Path(folder).glob(f"{name}.*")):
                if file.suffix in data_rows.SUFFIXES:
                    found[task] = str(file.resolve())
    return found
