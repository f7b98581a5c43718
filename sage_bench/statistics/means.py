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
from scipy import special

Scores = Mapping[str, NDArray[np.float64]]


def mean_se(question_means: NDArray[np.float64]) -> tuple[Any, Any]:
    """Mean over questions and its standard error, clustered by question.

    The error is sd(c_i / n) / sqrt(N) (Miller, arXiv 2411.00640); it already contains the noise of
    sampling n answers a question. question_means: (..., N). Returns two floats, or two arrays
    (...,); the error of a single question is NaN.

    >>> mean, se = mean_se(np.array([0.0, 0.5, 1.0, 0.5]))
    >>> mean, round(se, 6)
    (0.5, 0.204124)
    """
    x = np.asarray(question_means, float)
    mean = np.mean(x, -1)
    n = x.shape[-1]
    se = np.std(x, axis=-1, ddof=1) / n**0.5 if n > 1 else np.full(x.shape[:-1], nan)
    return (float(mean), float(se)) if x.ndim == 1 else (mean, se)


def sampling_se(question_means: NDArray[np.float64], n: int) -> float:
    """The part of the standard error that sampling leaves; NaN for n = 1.

    With n samples a question it is sqrt(sum p_i (1 - p_i) / (n - 1)) / N.
    """
    if n <= 1:
        return nan
    p = question_means
    return sqrt(float(np.sum(p * (1 - p))) / (n - 1)) / len(p)


def t_interval(mean: Any, se: Any, n: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Student-t interval with n - 1 degrees of freedom, cut to [0, 1]."""
    if np.ndim(n) == 0 and n < 2:
        return nan, nan
    half = t_quantile(0.5 + level / 2, n - 1) * se
    low = np.maximum(0.0, mean - half)
    high = np.minimum(1.0, mean + half)
    return (float(low), float(high)) if np.ndim(mean) == 0 else (low, high)


def t_quantile(p: Any, freedom: Any) -> Any:
    """Student's quantile at p, infinite degrees of freedom included. What `scipy.stats.t.ppf`
    gives, without its checks of every call: a report asks for tens of thousands.

    >>> round(float(t_quantile(0.975, 4)), 4), round(float(t_quantile(0.975, np.inf)), 4)
    (2.7764, 1.96)
    """
    return special.stdtrit(freedom, p)


def clustered_se(values: NDArray[np.float64], clusters: Sequence[object]) -> float:
    """Standard error of the mean of `values` (N,) when those of one cluster are not independent.

    NaN for a single cluster. With clusters of one it is that of `mean_se`.

    >>> round(clustered_se(np.array([0.0, 0.5, 1.0, 0.5]), "abcd"), 6)
    0.204124
    >>> round(clustered_se(np.array([0.0, 0.0, 1.0, 1.0]), "aabb"), 6)
    0.5
    """
    values = np.asarray(values, float)
    if not len(values):
        return nan
    _, cluster_of = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    sums = np.bincount(cluster_of, weights=values - values.mean())
    count = len(sums)
    if count < 2:
        return nan
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values))


def macro(scores: Scores) -> tuple[Any, Any]:
    """Unweighted mean over B benchmarks (the papers' convention) and its standard error.

    Benchmarks are independent, so the error is sqrt(sum SE_b^2) / B.
    """
    parts = [mean_se(np.asarray(s)) for s in scores.values()]
    mean = sum(m for m, _ in parts) / len(parts)
    se = np.sqrt(sum(s**2 for _, s in parts)) / len(parts)
    return (float(mean), float(se)) if np.ndim(mean) == 0 else (mean, se)


def satterthwaite(variances: Sequence[Any], freedom: Sequence[float]) -> Any:
    """Degrees of freedom of a sum of independent variance estimates.

    (sum v)^2 / sum(v^2 / df) (Satterthwaite, Biometrics 1946); infinite where all are 0.

    >>> round(satterthwaite([1.0, 1.0], [29, 29]), 6)
    58.0
    >>> round(satterthwaite([1.0, 0.0], [29, 499]), 6)
    29.0
    """
    total = np.asarray(sum(variances))
    below = np.asarray(sum(v**2 / df for v, df in zip(variances, freedom, strict=True)))
    known = below > 0
    out = np.where(known, total**2 / np.where(known, below, 1.0), np.inf)
    return float(out) if np.ndim(out) == 0 else out
