"""Training seeds as a level of their own.

A claim about a method is a claim about training it again, on other questions. Every seed's model
answers the same questions, so seeds and questions are crossed. The variance of the mean over S
seeds and Q questions is that of the question means, plus that of the seed means, less what both
contain: the interaction of seed and question (two-way clustering; Cameron, Gelbach and Miller,
J. Bus. Econ. Stat. 2011), where a negative seed part counts as none. Few seeds give the seed part
few degrees of freedom: Student's quantiles of the parts are averaged with the parts as weights
(Cochran and Cox). In simulations with two to five seeds its 95 % intervals cover 93 to 98 %, the
upper end where seeds do not differ at all; with Satterthwaite's formula alone it is down to 88 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sage_bench.statistics.means import Scores, macro, satterthwaite, t_quantile
from sage_bench.statistics.shares import macro_interval

SMALLEST = 1e-12  # of a p-value
NO_CLAIM = "one training run each: no claim about the methods"


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """Mean over training seeds, or a difference of two.

    se_seed: the part that training again leaves; se_question: the part that other questions leave.
    (low, high): the interval. p: two-sided, of 0; the level whose interval ends there. freedom: the
    degrees of freedom at which Student's quantile is that of the interval (for `detectable`).
    """

    mean: Any
    se: Any
    se_seed: Any
    se_question: Any
    low: Any
    high: Any
    p: Any
    freedom: Any


def over_seeds(runs: Sequence[Scores], level: float = 0.95) -> OverSeeds:
    """Macro average of one method over its training seeds.

    Raises `ValueError` for a single seed, and for unequal questions.

    >>> one, two = ({"t": np.array(x)} for x in ([0.2, 0.4, 0.6], [0.4, 0.6, 0.8]))
    >>> r = over_seeds([one, two])
    >>> round(r.mean, 3), round(r.se_seed, 3), round(r.se_question, 3)
    (0.5, 0.1, 0.115)
    """
    found = _combine([_stack(runs)], level)
    if found.se > 0:
        return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    # all seeds agree on all questions, e.g. nothing was ever solved: other questions may differ
    low, high = macro_interval(runs[0], level)
    return replace(found, low=low, high=high)


def paired_over_seeds(
    a: Sequence[Scores], b: Sequence[Scores], level: float = 0.95, *, by_seed: bool = False
) -> OverSeeds:
    """a - b over training seeds, paired by question.

    The seeds of a and of b are independent of each other, unless `by_seed`: then the i-th runs of
    both saw the same data in the same order, and their difference is taken first. What the order
    does to both leaves the comparison; there are half as many degrees of freedom.
    """
    of_a = _stack(a)
    of_b = _stack(b)
    if not by_seed:
        return _within_one(_combine([of_a, of_b], level))
    if len(a) != len(b):
        raise ValueError("pairing by seed needs the same seeds for both methods")
    return _within_one(_combine([_differences(of_a, of_b)], level, paired_by_seed=True))


def against_one(a: Sequence[Scores], b: Scores, level: float = 0.95) -> OverSeeds:
    """a - b over the training seeds of a, where b is one fixed policy such as the base model."""
    of_b = [np.asarray(b[t], float)[None] for t in b]
    if list(a[0]) != list(b):
        raise ValueError("paired comparison needs the same questions for both methods")
    return _within_one(_combine([_differences(_stack(a), of_b)], level, paired_by_seed=True))


@dataclass(frozen=True, slots=True)
class Claim:
    """A difference of two methods over their training seeds.

    pairing: "by seed", "independent seeds", or "one policy" where b was not trained. With fewer
    than two seeds the numbers are None, and `note` says that there is no claim.
    """

    seeds: tuple[Any, ...]
    pairing: str
    diff: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    freedom: float | None = None
    note: str = ""


def claim(
    a: Mapping[Any, Scores],
    b: Mapping[Any, Scores],
    *,
    trained: bool = True,
    shared_order: bool = True,
    level: float = 0.95,
) -> Claim:
    """a - b as a claim about two methods: by training seed, hierarchical, t quantiles.

    a, b: the scores of each training seed. trained: b is a method as well; False where it is one
    policy that all runs began from. shared_order: runs of one seed saw the same data in the same
    order; then differences are paired by seed, on the seeds that both have, if those are two or
    more. With one training run of either there is no claim, whatever the questions say.
    """
    both = [s for s in a if s in b]
    paired_seeds = trained and shared_order and len(both) >= 2
    seeds = tuple(both) if paired_seeds else tuple(a)
    pairing = "independent seeds" if trained else "one policy"
    if paired_seeds:
        pairing = "by seed"
    if len(a) < 2 or (trained and len(b) < 2):
        diff = float(np.mean([macro(s)[0] for s in a.values()]))
        diff -= float(np.mean([macro(s)[0] for s in b.values()]))
        return Claim(seeds, pairing, diff, note=NO_CLAIM)
    if paired_seeds:
        found = paired_over_seeds([a[s] for s in both], [b[s] for s in both], level, by_seed=True)
    elif trained:
        found = paired_over_seeds(list(a.values()), list(b.values()), level)
    else:
        found = against_one(list(a.values()), next(iter(b.values())), level)
    return Claim(
        seeds,
        pairing,
        diff=float(found.mean),
        se=float(found.se),
        low=float(found.low),
        high=float(found.high),
        p=float(found.p),
        freedom=float(found.freedom),
    )


def _within_one(found: OverSeeds) -> OverSeeds:
    """A difference of scores in [0, 1] is not further from 0 than 1."""
    return replace(found, low=np.maximum(-1.0, found.low), high=np.minimum(1.0, found.high))


def _differences(
    a: list[NDArray[np.float64]], b: list[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """a - b of each seed, (S, N_b) a benchmark."""
    if any(x.shape[-1] != y.shape[-1] for x, y in zip(a, b, strict=True)):
        raise ValueError("paired comparison needs the same questions for both methods")
    return [x - y for x, y in zip(a, b, strict=True)]


def _stack(runs: Sequence[Scores]) -> list[NDArray[np.float64]]:
    """One (S, N_b) a benchmark."""
    if len(runs) < 2:
        raise ValueError("an interval over training seeds needs at least two seeds")
    first = runs[0]
    for run in runs:
        if list(run) != list(first) or any(np.shape(run[t]) != np.shape(first[t]) for t in run):
            raise ValueError("training seeds are compared on the same questions")
    return [np.stack([np.asarray(r[t], float) for r in runs], axis=-2) for t in first]


def _combine(
    methods: Sequence[list[NDArray[np.float64]]], level: float, paired_by_seed: bool = False
) -> OverSeeds:
    """methods: one, or a and b; each a list over benchmarks of (..., S, N_b).

    paired_by_seed: the one list holds differences of two methods.

    Returns numbers, or arrays (...,).
    """
    first = methods[0]
    benchmarks = len(first)
    for method in methods:
        for x, y in zip(method, first, strict=True):
            if x.shape[:-2] + x.shape[-1:] != y.shape[:-2] + y.shape[-1:]:
                raise ValueError("paired comparison needs the same questions for both methods")
    mean: Any = 0.0
    between: list[Any] = []  # variance of the mean over seeds, a method, with the interaction in it
    shared: list[Any] = []  # the interaction
    for sign, method in zip((1, -1), methods, strict=False):
        by_seed = sum(x.mean(-1) for x in method) / benchmarks  # (..., S)
        mean = mean + sign * by_seed.mean(-1)
        between.append(by_seed.var(-1, ddof=1) / by_seed.shape[-1])
        shared.append(sum(_interaction(x) for x in method) / benchmarks**2)
    within = []
    for b in range(benchmarks):
        d = methods[0][b].mean(-2)  # (..., N_b)
        if len(methods) == 2:
            d = d - methods[1][b].mean(-2)
        within.append(d.var(-1, ddof=1) / d.shape[-1] / benchmarks**2)
    # a variance is not negative: where the interaction explains all of it, seeds add nothing
    seed = sum(np.maximum(v - i, 0.0) for v, i in zip(between, shared, strict=True))
    parts = (seed, sum(within))
    shares = parts
    if paired_by_seed:
        # pairing takes the questions' own variance away: the interaction, which has the few degrees
        # of freedom of the seeds too, then decides how far the interval reaches
        shares = (sum(between), np.maximum(parts[1] - sum(shared), 0.0))
    freedom = (
        satterthwaite(between, [m[0].shape[-2] - 1 for m in methods]),
        satterthwaite(within, [x.shape[-1] - 1 for x in first]),
    )
    se = np.sqrt(parts[0] + parts[1])
    half = _quantile(level, shares, freedom) * se
    p = _p(mean, se, shares, freedom)
    found = (mean, se, np.sqrt(parts[0]), np.sqrt(parts[1]), mean - half, mean + half, p)
    degrees = _freedom_of(_quantile(level, shares, freedom), level)
    return OverSeeds(*(float(v) if np.ndim(v) == 0 else v for v in (*found, degrees)))


def _freedom_of(quantile: Any, level: float) -> Any:
    """Degrees of freedom whose Student quantile is this one; infinite where it is the normal one.

    By bisection of 1 / freedom; a mean of quantiles has no degrees of freedom of its own.
    """
    low = np.full(np.shape(quantile), 1e-6)
    high = np.ones(np.shape(quantile))
    for _ in range(40):
        middle = (low + high) / 2
        beyond = t_quantile(0.5 + level / 2, 1 / middle) > quantile
        low = np.where(beyond, low, middle)
        high = np.where(beyond, middle, high)
    return np.where(high <= 2e-6, np.inf, 1 / high)


def _quantile(level: Any, parts: tuple[Any, Any], freedom: tuple[Any, Any]) -> Any:
    """Cochran and Cox: Student's quantiles of the parts, weighted by the parts."""
    total = sum(parts)
    weights = [np.where(total > 0, v / np.where(total > 0, total, 1.0), 0.5) for v in parts]
    return sum(w * t_quantile(0.5 + level / 2, df) for w, df in zip(weights, freedom, strict=True))


def _p(mean: Any, se: Any, parts: tuple[Any, Any], freedom: tuple[Any, Any]) -> Any:
    """The p whose interval, at level 1 - p, ends at 0; by bisection of log p, down to 1e-12."""
    low = np.full(np.shape(mean), np.log(SMALLEST))
    high = np.zeros(np.shape(mean))
    for _ in range(50):
        middle = (low + high) / 2
        outside = np.abs(mean) > _quantile(-np.expm1(middle), parts, freedom) * se
        low = np.where(outside, low, middle)
        high = np.where(outside, middle, high)
    return np.where(se > 0, np.exp(high), np.where(mean == 0, 1.0, SMALLEST))


def _interaction(x: NDArray[np.float64]) -> Any:
    """Variance of the mean that the interaction of seed and question leaves: MS_residual / (S N).

    x: (..., S, N). Sampling noise is part of it.
    """
    s, n = x.shape[-2:]
    by_seed = x.mean(-1, keepdims=True)
    by_question = x.mean(-2, keepdims=True)
    rest = x - by_seed - by_question + x.mean((-1, -2), keepdims=True)
    return (rest**2).sum((-1, -2)) / ((s - 1) * (n - 1)) / (s * n)
