"""A against B on the same questions: difference, interval, permutation test, many tests at once.

What is said here is said of two policies: the questions are resampled, training is not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from sage_bench.statistics.means import Scores, mean_se, satterthwaite, t_quantile
from sage_bench.statistics.shares import wilson

DRAWS = 10_000
AT_ONCE = 2_000_000  # numbers held at a time while resampling
ROUNDING = 1e-12  # sums that differ by less are equal
SMALLEST = 1e-12  # of a p-value
FEW = 30  # draws as far out as the observed one, below which their number says too little
SUBSETS = 200  # choices of samples over which the tail of an uneven comparison is averaged
MANY_DEGREES = 1000  # of freedom, from which Student's t is taken for normal


@dataclass(frozen=True, slots=True)
class Paired:
    """a - b on the same questions: difference, standard error, 95 % interval, two-sided p.

    About these two policies, not about the methods that trained them.
    """

    diff: float
    se: float
    low: float
    high: float
    p: float


def paired(
    a: Scores,
    b: Scores,
    *,
    samples: tuple[Mapping[str, int], Mapping[str, int]] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Paired:
    """Compare two policies on the macro average, paired by question.

    The standard error is that of the questions' differences, clustered by question. Interval:
    `bootstrap_interval`; p: `sign_flip_p`, down to its analytic tail, or `uneven_flip_p` where
    `samples` (samples a question of a and of b, by benchmark) says that one was sampled more often.
    Raises `ValueError` when the questions do not match.

    >>> r = paired({"t": np.array([1.0, 1.0, 0.5, 1.0])}, {"t": np.array([0.5, 1.0, 0.0, 0.5])})
    >>> r.diff, round(r.se, 4), r.p
    (0.375, 0.125, 0.25)
    """
    if list(a) != list(b) or any(len(a[t]) != len(b[t]) for t in a):
        raise ValueError("paired comparison needs the same questions for both methods")
    deltas = [np.asarray(a[t], float) - np.asarray(b[t], float) for t in a]
    parts = [mean_se(d) for d in deltas]
    diff = float(np.mean([m for m, _ in parts]))
    se = sqrt(sum(s**2 for _, s in parts)) / len(parts)
    low, high = bootstrap_interval(deltas, draws=draws, seed=seed)
    if samples is not None and any(samples[0][t] != samples[1][t] for t in a):
        counts = [(samples[0][t], samples[1][t]) for t in a]
        p = uneven_flip_p(list(a.values()), list(b.values()), counts, draws=draws, seed=seed)
    else:
        p = float(sign_flip_p(deltas, draws=draws, seed=seed, tail=True))
    return Paired(diff, se, float(low), float(high), p)


def bootstrap_interval(
    deltas: Sequence[NDArray[np.float64]], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[Any, Any]:
    """Bootstrap interval of the mean over benchmarks of question differences.

    Questions are resampled within each benchmark. deltas: one (..., N_b) a benchmark. Returns
    (low, high), numbers or arrays (...,); NaN for a single question.

    The interval is the symmetric studentised one (Hall, Ann. Stat. 1988): diff +- q SE, where q is
    the quantile of |diff* - diff| / SE* over the resamples. With the 30 questions of AIME plain
    percentiles cover 92 to 94 %, this one 95 %. Where nearly all questions agree resamples know too
    little (one of equal differences has no SE* of its own and takes SE): q is never less than
    Student's. Differences of scores end at -1 and 1, and so does the interval. Where all questions
    of all benchmarks differ by the same amount, which leaves no SE, the interval reaches from it
    towards 0 as far as Wilson's does for all of N.
    """
    if min(d.shape[-1] for d in deltas) < 2:
        return nan, nan
    benchmarks = len(deltas)
    moments = [mean_se(d) for d in deltas]
    centre = sum(m for m, _ in moments) / benchmarks
    se = np.sqrt(sum(s**2 for _, s in moments)) / benchmarks
    t = _studentised_resamples(deltas, moments, se, draws, seed)
    freedom = satterthwaite([s**2 for _, s in moments], [d.shape[-1] - 1 for d in deltas])
    student = t_quantile(0.5 + level / 2, freedom)
    half = np.maximum(np.quantile(t, level, axis=-1), student) * se
    total = sum(d.shape[-1] for d in deltas)
    # the share of questions that may not differ like all the others
    doubt = 1 - wilson(total, total, level)[0]
    slack = np.where(se > 0, 0.0, doubt * np.abs(centre))
    low = np.maximum(-1.0, centre - half - np.where(centre > 0, slack, 0.0))
    high = np.minimum(1.0, centre + half + np.where(centre < 0, slack, 0.0))
    return low, high


def _studentised_resamples(
    deltas: Sequence[NDArray[np.float64]],
    moments: Sequence[tuple[Any, Any]],
    se: Any,
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """|diff* - diff| / SE* of every resample, (..., draws)."""
    rng = np.random.default_rng(seed)
    benchmarks = len(deltas)
    floor = np.expand_dims(se, -1)
    size = max(1, AT_ONCE // sum(d.size for d in deltas))
    parts = []
    for start in range(0, draws, size):
        count = min(size, draws - start)
        shift: Any = 0.0
        variance: Any = 0.0
        for d, (mean, _) in zip(deltas, moments, strict=True):
            n = d.shape[-1]
            drawn = d[..., rng.integers(n, size=(count, n))]  # (..., count, n)
            shift = shift + (drawn.mean(-1) - np.expand_dims(mean, -1)) / benchmarks
            variance = variance + drawn.var(-1, ddof=1) / n / benchmarks**2
        own = np.sqrt(variance)
        spread = np.where(own > 1e-6 * floor, own, floor)
        parts.append(np.abs(shift) / np.where(spread > 0, spread, 1.0))
    return np.concatenate(parts, axis=-1)


def sign_flip_p(
    deltas: Sequence[NDArray[np.float64]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    tail: bool = False,
) -> Any:
    """Two-sided p of the mean over benchmarks, by flipping the signs of question differences.

    Under the null, a and b are exchangeable on every question. deltas: one (..., N_b) a benchmark.
    Exact where all flips can be listed, else from `draws` random ones, with the observed one
    counted (so never 0). `scipy.stats.permutation_test` does the same, but takes sums that differ
    by rounding for different and thirty times as long for 12,000 questions; tests hold the two
    together.

    tail: where fewer than 30 of the draws were as far out, the analytic tail of the same
    distribution takes over (`flip_tail`). Without it no p is smaller than 1 / (draws + 1), and a
    table of 500 lines would find nothing after Holm's correction.

    >>> float(sign_flip_p([np.array([0.5, 0.25, 0.25])]))
    0.25
    >>> float(sign_flip_p([np.array([0.1, 0.2, -0.3])]))
    1.0
    """
    weighted = np.concatenate([d / (d.shape[-1] * len(deltas)) for d in deltas], axis=-1)
    # equal answers have no sign, and without them more cases can be listed in full
    differs = (weighted != 0).reshape(-1, weighted.shape[-1]).any(0)
    weighted = weighted[..., differs]
    n = weighted.shape[-1]
    observed = np.abs(weighted.sum(-1))
    exact = n <= 20 and 2**n <= draws
    total = 2**n if exact else draws
    extreme = np.zeros(observed.shape)
    rng = np.random.default_rng(seed)
    size = max(1, AT_ONCE // max(n, observed.size, 1))
    for start in range(0, total, size):
        count = min(size, total - start)
        if exact:
            plus = (np.arange(start, start + count)[:, None] >> np.arange(n)) & 1
        else:
            plus = rng.integers(0, 2, size=(count, n), dtype=np.int8)
        flipped = weighted @ (2.0 * plus - 1.0).T  # (..., count)
        # sums of the same numbers in another order differ by rounding: they count as equal
        extreme += (np.abs(flipped) >= np.expand_dims(observed, -1) - ROUNDING).sum(-1)
    if exact:
        return extreme / total
    p = np.asarray((1 + extreme) / (1 + total))
    if tail:
        for i in np.ndindex(p.shape):
            if extreme[i] < FEW:
                p[i] = flip_tail(weighted[i], float(observed[i]))
    return p[()]


def flip_tail(weights: NDArray[np.float64], observed: float) -> float:
    """P(|sum of +-w_i| >= observed), analytically, for an observed sum far out.

    Lugannani and Rice's saddlepoint formula (Adv. Appl. Prob. 1980) on the cumulants
    K(t) = sum log cosh(t w_i), half a step (the smallest |w|) nearer to 0 than observed, because
    sums of signs lie on a grid: that errs to the safe side. Never less than the one flip of 2^n
    that reaches the largest sum, nor than 1e-12, below which no model of an experiment holds.
    """
    w = np.abs(weights[weights != 0])
    least = max(SMALLEST, 2.0 ** (1 - len(w)))
    s = (observed - float(w.min())) / float(w.sum())
    w = w / w.sum()
    if s <= 0:
        return 1.0
    if s >= 1 - ROUNDING:
        return least

    def slope(t: float) -> float:
        return float(np.sum(w * np.tanh(t * w))) - s

    high = 1.0
    while slope(high) < 0:
        high *= 2
    t = float(optimize.brentq(slope, 0.0, high))
    # log cosh without overflow
    cumulant = float(np.sum(np.logaddexp(t * w, -t * w) - log(2)))
    curvature = float(np.sum(w**2 / np.cosh(np.minimum(t * w, 300.0)) ** 2))
    r = sqrt(max(0.0, 2 * (t * s - cumulant)))
    u = t * sqrt(curvature)
    if r < 1e-3 or u <= 0:
        return least if u <= 0 else 1.0
    one_sided = stats.norm.sf(r) + stats.norm.pdf(r) * (1 / u - 1 / r)
    return float(min(1.0, max(2 * one_sided, least)))


def uneven_flip_p(
    a: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
    samples: Sequence[tuple[int, int]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Two-sided p of the mean difference where a and b have unequal numbers of samples a question.

    Flipping differences of 16 samples against 1 is no test: a weak policy's one sample is nearly
    always wrong, its sixteen now and then right, so under the null most differences have one sign
    (26 % of true nulls rejected at 5 %). Here every draw takes as many of the larger side's samples
    as the smaller has, which makes the sides exchangeable, and then flips; the difference of all
    samples is compared with these. It keeps its level and is a little careful, because the observed
    difference varies less than those of the draws.

    a, b: shares of right samples, one (N_b,) a benchmark. samples: (of a, of b) a benchmark.
    """
    weights = [1 / (len(x) * len(a)) for x in a]
    observed = abs(float(sum(w * np.sum(x - y) for w, x, y in zip(weights, a, b, strict=True))))
    rng = np.random.default_rng(seed)

    def thinned(count: int) -> NDArray[np.float64]:
        """Weighted differences of equally many samples, (count, questions of all benchmarks)."""
        parts = []
        for w, x, y, (n_x, n_y) in zip(weights, a, b, samples, strict=True):
            n = min(n_x, n_y)
            parts.append(w * (_subset(rng, x, n_x, n, count) - _subset(rng, y, n_y, n, count)))
        return np.concatenate(parts, axis=-1)

    extreme = 0
    size = max(1, AT_ONCE // sum(map(len, a)))
    for start in range(0, draws, size):
        deltas = thinned(min(size, draws - start))
        signs = 2.0 * rng.integers(0, 2, size=deltas.shape, dtype=np.int8) - 1.0
        extreme += int((np.abs((deltas * signs).sum(-1)) >= observed - ROUNDING).sum())
    if extreme >= FEW:
        return (1 + extreme) / (1 + draws)
    # the mean of the analytic tails, given the samples that were taken
    tails = []
    for row in thinned(SUBSETS):
        weight = row[row != 0]
        reached = len(weight) > 0 and float(np.abs(weight).sum()) >= observed - ROUNDING
        tails.append(flip_tail(weight, observed) if reached else 0.0)
    return max(SMALLEST, float(np.mean(tails)))


def _subset(
    rng: np.random.Generator, means: NDArray[np.float64], have: int, take: int, count: int
) -> NDArray[np.float64]:
    """Means of `take` of a question's `have` samples, drawn without replacement, (count, N)."""
    if take == have:
        return np.broadcast_to(means, (count, len(means)))
    right = np.rint(means * have).astype(np.int64)
    drawn = rng.hypergeometric(right, have - right, take, size=(count, len(means)))
    return np.asarray(drawn / take)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

    NaN (nothing was tested) stays NaN and does not count.

    >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    # a slow import, and most verbs need none of it
    from statsmodels.stats.multitest import multipletests

    values = np.array(p, float)
    tested = ~np.isnan(values)
    if tested.any():
        values[tested] = multipletests(values[tested], method="holm")[1]
    return [float(v) for v in values]


def detectable(se: float, power: float = 0.8, level: float = 0.05, freedom: float = inf) -> float:
    """The smallest true difference that a two-sided t test with this standard error mostly finds.

    power: how often. freedom: degrees of freedom of `se`; the test statistic is noncentral t, and
    with two or three training seeds the answer is several times that of the normal approximation.

    >>> round(detectable(1.0), 2), round(detectable(1.0, freedom=2), 2)
    (2.8, 5.65)
    """
    if not se > 0 or not freedom > 0:
        return nan
    if freedom > MANY_DEGREES:
        return float(stats.norm.isf(level / 2) + stats.norm.ppf(power)) * se
    # the noncentral t distribution as a mean over the error that was estimated: scipy's own gives
    # up (NaN) at one degree of freedom
    grid = (np.arange(2000) + 0.5) / 2000
    critical = stats.t.isf(level / 2, freedom) * np.sqrt(stats.chi2.ppf(grid, freedom) / freedom)

    def missing(shift: float) -> float:
        found = stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift)
        return float(np.mean(found)) - power

    high = 4.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high)) * se
