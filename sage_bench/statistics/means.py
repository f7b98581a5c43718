"""Averages over questions and over benchmarks, with standard errors and intervals.

Functions of one benchmark take arrays whose last axis is the questions, so that many studies can be
computed at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = Mapping[str, NDArray[np.float64]]


def mean_se(question_means: NDArray[np.float64]) -> tuple[Any, Any]:
    """Mean over questions and its standard error clustered by question: sd(c_i / n) / sqrt(N)
    (Miller, arXiv 2411.00640).

    This already contains the noise of sampling n answers a question. question_means: (..., N).
    Returns two floats, or two arrays (...,); the error of a single question is NaN.

    >>> mean, se = mean_se(np.array([0.0, 0.5, 1.0, 0.5]))
    >>> mean, round(se, 6)
    (0.5, 0.204124)
    """
    x = np.asarray(question_means, float)
    mean, se = (
        np.mean(x, -1),
        stats.sem(x, axis=-1) if x.shape[-1] > 1 else np.full(x.shape[:-1], nan),
    )
    return (float(mean), float(se)) if x.ndim == 1 else (mean, se)


def sampling_se(question_means: NDArray[np.float64], n: int) -> float:
    """The part of the standard error that n samples a question leave: sqrt(sum p_i (1 - p_i) / (n -
    1)) / N; NaN for n = 1."""
    p = question_means
    return float(sqrt(float(np.sum(p * (1 - p))) / (n - 1)) / len(p)) if n > 1 else nan


def t_interval(mean: Any, se: Any, n: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Student-t interval with n - 1 degrees of freedom, cut to [0, 1]."""
    if np.ndim(n) == 0 and n < 2:
        return nan, nan
    half = stats.t.ppf(0.5 + level / 2, n - 1) * se
    low, high = np.maximum(0.0, mean - half), np.minimum(1.0, mean + half)
    return (float(low), float(high)) if np.ndim(mean) == 0 else (low, high)


def share_interval(mean: Any, se: Any, n: int, level: float = 0.95) -> tuple[Any, Any]:
    """Interval of a benchmark's mean of n questions: Wilson's, with the effective number of
    independent answers p (1 - p) / SE^2 and Student's quantile (for clustered shares: Dean and
    Pagano, J. Survey Stat. Methodol. 2015).

    Near 0 and 1 it keeps its coverage far longer than mean +- t SE, whose interval for 0 of 30 is
    [0, 0]. Where SE is 0 every question counts as one answer.

    >>> [round(x, 3) for x in share_interval(0.0, 0.0, 30)], [round(x, 3) for x in share_interval(0.5, 0.05, 30)]
    ([0.0, 0.122], [0.4, 0.6])
    """
    if n < 2:
        return nan, nan
    from statsmodels.stats.proportion import (
        proportion_confint,
    )  # a slow import, and most verbs need none of it

    m, s = np.asarray(mean, float), np.asarray(se, float)
    effective = np.where(s > 0, m * (1 - m) / np.where(s > 0, s, 1.0) ** 2, n)
    effective = np.maximum(effective, 1e-9)
    alpha = 2 * stats.norm.sf(
        stats.t.ppf(0.5 + level / 2, n - 1)
    )  # the level at which the normal quantile is Student's
    low, high = proportion_confint(m * effective, effective, alpha=alpha, method="wilson")
    low, high = (
        np.where(m <= 0, 0.0, np.maximum(low, 0.0)),
        np.where(m >= 1, 1.0, np.minimum(high, 1.0)),
    )
    return (float(low), float(high)) if np.ndim(mean) == 0 else (low, high)


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, (low, high); NaN for n = 0. It stays within [0, 1]
    and has a width at 0 of n.

    >>> [round(x, 4) for x in wilson(0, 10)], [round(x, 4) for x in wilson(8, 10)]
    ([0.0, 0.2775], [0.4902, 0.9433])
    """
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return nan, nan
    low, high = proportion_confint(hits, n, alpha=1 - level, method="wilson")
    return float(low), float(high)


def clustered_se(values: NDArray[np.float64], clusters: Sequence[object]) -> float:
    """Standard error of the mean of `values` (N,) when those of one cluster are not independent;
    NaN for a single cluster. With clusters of one it is that of `mean_se`.

    >>> round(clustered_se(np.array([0.0, 0.5, 1.0, 0.5]), "abcd"), 6), round(clustered_se(np.array([0.0, 0.0, 1.0, 1.0]), "aabb"), 6)
    (0.204124, 0.5)
    """
    values = np.asarray(values, float)
    _, which = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums = np.bincount(which, weights=values - values.mean()) if len(values) else np.zeros(0)
    g = len(sums)
    return float(np.sqrt(g / (g - 1) * np.sum(sums**2)) / len(values)) if g > 1 else nan


def macro(scores: Scores) -> tuple[Any, Any]:
    """Unweighted mean over B benchmarks (the paper's convention) and its SE, sqrt(sum SE_b^2) /
    B."""
    parts = [mean_se(np.asarray(s)) for s in scores.values()]
    mean, se = (
        sum(m for m, _ in parts) / len(parts),
        np.sqrt(sum(s**2 for _, s in parts)) / len(parts),
    )
    return (float(mean), float(se)) if np.ndim(mean) == 0 else (mean, se)


def macro_interval(scores: Scores, level: float = 0.95) -> tuple[Any, Any]:
    """Student-t interval of the macro average; the degrees of freedom follow the benchmarks that
    carry its error (Satterthwaite)."""
    mean, se = macro(scores)
    variances, sizes = (
        [mean_se(np.asarray(s))[1] ** 2 for s in scores.values()],
        [np.shape(s)[-1] for s in scores.values()],
    )
    if min(sizes) < 2:
        return nan, nan
    return t_interval(mean, se, satterthwaite(variances, [n - 1 for n in sizes]) + 1, level)


def satterthwaite(variances: Sequence[Any], freedom: Sequence[float]) -> Any:
    """Degrees of freedom of a sum of independent variance estimates: (sum v)^2 / sum(v^2 / df).
    Infinite where all are 0.

    >>> round(satterthwaite([1.0, 1.0], [29, 29]), 6), round(satterthwaite([1.0, 0.0], [29, 499]), 6)
    (58.0, 29.0)
    """
    total = sum(variances)
    below = sum(v**2 / df for v, df in zip(variances, freedom, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.where(
            np.asarray(below) > 0,
            np.asarray(total) ** 2 / np.where(np.asarray(below) > 0, below, 1.0),
            np.inf,
        )
    return float(out) if np.ndim(out) == 0 else out
