"""Grades: a pure function of the stored samples and the golds, redone at any time without a GPU."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.data.schema import (
    GRADES,
    QUESTIONS,
    SAMPLES,
    EvalManifest,
    GradeRow,
    GraderRecord,
    QuestionRow,
    SampleRow,
)
from sage_bench.evaluation.time_limit import grade_in_time
from sage_bench.grading import cache
from sage_bench.grading.canary import canaries, packages
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import writing

COLUMNS = ["task", "doc_id", "uid", "sample", "correct", "status", "finish", "tokens"]
Tell = Callable[[int], None]


@dataclass
class _Tally:
    """What one grader did in a run."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def grade_run(
    folder: Path,
    graders: str | Mapping[str, str] = cache.DEFAULT,
    tell: Tell = lambda done: None,
) -> None:
    """Write grades/<task>.<grader>.jsonl for every stored sample, and what decided.

    graders: one for all tasks, or one by task (others keep the default). Grades of other graders
    stay; those of another version of this one move to grades/superseded. grades/<grader>.json says
    what decided: versions of the packages, the canaries, statuses and seconds. tell(done) counts
    samples. Raises `DataError` naming file and line where stored files are damaged.
    """
    tallies: dict[str, _Tally] = {}
    done = 0
    for file in sorted((folder / "questions").glob("*.json")):
        task = file.stem
        grader = graders if isinstance(graders, str) else graders.get(task, cache.DEFAULT)
        tally = tallies.setdefault(grader, _Tally())
        began = time.perf_counter()
        rows = stored_samples(folder, task)
        grades = _grade_task(QUESTIONS.read_list(file), rows, grader, done, tell)
        done += len(rows)
        tally.statuses.update(g["status"] for g in grades)
        place = grades_file(folder, task, grader)
        with writing(place):
            place.parent.mkdir(exist_ok=True)
            _set_aside(place, cache.grader(grader).version)
        GRADES.write(place, grades)
        tally.seconds += time.perf_counter() - began
    for grader, tally in tallies.items():
        _record(grader, tally).write(folder / "grades" / f"{grader}.json")


def _grade_task(
    questions: Sequence[QuestionRow],
    rows: Sequence[SampleRow],
    grader: str,
    done: int,
    tell: Tell,
) -> list[GradeRow]:
    """Verdicts on all samples of a task, question by question; samples of questions that are not
    asked any more are passed over. done: samples of tasks before this one, for `tell`."""
    version = cache.grader(grader).version
    asked = {q["doc_id"]: q for q in questions}
    by_question: dict[int, list[SampleRow]] = defaultdict(list)
    for row in rows:
        by_question[row["doc_id"]].append(row)
    grades: list[GradeRow] = []
    for doc_id, samples in sorted(by_question.items()):
        done += len(samples)
        if doc_id not in asked:
            continue
        question = asked[doc_id]
        verdicts = grade_in_time(
            question["gold"],
            [s["text"] for s in samples],
            grader,
            question.get("options"),
            where=f"{samples[0]['task']}, question {doc_id}",
        )
        for sample, verdict in zip(samples, verdicts, strict=True):
            grades.append(
                {
                    "doc_id": doc_id,
                    "sample": sample["sample"],
                    "correct": verdict.correct,
                    "status": verdict.status,
                    "extracted": verdict.extracted,
                    "grader_version": version,
                }
            )
        tell(done)
    return grades


def _record(grader: str, tally: _Tally) -> GraderRecord:
    known = {f"{c.gold} | {c.answer}": "as expected" if c.well else c.answered for c in canaries()}
    return GraderRecord(
        grader=grader,
        version=cache.grader(grader).version,
        packages=packages(),
        canaries=known,
        samples=tally.statuses.total(),
        statuses=dict(sorted(tally.statuses.items())),
        seconds=round(tally.seconds, 3),
    )


def grades_file(folder: Path, task: str, grader: str) -> Path:
    return folder / "grades" / f"{task}.{grader}.jsonl"


def _set_aside(file: Path, version: str) -> None:
    """Grades another version gave are kept beside the new ones; a file that cannot be read is no
    loss, since it is written anew."""
    try:
        before = next((row.get("grader_version") for row in GRADES.read(file)), None)
    except DataError:
        before = "unreadable"
    if before is not None and before != version:
        aside = file.parent / "superseded"
        aside.mkdir(exist_ok=True)
        digest = hashlib.sha256(before.encode()).hexdigest()[:8]
        file.replace(aside / f"{file.stem}.{digest}.jsonl")


def stored_samples(folder: Path, task: str) -> list[SampleRow]:
    """Stored rows of a task by (doc_id, sample), the first of each key."""
    rows = _samples_by_key(folder, task)
    return [rows[k] for k in sorted(rows)]


def _samples_by_key(folder: Path, task: str) -> dict[tuple[int, int], SampleRow]:
    rows: dict[tuple[int, int], SampleRow] = {}
    for row in SAMPLES.read(folder / "samples" / f"{task}.jsonl"):
        rows.setdefault((row["doc_id"], row["sample"]), row)
    return rows


def questions_asked(folder: Path, manifest: EvalManifest) -> dict[str, int]:
    """How many questions each task of a run was asked, answered or not.

    That is the number of its question file; where it was killed before that was written, the
    manifest's own count.
    """
    asked: dict[str, int] = {}
    for task in manifest.tasks:
        file = folder / "questions" / f"{task}.json"
        if file.exists():
            asked[task] = len(QUESTIONS.read_list(file))
        else:
            all_of_it = int(manifest.sampling.get(task, {}).get("questions", 0))
            asked[task] = min(all_of_it, manifest.limit or all_of_it)
    return asked


def graders_of(folder: Path) -> list[str]:
    """Names of the graders that have graded a run."""
    return sorted({f.name.split(".")[-2] for f in (folder / "grades").glob("*.*.jsonl")})


def load_grades(folder: Path, grader: str | None = None) -> pd.DataFrame:
    """The graded samples of a run, one row each (`COLUMNS`), as many a question as were asked for.

    grader: the manifest's unless another is named. Raises `DataError` when that one has not graded
    the run.
    """
    manifest = EvalManifest.read(folder / "manifest.json")
    if grader is not None:
        _check_graded(folder, grader)
    out: list[tuple[Any, ...]] = []
    for task, asked in manifest.tasks.items():
        name = grader or manifest.graders.get(task) or manifest.grader
        out += _task_grades(folder, task, name, asked)
    return pd.DataFrame(out, columns=COLUMNS)


def _task_grades(folder: Path, task: str, grader: str, asked: int) -> list[tuple[Any, ...]]:
    file = grades_file(folder, task, grader)
    if not file.exists():
        return []
    questions = QUESTIONS.read_list(folder / "questions" / f"{task}.json")
    uids = {q["doc_id"]: q["uid"] for q in questions}
    samples = _samples_by_key(folder, task)
    out: list[tuple[Any, ...]] = []
    for grade in GRADES.read(file):
        doc_id, number = grade["doc_id"], grade["sample"]
        if number >= asked:
            continue
        sample = samples.get((doc_id, number))
        if sample is None or doc_id not in uids:
            raise DataError(
                f"there is a grade of question {doc_id}, sample {number}, and no such sample",
                where=str(file),
                remedy=f"sage-bench grade {folder}",
            )
        verdict = (grade["correct"], grade["status"], sample["finish"], sample["tokens"])
        out.append((task, doc_id, uids[doc_id], number, *verdict))
    return out


def verdicts(folder: Path, grader: str) -> pd.DataFrame:
    """What one grader said of every sample that was asked for: task, doc_id, sample, correct.
    Raises `DataError` when it has not graded the run."""
    _check_graded(folder, grader)
    asked = EvalManifest.read(folder / "manifest.json").tasks
    out = []
    for file in sorted((folder / "grades").glob(f"*.{grader}.jsonl")):
        task = file.name.split(".")[0]
        for grade in GRADES.read(file):
            if task not in asked or grade["sample"] < asked[task]:
                out.append((task, grade["doc_id"], grade["sample"], grade["correct"]))
    return pd.DataFrame(out, columns=["task", "doc_id", "sample", "correct"])


def _check_graded(folder: Path, grader: str) -> None:
    if grader not in (known := graders_of(folder)):
        raise DataError(
            f"`{grader}` has not graded this run (there are: {', '.join(known) or 'no grades'})",
            where=str(folder),
            remedy=f"sage-bench grade {folder} --grader {grader}",
        )


def agreement(folder: Path, graders: Sequence[str] | None = None) -> pd.DataFrame:
    """How far the graders of a run agree, one row a pair: samples both graded, share of equal
    verdicts, and who alone said yes.

    Columns: a, b, samples, agree (share), both, neither, only_a, only_b. Raises `DataError` with
    fewer than two graders.
    """
    names = list(graders) if graders else graders_of(folder)
    if len(names) < 2:
        raise DataError(
            f"only {', '.join(names) or 'no grader'} has graded this run",
            where=str(folder),
            remedy=f"sage-bench grade {folder} --grader oat",
        )
    correct = {
        name: verdicts(folder, name).set_index(["task", "doc_id", "sample"])["correct"]
        for name in names
    }
    rows = [_agreement_of(a, b, correct[a], correct[b]) for a, b in combinations(names, 2)]
    return pd.DataFrame(rows)


def _agreement_of(a: str, b: str, of_a: Any, of_b: Any) -> dict[str, Any]:
    both = pd.concat([of_a, of_b], axis=1, join="inner", keys=["a", "b"]).astype(bool)
    counts = {
        "both": int((both.a & both.b).sum()),
        "neither": int((~both.a & ~both.b).sum()),
        "only_a": int((both.a & ~both.b).sum()),
        "only_b": int((~both.a & both.b).sum()),
    }
    equal = counts["both"] + counts["neither"]
    return {"a": a, "b": b, "samples": len(both), "agree": equal / max(len(both), 1), **counts}
