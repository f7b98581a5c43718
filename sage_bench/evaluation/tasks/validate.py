"""Check benchmarks before a GPU minute is spent: rows, prompts, golds against their own grader,
duplicates, overlap with training."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sage_bench.data.hub import GatedError
from sage_bench.data.question_key import question_key
from sage_bench.evaluation.tasks.benchmarks import OtherRowsError
from sage_bench.evaluation.tasks.contamination import WORDS, overlap, training_questions
from sage_bench.evaluation.tasks.digests import unverified_rows
from sage_bench.evaluation.tasks.loading import DataOptions, grader_of, load, report_of, shown
from sage_bench.grading import cache
from sage_bench.grading.question import self_test
from sage_bench.utils.errors import DataError

# of a question's runs of words in one training question; competition prose alone shares a few
NEAR = 0.5
Status = Literal["ok", "partial", "skipped_gated", "failed", "wrong"]


@dataclass
class TaskCheck:
    """What was found.

    status: ok; partial (nothing wrong, but the source has fewer rows than the benchmark);
    skipped_gated and failed (no data); wrong (see `problems`). golds_true of `asked` golds are
    graded true when a completion boxes them; `by_spelling` names those the grader can compare by
    their spelling only. notes change nothing.
    """

    task: str
    status: Status = "ok"
    grader: str = ""
    grader_version: str = ""
    source: str = "generated"
    found: int = 0
    expected: list[int] = field(default_factory=list)
    asked: int = 0
    golds_true: int = 0
    by_spelling: list[dict[str, str]] = field(default_factory=list)
    prompts: int = 0
    corrected: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    respelled: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    overlap: dict[str, Any] = field(default_factory=dict)
    prompt: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def problem(self, uid: str, check: str, why: str) -> None:
        self.status = "wrong"
        self.problems.append({"uid": uid, "check": check, "why": why})


def validate(
    tasks: Iterable[str],
    options: DataOptions,
    *,
    grader: str | None = None,
    train: Sequence[str] = (),
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[TaskCheck]:
    """Check each task; one that has no data does not stop the others. train: datasets or files to
    compare questions with."""
    return [_check(name, options, grader, train, on_progress) for name in tasks]


def exit_code(checks: Sequence[TaskCheck], strict: bool = False) -> int:
    """0 all fine (gated tasks may be skipped), 3 something could not be checked in full, 4
    something is wrong; with `strict` everything that is not fine is wrong."""
    found = {c.status for c in checks}
    if "wrong" in found or (strict and found - {"ok"}):
        return 4
    return 3 if found & {"partial", "failed"} else 0


def _check(
    name: str,
    options: DataOptions,
    grader: str | None,
    train: Sequence[str],
    on_progress: Callable[[str, int, int], None],
) -> TaskCheck:
    check = TaskCheck(name)
    try:
        task = load({name: 1}, options, grader=grader)[0][name]
    except DataError as error:
        check.status = _status_of(error)
        check.notes.append(str(error))
        return check
    docs = [{"uid": i, **doc} for i, doc in enumerate(task.eval_docs)]
    check.grader = grader_of(task)
    check.asked = check.found = len(docs)
    check.grader_version = cache.grader(check.grader).version
    _rows(check, report_of(task))
    for i, doc in enumerate(docs):
        _prompt(check, doc, task.doc_to_text(doc))
        _gold(check, doc, str(task.doc_to_target(doc)))
        on_progress(name, i + 1, len(docs))
    check.prompt = shown(task, f"{task.config.description}\n\n{task.doc_to_text(docs[0])}")
    _duplicates(check, docs)
    for source in train:
        _overlap(check, docs, source)
    return check


def _status_of(error: DataError) -> Status:
    if isinstance(error, GatedError):
        return "skipped_gated"
    return "wrong" if isinstance(error, OtherRowsError) else "failed"


def _overlap(check: TaskCheck, docs: Sequence[Mapping[str, Any]], source: str) -> None:
    """Which questions stand in training data, or nearly do."""
    found = overlap({str(d["uid"]): _text(d) for d in docs}, training_questions(source))
    near = [uid for uid, share in found.shared.items() if share >= NEAR and uid not in found.exact]
    check.overlap[source] = {"exact": found.exact, "near": near, "shared": found.shared}
    if found.exact or near:
        check.notes.append(
            f"{len(found.exact)} questions stand in {source}, {len(near)} more share at least"
            f" half of their runs of {WORDS} words with a question there"
        )


def _rows(check: TaskCheck, report: Mapping[str, Any] | None) -> None:
    if report is None:
        return
    check.source = report["source"]
    check.found = report["found"]
    check.expected = list(report["expected"])
    check.corrected = report["corrected"]
    check.excluded = report["excluded"]
    check.respelled = report["respelled"]
    if report["other_data"]:
        check.notes.append(f"other data: {report['other_data']}")
    if report["unverified"]:
        check.notes.append(unverified_rows(report))
    for bad in report["quarantine"]:
        check.problem(bad["place"], "row", bad["reason"])
    if report["partial"] and check.status == "ok":
        check.status = "partial"
        check.notes.append(
            f"{report['found']} rows where the benchmark has"
            f" {' or '.join(map(str, report['expected']))}"
        )


def _prompt(check: TaskCheck, doc: Mapping[str, Any], text: str) -> None:
    """The question stands in the prompt, and every option with its letter."""
    options = doc.get("options") or ()
    letters = string.ascii_uppercase
    listing = "\n".join(f"{a}. {o}" for a, o in zip(letters, options, strict=False))
    parts = {"the question": doc.get("question", ""), "the list of options": listing}
    missing = [what for what, part in parts.items() if part not in text]
    if missing:
        check.problem(str(doc["uid"]), "prompt", f"{' and '.join(missing)} is not in the prompt")
    else:
        check.prompts += 1


def _gold(check: TaskCheck, doc: Mapping[str, Any], gold: str) -> None:
    true, unusable = self_test(gold, check.grader, doc.get("options"))
    check.golds_true += true
    if not true:
        check.problem(
            str(doc["uid"]),
            "gold",
            f"`{gold}` in a box is not graded true by {check.grader}"
            + (f": {unusable}" if unusable else ""),
        )
    elif unusable:
        check.by_spelling.append({"uid": str(doc["uid"]), "gold": gold, "why": unusable})


def _text(doc: Mapping[str, Any]) -> str:
    return "\n".join([doc.get("question", ""), *(doc.get("options") or ())])


def _duplicates(check: TaskCheck, docs: Sequence[Mapping[str, Any]]) -> None:
    same: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for doc in (d for d in docs if _text(d)):
        same[question_key(_text(doc))].append(doc)
    for group in same.values():
        if len(group) > 1:
            uids = ", ".join(str(d["uid"]) for d in group)
            if len({str(d.get("answer")) for d in group}) > 1:
                check.problem(uids, "duplicate", "the same question with different golds")
            else:
                check.notes.append(f"the same question several times: {uids}")
