"""Which samples of a question agree: classes of equal answers, by the grader's equality and not by
spelling."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.grading import cache
from sage_bench.utils.files import read_jsonl, write_text

RIGHT, BLANK = 0, -1  # the class of right answers; samples without an answer


def answer_classes(
    rows: Sequence[Mapping[str, Any]], same: Callable[[str, Sequence[str]], Sequence[bool]]
) -> dict[int, int]:
    """Class of each sample of one question: `RIGHT`, `BLANK`, or 1, 2, ... for wrong answers that
    are equal to each other.

    rows: grades (sample, correct, extracted). same(a, others): which of the others equal a. Answers
    are compared with the first of each class, the most frequent ones first, since a grader's
    equality need not be transitive.

    >>> rows = [{"sample": i, "correct": a == "7", "extracted": a} for i, a in enumerate(["7", "1/2", "0.5", None, "3"])]
    >>> answer_classes(rows, lambda a, others: [{a, b} == {"1/2", "0.5"} for b in others])
    {0: 0, 1: 1, 2: 1, 3: -1, 4: 2}
    """
    wrong = Counter(str(r["extracted"]) for r in rows if not r["correct"] and r["extracted"])
    left, number, of = [a for a, _ in wrong.most_common()], 0, {}
    while left:
        first, others, number = left[0], left[1:], number + 1
        equal = same(first, others) if others else []
        of[first] = number
        of.update({a: number for a, e in zip(others, equal, strict=True) if e})
        left = [a for a, e in zip(others, equal, strict=True) if not e]
    return {
        r["sample"]: RIGHT if r["correct"] else of[str(r["extracted"])] if r["extracted"] else BLANK
        for r in rows
    }


def load_votes(folder: Path, task: str, grader: str) -> dict[int, dict[int, int]]:
    """{doc_id: {sample: class}} of a graded task of a run. Kept in votes/ of the run folder until
    its grades change."""
    grades = folder / "grades" / f"{task}.{grader}.jsonl"
    digest = hashlib.sha256(grades.read_bytes()).hexdigest()
    file = folder / "votes" / f"{task}.{grader}.json"
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["grades"] == digest:
            return {int(d): {int(s): c for s, c in v.items()} for d, v in kept["classes"].items()}
    by_doc: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in read_jsonl(grades):
        by_doc[row["doc_id"]].append(row)
    classes = {doc: answer_classes(rows, _by_grader(grader)) for doc, rows in by_doc.items()}
    try:
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps({"grades": digest, "classes": classes}))
    except OSError:
        # a run folder that may only be read is compared all the same, a little slower each time
        return classes
    return classes


def _by_grader(grader: str) -> Callable[[str, Sequence[str]], list[bool]]:
    return lambda a, others: [
        v.correct for v in cache.grade(a, ["\\boxed{" + b + "}" for b in others], grader)
    ]
