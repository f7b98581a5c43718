"""Statistics that hold: clustered standard errors, macro averages, paired tests. Pure functions of arrays.

The unit of resampling is the question: samples of one question are not independent. `Scores` maps a benchmark to the mean
score of each of its questions, (N,) in [0, 1]; the order of questions is the same for all methods that are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = Mapping[str, NDArray[np.float64]]
DRAWS = 10_000


def mean_se(question_means: NDArray[np.float64]) -> tuple[float, float]:
    """Mean over questions and its standard error clustered by question: sd(c_i / n) / sqrt(N) (Miller, arXiv 2411.00640).

    This already contains the noise of sampling n answers a question.

    >>> mean, se = mean_se(np.array([0.0, 0.5, 1.0, 0.5]))
    >>> mean, round(se, 6)
    (0.5, 0.204124)
    """
    n = len(question_means)
    return float(np.mean(question_means)), float(np.std(question_means, ddof=1) / sqrt(n)) if n > 1 else float("nan")


def sampling_se(question_means: NDArray[np.float64], n: int) -> float:
    """The part of the standard error that n samples a question leave: sqrt(sum p_i (1 - p_i) / (n - 1)) / N; NaN for n = 1."""
    p = question_means
    return float(sqrt(float(np.sum(p * (1 - p))) / (n - 1)) / len(p)) if n > 1 else float("nan")


def t_interval(mean: float, se: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Student-t interval over n questions, cut to [0, 1]; the normal one is too narrow for the 30 questions of AIME."""
    if n < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * se
    return max(0.0, mean - half), min(1.0, mean + half)


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion, (low, high); NaN for n = 0. It stays within [0, 1] and has a width at 0 of n.

    >>> [round(x, 4) for x in wilson(0, 10)], [round(x, 4) for x in wilson(8, 10)]
    ([0.0, 0.2775], [0.4902, 0.9433])
    """
    if n == 0:
        return float("nan"), float("nan")
    p, scale = hits / n, 1 + z * z / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def clustered_se(values: NDArray[np.float64], clusters: Sequence[object]) -> float:
    """Standard error of the mean of `values` (N,) when those of one cluster are not independent; NaN for a single cluster.
    With clusters of one it is that of `mean_se`.

    >>> round(clustered_se(np.array([0.0, 0.5, 1.0, 0.5]), "abcd"), 6), round(clustered_se(np.array([0.0, 0.0, 1.0, 1.0]), "aabb"), 6)
    (0.204124, 0.5)
    """
    values = np.asarray(values, float)
    _, which = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums = np.bincount(which, weights=values - values.mean()) if len(values) else np.zeros(0)
    g = len(sums)
    return float(sqrt(g / (g - 1) * float(np.sum(sums**2))) / len(values)) if g > 1 else float("nan")


def macro(scores: Scores) -> tuple[float, float]:
    """Unweighted mean over B benchmarks (the paper's convention) and its SE, sqrt(sum SE_b^2) / B."""
    parts = [mean_se(np.asarray(s)) for s in scores.values()]
    return float(np.mean([m for m, _ in parts])), sqrt(sum(se**2 for _, se in parts)) / len(parts)


@dataclass(frozen=True, slots=True)
class Paired:
    """a - b on the same questions: difference, standard error, 95 % interval, two-sided p."""

    diff: float
    se: float
    low: float
    high: float
    p: float


def paired(a: Scores, b: Scores, *, draws: int = DRAWS, seed: int = 0) -> Paired:
    """Compare two methods on the macro average, paired by question.

    Interval: percentile bootstrap over questions within each benchmark. p: sign-flip permutation test of the question
    differences (under the null, a and b are exchangeable on every question), with the observed assignment counted.
    Raises `ValueError` when the questions do not match.
    """
    if list(a) != list(b) or any(len(a[t]) != len(b[t]) for t in a):
        raise ValueError("paired comparison needs the same questions for both methods")
    rng = np.random.default_rng(seed)
    deltas = [np.asarray(a[t], float) - np.asarray(b[t], float) for t in a]
    diff = float(np.mean([d.mean() for d in deltas]))
    boot, flip = np.zeros(draws), np.zeros(draws)
    for d in deltas:
        boot += d[rng.integers(len(d), size=(draws, len(d)))].mean(1) / len(deltas)
        flip += (d * rng.choice((-1.0, 1.0), size=(draws, len(d)))).mean(1) / len(deltas)
    p = (1 + int(np.sum(np.abs(flip) >= abs(diff) - 1e-12))) / (1 + draws)
    low, high = np.quantile(boot, (0.025, 0.975))
    return Paired(diff, float(np.std(boot, ddof=1)), float(low), float(high), p)
