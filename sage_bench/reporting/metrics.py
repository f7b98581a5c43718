"""What a question is worth: avg, pass@k or maj@k, from an evaluated run."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sage_bench.evaluation.votes import BLANK, RIGHT, load_votes
from sage_bench.reporting.runs import EvalRun, TaskResult
from sage_bench.statistics import maj_at_k, pass_at_k
from sage_bench.utils.errors import UsageError, did_you_mean


@dataclass(frozen=True, slots=True)
class Metric:
    """kind "avg": share of right samples. "pass": chance that k samples hold a right one.

    "maj": score of the majority of k samples.
    """

    kind: Literal["avg", "pass", "maj"] = "avg"
    k: int = 0

    @property
    def name(self) -> str:
        """The name in tables: avg@n, pass@4, maj@4."""
        return "avg@n" if self.kind == "avg" else f"{self.kind}@{self.k}"

    def of(self, run: EvalRun, task: str) -> NDArray[np.float64]:
        """Value of each complete question, (N,); NaN where there are fewer than k samples."""
        result = run.tasks[task]
        if self.kind == "avg":
            return result.means
        if self.k > result.samples:
            return np.full(len(result.means), np.nan)
        if self.kind == "pass":
            return pass_at_k(result.right, result.samples, self.k)
        return _majority(run, task, result, self.k)

    def scores(self, run: EvalRun) -> dict[str, NDArray[np.float64]]:
        """`of` for each task of the run."""
        return {t: self.of(run, t) for t in run.tasks}


def _majority(run: EvalRun, task: str, result: TaskResult, k: int) -> NDArray[np.float64]:
    votes = load_votes(run.folder, task, run.manifest["grader"])
    out = []
    for doc in result.doc_ids:
        counts = Counter(votes[doc].values())
        right = counts.pop(RIGHT, 0)
        blank = counts.pop(BLANK, 0)
        out.append(maj_at_k(right, list(counts.values()), blank, k))
    return np.array(out)


def parse_metric(text: str) -> Metric:
    """`avg`, `pass@4`, `maj@8`. Raises `UsageError`.

    >>> parse_metric("pass@4"), parse_metric("avg@n").name
    (Metric(kind='pass', k=4), 'avg@n')
    """
    if text in {"avg", "avg@n"}:
        return Metric()
    kind, _, number = text.partition("@")
    if kind not in {"avg", "pass", "maj"}:
        raise UsageError(
            f"unknown metric `{text}`; {did_you_mean(kind, ('avg', 'pass', 'maj'))}".rstrip("; "),
            where="--metric",
            remedy="one of avg, pass@4, maj@4",
        )
    if kind == "avg":
        raise UsageError(
            f"`{text}`: avg takes all samples there are",
            where="--metric",
            remedy="write avg; runs with different numbers of samples can be compared",
        )
    if not re.fullmatch(r"[1-9]\d*", number):
        raise UsageError(
            f"`{text}`: how many samples?",
            where="--metric",
            remedy=f"write a number, e.g. {kind}@4",
        )
    return Metric("pass" if kind == "pass" else "maj", int(number))


def powers(n: int) -> list[int]:
    """The k of the pass@k columns of n samples: powers of two, and n.

    >>> powers(16), powers(6), powers(1)
    ([2, 4, 8, 16], [2, 4, 6], [])
    """
    if n < 2:
        return []
    return sorted({2**i for i in range(1, n.bit_length()) if 2**i <= n} | {n})
