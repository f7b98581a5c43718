"""Which samples of a question agree: classes of equal answers, by the grader's equality and not by
spelling."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.data.schema import GRADES, EvalManifest, GradeRow, Votes
from sage_bench.evaluation.grades import grades_file
from sage_bench.grading import cache
from sage_bench.utils.errors import DataError, SageBenchError
from sage_bench.utils.typed_files import read_bytes

RIGHT, BLANK = 0, -1  # the class of right answers; samples without an answer


def answer_classes(
    rows: Sequence[Mapping[str, Any]], same: Callable[[str, Sequence[str]], Sequence[bool]]
) -> dict[int, int]:
    """Class of each sample of one question: `RIGHT`, `BLANK`, or 1, 2, ... for wrong answers that
    are equal to each other.

    rows: grades (sample, correct, extracted). same(a, others): which of the others equal a. Answers
    are compared with the first of each class, the most frequent ones first, since a grader's
    equality need not be transitive.

    >>> answers = enumerate(["7", "1/2", "0.5", None, "3"])
    >>> rows = [{"sample": i, "correct": a == "7", "extracted": a} for i, a in answers]
    >>> answer_classes(rows, lambda a, others: [{a, b} == {"1/2", "0.5"} for b in others])
    {0: 0, 1: 1, 2: 1, 3: -1, 4: 2}
    """
    wrong = Counter(str(r["extracted"]) for r in rows if not r["correct"] and r["extracted"])
    left = [answer for answer, _ in wrong.most_common()]
    class_of: dict[str, int] = {}
    number = RIGHT
    while left:
        number += 1
        first, *others = left
        equal = same(first, others) if others else []
        class_of[first] = number
        left = []
        for answer, is_equal in zip(others, equal, strict=True):
            if is_equal:
                class_of[answer] = number
            else:
                left.append(answer)
    classes: dict[int, int] = {}
    for row in rows:
        if row["correct"]:
            classes[row["sample"]] = RIGHT
        elif row["extracted"]:
            classes[row["sample"]] = class_of[str(row["extracted"])]
        else:
            classes[row["sample"]] = BLANK
    return classes


def load_votes(folder: Path, task: str, grader: str) -> dict[int, dict[int, int]]:
    """{doc_id: {sample: class}} of a graded task of a run, of the samples that were asked for.

    Kept in votes/ of the run folder until its grades change.
    """
    grades = grades_file(folder, task, grader)
    asked = EvalManifest.read(folder / "manifest.json").tasks.get(task)
    digest = hashlib.sha256(read_bytes(grades, GRADES.remedy) + f"|{asked}".encode()).hexdigest()
    file = folder / "votes" / f"{task}.{grader}.json"
    if (kept := _kept(file, digest)) is not None:
        return kept
    by_question: dict[int, list[GradeRow]] = defaultdict(list)
    for row in GRADES.read(grades):
        if asked is None or row["sample"] < asked:
            by_question[row["doc_id"]].append(row)
    same = _by_grader(grader)
    classes = {doc_id: answer_classes(rows, same) for doc_id, rows in by_question.items()}
    named = {str(d): {str(s): c for s, c in of.items()} for d, of in classes.items()}
    with contextlib.suppress(OSError, SageBenchError):
        # a run folder that may only be read is compared all the same, a little slower each time
        file.parent.mkdir(exist_ok=True)
        Votes(grades=digest, classes=named).write(file)
    return classes


def _kept(file: Path, digest: str) -> dict[int, dict[int, int]] | None:
    """The classes of these very grades, None where they are to be made anew."""
    try:
        kept = Votes.read_or_none(file)
    except DataError:
        return None
    if kept is None or kept.grades != digest:
        return None
    return {int(d): {int(s): c for s, c in of.items()} for d, of in kept.classes.items()}


def _by_grader(grader: str) -> Callable[[str, Sequence[str]], list[bool]]:
    return lambda a, others: [
        v.correct for v in cache.grade(a, ["\\boxed{" + b + "}" for b in others], grader)
    ]
