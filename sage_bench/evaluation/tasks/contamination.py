"""Which benchmark questions stand in training data: the same text, or a long run of the same
words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sage_bench.data.problems import to_problem
from sage_bench.data.question_key import question_key
from sage_bench.data.rows import RejectedRow, read_source

WORDS = 13  # as in the GPT-3 paper and lm-eval's decontamination


@dataclass
class Overlap:
    """Which questions stand in training data.

    exact: uids whose whole text is a training question. shared: uids with at least one run of
    `WORDS` words in one, and the largest part of their runs found in a single training question.
    """

    exact: list[str] = field(default_factory=list)
    shared: dict[str, float] = field(default_factory=dict)


def runs(text: str, words: int = WORDS) -> set[str]:
    """All runs of consecutive words, whatever stands between them; none in a shorter text.

    >>> sorted(runs("One, two; three 4!", 3))
    ['one two three', 'two three 4']
    """
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {" ".join(found[i : i + words]) for i in range(len(found) - words + 1)}


def overlap(questions: Mapping[str, str], training: Iterable[str], words: int = WORDS) -> Overlap:
    """questions: uid to text. training: question texts, read once and not kept.

    >>> benchmark = {"a": "What is 1 + 1?", "b": "a b c d e f"}
    >>> overlap(benchmark, ["what is $1 + 1$?", "x a b c d y"], words=3)
    Overlap(exact=['a'], shared={'a': 1.0, 'b': 0.5})
    """
    keys: dict[str, list[str]] = defaultdict(list)
    holders: dict[str, list[str]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for uid, text in questions.items():
        keys[question_key(text)].append(uid)
        mine = runs(text, words)
        sizes[uid] = len(mine)
        for run in mine:
            holders[run].append(uid)
    out = Overlap()
    exact: set[str] = set()
    for text in training:
        exact.update(keys.get(question_key(text), ()))
        hits: dict[str, int] = defaultdict(int)
        for run in runs(text, words):
            for uid in holders.get(run, ()):
                hits[uid] += 1
        for uid, n in hits.items():
            out.shared[uid] = max(out.shared.get(uid, 0.0), round(n / sizes[uid], 3))
    out.exact = [uid for uid in questions if uid in exact]
    out.shared = {uid: out.shared[uid] for uid in questions if uid in out.shared}
    return out


def training_questions(source: str, columns: Mapping[str, str] | None = None) -> Iterator[str]:
    """Question texts of a registered dataset or file.

    Rows without a question or an answer are passed over: nothing is trained on them either.
    """
    for row in read_source(source):
        if isinstance(row, RejectedRow):
            continue
        try:
            problem = to_problem(row.values, columns or {})
        except ValueError:
            continue
        yield problem.question
