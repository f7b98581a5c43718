"""What the page knows of the samples of an evaluation.

An index of every sample (verdicts, how it ended, its answer, its tokens) is one small file, which
filters run over; the texts lie in chunks that are loaded when somebody reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.data.schema import GRADES, QUESTIONS, EvalManifest, QuestionRow, SampleRow
from sage_bench.evaluation.grades import graders_of, grades_file, stored_samples
from sage_bench.evaluation.tasks.spec import in_order
from sage_bench.reporting.page.chunks import Chunks, by_size

CHUNK = 1_000_000  # characters of the texts in one file, about
LONGEST_ANSWER = 200  # characters of an extracted answer in the index
# statuses in one letter; others are "?"
STATUS = {"ok": "o", "no_answer": "n", "parse_error": "p", "timeout": "t", "crash": "c"}
Key = tuple[int, int]  # (doc_id, sample)


@dataclass(frozen=True)
class Verdicts:
    """What the graders of a run said of the samples of one task.

    correct: by grader, then by (doc_id, sample). status, extracted: of the grader that decides.
    """

    decides: str
    correct: Mapping[str, Mapping[Key, bool]]
    status: Mapping[Key, str]
    extracted: Mapping[Key, str | None]


def write_samples(folder: Path, name: str, chunks: Chunks, grader: str | None = None) -> None:
    """Write NAME.js, the index of all tasks of an evaluation, and NAME/TASK-CHUNK.js, its texts.

    grader: who decides, the run's own unless named. Raises `DataError` where a file is damaged.
    """
    manifest = EvalManifest.read(folder / "manifest.json")
    tasks = []
    for number, task in enumerate(in_order(manifest.tasks)):
        decides = grader or manifest.graders.get(task) or manifest.grader
        file = folder / "questions" / f"{task}.json"
        if not file.exists():
            continue
        questions = sorted(QUESTIONS.read_list(file), key=lambda q: q["doc_id"])
        rows = [r for r in stored_samples(folder, task) if r["sample"] < manifest.tasks[task]]
        entry = task_index(questions, rows, verdicts(folder, task, decides))
        texts = f"{name}/{number}"
        entry |= {"task": task, "asked": manifest.tasks[task], "texts": texts}
        entry["question_texts"] = write_questions(questions, chunks)
        entry["chunks"] = write_texts(questions, rows, texts, chunks)
        tasks.append(entry)
    chunks.write(name, tasks)


def verdicts(folder: Path, task: str, decides: str) -> Verdicts:
    """The grades of one task by every grader that has graded it."""
    correct: dict[str, dict[Key, bool]] = {}
    status: dict[Key, str] = {}
    extracted: dict[Key, str | None] = {}
    for grader in graders_of(folder):
        of_grader: dict[Key, bool] = {}
        for grade in GRADES.read(grades_file(folder, task, grader)):
            key = grade["doc_id"], grade["sample"]
            of_grader[key] = grade["correct"]
            if grader == decides:
                status[key] = grade["status"]
                extracted[key] = grade["extracted"]
        if of_grader:
            correct[grader] = of_grader
    return Verdicts(decides, correct, status, extracted)


def task_index(
    questions: Sequence[QuestionRow], rows: Sequence[SampleRow], found: Verdicts
) -> dict[str, Any]:
    """The samples of one task as columns, in the order of questions and samples.

    `counts` says how many samples each question has. Verdicts are one letter a sample: 1 right,
    0 wrong, - not graded.
    """
    asked = {q["doc_id"] for q in questions}
    rows = [r for r in rows if r["doc_id"] in asked]
    keys = [(r["doc_id"], r["sample"]) for r in rows]
    counts = dict.fromkeys((q["doc_id"] for q in questions), 0)
    for doc_id, _ in keys:
        counts[doc_id] += 1
    answers: dict[str, int] = {}
    answer = []
    for key in keys:
        text = found.extracted.get(key)
        if text is None:
            answer.append(-1)
        else:
            answer.append(answers.setdefault(text[:LONGEST_ANSWER], len(answers)))
    letters = {True: "1", False: "0", None: "-"}
    correct = {}
    for grader, of_grader in found.correct.items():
        correct[grader] = "".join(letters[of_grader.get(key)] for key in keys)
    return {
        "uids": [str(q["uid"]) for q in questions],
        "golds": [q["gold"] for q in questions],
        "counts": list(counts.values()),
        "samples": [number for _, number in keys],
        "grader": found.decides,
        "correct": correct,
        "status": "".join(STATUS.get(found.status.get(key, ""), "?") for key in keys),
        "finish": "".join("l" if r["finish"] == "length" else "s" for r in rows),
        "tokens": [-1 if r["tokens"] is None else r["tokens"] for r in rows],
        "answers": list(answers),
        "answer": answer,
    }


def write_texts(
    questions: Sequence[QuestionRow], rows: Sequence[SampleRow], name: str, chunks: Chunks
) -> list[int]:
    """Write the texts of one task, question by question; returns how many questions each chunk
    holds."""
    texts: dict[int, list[str]] = {q["doc_id"]: [] for q in questions}
    for row in rows:
        if row["doc_id"] in texts:
            texts[row["doc_id"]].append(row["text"])
    sized = ((sum(map(len, of_question)), of_question) for of_question in texts.values())
    held = []
    for number, group in enumerate(by_size(sized, CHUNK)):
        chunks.write(f"{name}-{number}", group)
        held.append(len(group))
    return held


def write_questions(questions: Sequence[QuestionRow], chunks: Chunks) -> str | None:
    """Write the questions' own texts once for all runs that were asked them; returns the file's
    name, None where the run did not keep them."""
    texts = [q.get("question") for q in questions]
    if not any(texts):
        return None
    options = [q.get("options") for q in questions]
    digest = hashlib.sha256(repr((texts, options)).encode("utf-8", "replace")).hexdigest()[:12]
    name = f"questions/{digest}"
    if name not in chunks:
        chunks.write(name, {"texts": texts, "options": options})
    return name
