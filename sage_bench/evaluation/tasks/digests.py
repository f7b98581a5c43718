"""Whether rows are those of the benchmark they are called: digests of its questions and golds.

A file of another benchmark has as many rows and passes every other check. So each published
benchmark has a digest a question (`benchmark_digests.jsonl`; no text can be read from it): of the
question with its options, of its gold, and the question's shape, by which copies that spell it a
little differently are still known. Golds that our table of corrections settles make no difference.
Rows of the Hub are identified by their pinned revision instead.

`python -m sage_bench.evaluation.tasks.make_digests FOLDER` prints the table for a folder of files
called like the benchmarks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sage_bench.data.question_key import question_key
from sage_bench.evaluation.tasks.golds import FORMS, correction_of

TABLE = "benchmark_digests.jsonl"
SHAPE_BITS = 64
NEAR = 12  # bits in which copies of one question may differ; those of two differ in 32 on average
_SHINGLE = 5  # characters


class Digest(NamedTuple):
    """Of one question: its text, its gold, its shape; hexadecimal digits."""

    question: str
    gold: str
    shape: str


@dataclass(frozen=True)
class Known:
    """The questions of one benchmark."""

    golds: Mapping[str, str]
    digests: Sequence[Digest]

    def gold_of(self, digest: Digest) -> str | None:
        """The digest of the gold of this question, None where it is not one of them.

        Several questions of a benchmark may differ little: where the gold is that of one of them,
        it is taken for that one.
        """
        if digest.question in self.golds:
            return self.golds[digest.question]
        shape = int(digest.shape, 16)
        near = [d.gold for d in self.digests if (int(d.shape, 16) ^ shape).bit_count() <= NEAR]
        if digest.gold in near:
            return digest.gold
        return near[0] if near else None


@cache
def known_digests() -> Mapping[str, Known]:
    """The table, by benchmark."""
    text = (files("sage_bench.evaluation.tasks") / TABLE).read_text(encoding="utf-8")
    known: dict[str, Known] = {}
    for line in text.splitlines():
        row = json.loads(line)
        digests = [Digest(*entry.split(":")) for entry in row["questions"]]
        golds = {d.question: d.gold for d in digests}
        known[row["benchmark"]] = Known(golds, digests)
    return known


def digest_of(benchmark: str, question: Mapping[str, Any], form: str) -> Digest:
    """The digest of one question. form: that of its gold, one of `golds.FORMS`.

    question: {"uid", "question", "answer"}, its gold as the source has it, and "options" of
    multiple choice in the order they are asked in.
    """
    text, gold = question["question"], question["answer"]
    correction = correction_of(benchmark.removeprefix("sb_"), question["uid"], text, gold)
    if correction is not None and correction.gold is not None:
        gold = correction.gold
    try:
        gold = FORMS[form](gold)
    except ValueError:
        # a gold the form does not fit is that gold all the same
        gold = str(gold)
    whole = "\n".join([text, *(question.get("options") or ())])
    of_gold = hashlib.sha256(re.sub(r"[\s$]", "", gold).encode()).hexdigest()[:4]
    return Digest(question_key(whole)[:8], of_gold, f"{shape_of(whole):016x}")


def shape_of(text: str) -> int:
    """A hash of letters and digits that changes a little where the text does (simhash: Charikar
    2002).

    >>> one = shape_of("Find the sum of all integer bases $b > 9$ for which $17_b$ divides $97_b$.")
    >>> two = shape_of(r"Find the sum of all integer bases \\(b>9\\) for which 17_b divides 97_b")
    >>> other = shape_of("How many ordered pairs of integers (x, y) satisfy 12x^2 - xy - 6y^2 = 0?")
    >>> (one ^ two).bit_count() <= NEAR < (one ^ other).bit_count()
    True
    """
    plain = re.sub(r"\\[a-zA-Z]+|[^a-z0-9]", "", text.lower()).ljust(_SHINGLE)
    letters = np.frombuffer(plain.encode("ascii"), np.uint8).astype(np.uint64)
    pieces = np.lib.stride_tricks.sliding_window_view(letters, _SHINGLE)
    mixed = _mixed((pieces << np.arange(0, 8 * _SHINGLE, 8, dtype=np.uint64)).sum(axis=1))
    bits = (mixed[:, None] >> np.arange(SHAPE_BITS, dtype=np.uint64)) & np.uint64(1)
    more = 2 * bits.sum(axis=0) > len(mixed)
    return sum(1 << bit for bit in range(SHAPE_BITS) if more[bit])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result hangs on every bit of the value (the finisher of splitmix64)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def other_data(benchmark: str, digests: Mapping[str, Digest], expected: Sequence[int]) -> str:
    """What is not this benchmark's among some rows, "" for nothing.

    digests: by uid. expected: row counts of its known editions; an edition may have more rows than
    digests are known.

    >>> other_data("sb_aime24", {"a": Digest("0", "0", "0")}, (30,))
    '1 of 1 questions are not among the 30 of this benchmark (a)'
    """
    known = known_digests().get(benchmark)
    if known is None:
        return ""
    golds = {uid: known.gold_of(digest) for uid, digest in digests.items()}
    unknown = [uid for uid, gold in golds.items() if gold is None]
    other = [uid for uid, gold in golds.items() if gold not in (None, digests[uid].gold)]
    facts = []
    if len(unknown) > max(expected, default=0) - len(known.golds):
        facts.append(
            f"{len(unknown)} of {len(digests)} questions are not among the"
            f" {max(expected, default=len(known.golds))} of this benchmark ({_some(unknown)})"
        )
    if other:
        facts.append(
            f"{len(other)} of {len(digests)} golds are not those of this benchmark ({_some(other)})"
        )
    return "; ".join(facts)


def unverified(benchmark: str, digests: Mapping[str, Digest]) -> int:
    """How many of these rows cannot be told from those of another set: no digest is known of them.

    digests: by uid.

    >>> unverified("sb_gpqa_diamond", {"a": Digest("0", "0", "0")})
    1
    """
    known = known_digests().get(benchmark)
    if known is None:
        return len(digests)
    return sum(known.gold_of(digest) is None for digest in digests.values())


def unverified_rows(report: Mapping[str, Any]) -> str:
    """What is said of rows of a file that no digest is known of.

    >>> unverified_rows({"unverified": 5, "found": 7})
    'contents not verified: no digest is known of 5 of its 7 rows'
    """
    return (
        f"contents not verified: no digest is known of {report['unverified']:,} of its"
        f" {report['found']:,} rows"
    )


def _some(uids: Sequence[str], most: int = 5) -> str:
    more = ", ..." if len(uids) > most else ""
    return ", ".join(uids[:most]) + more
