"""Intervals of shares: of answers, of questions, and of a benchmark's accuracy.

`wilson` is for independent answers, `share_interval` for question scores of any kind,
`accuracy_interval` for the share of right samples, where it is known how many there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import nan, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sage_bench.statistics.means import Scores, macro, mean_se, satterthwaite, t_quantile

# questions on which a policy is sometimes right and sometimes wrong, by the rarer of the two: below
# FEW the model of rare successes speaks alone, above MANY the clustered standard error does
FEW = 10
MANY = 20
MEAN_PRIOR = 0.9
CORRELATION_PRIOR = 0.5
AT_ONCE = 400  # studies computed together; a grid of the posterior is held for each


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, (low, high); NaN for n = 0.

    It stays within [0, 1] and has a width at 0 of n.

    >>> [round(x, 4) for x in wilson(0, 10)], [round(x, 4) for x in wilson(8, 10)]
    ([0.0, 0.2775], [0.4902, 0.9433])
    """
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return nan, nan
    low, high = proportion_confint(hits, n, alpha=1 - level, method="wilson")
    return float(low), float(high)


def share_interval(mean: Any, se: Any, n: int, level: float = 0.95) -> tuple[Any, Any]:
    """Interval of a benchmark's mean of n question scores.

    Wilson's, with the effective number of independent answers p (1 - p) / SE^2 and Student's
    quantile (for clustered shares: Dean and Pagano, J. Survey Stat. Methodol. 2015). Near 0 and 1
    it keeps its coverage far longer than mean +- t SE, whose interval for 0 of 30 is [0, 0]. Where
    SE is 0 every question counts as one answer.

    >>> [round(x, 3) for x in share_interval(0.0, 0.0, 30)]
    [0.0, 0.122]
    >>> [round(x, 3) for x in share_interval(0.5, 0.05, 30)]
    [0.4, 0.6]
    """
    if n < 2:
        return nan, nan
    # a slow import, and most verbs need none of it
    from statsmodels.stats.proportion import proportion_confint

    m = np.asarray(mean, float)
    s = np.asarray(se, float)
    effective = np.where(s > 0, m * (1 - m) / np.where(s > 0, s, 1.0) ** 2, n)
    effective = np.maximum(effective, 1e-9)
    # statsmodels takes normal quantiles only: this is the level at which they are Student's
    alpha = 2 * stats.norm.sf(t_quantile(0.5 + level / 2, n - 1))
    low, high = proportion_confint(m * effective, effective, alpha=alpha, method="wilson")
    low = np.where(m <= 0, 0.0, np.maximum(low, 0.0))
    high = np.where(m >= 1, 1.0, np.minimum(high, 1.0))
    return (float(low), float(high)) if np.ndim(mean) == 0 else (low, high)


def accuracy_interval(
    question_means: NDArray[np.float64], samples: int, level: float = 0.95
) -> tuple[Any, Any]:
    """Interval of a benchmark's accuracy, for weak and strong models too.

    question_means: share of right samples of each question, (..., N), of `samples` each. Returns
    (low, high), numbers or arrays (...,), within [0, 1] and never of zero width; NaN for a single
    question.

    A standard error that is estimated from three questions with a right answer is small exactly
    when the mean is: at 30 questions x 16 samples and accuracies of .02 to .05 `share_interval`
    covers 84 to 93 %. There the interval is that of the beta-binomial model (`rare_interval`).
    That model is wrong for questions of two kinds, easy ones and hard ones, which shows as soon as
    there are many; so where both right and wrong samples are found on 20 questions or more the
    interval is `share_interval`, and between 10 and 20 such questions a mean of the two.

    >>> low, high = accuracy_interval(np.zeros(30), 16)
    >>> low, round(high, 2)
    (0.0, 0.08)
    """
    x = np.asarray(question_means, float)
    n = x.shape[-1]
    if n < 2:
        return nan, nan
    mean, se = mean_se(x)
    low, high = (np.asarray(end, float) for end in share_interval(mean, se, n, level))
    weight = clustered_weight(x)
    rare = weight < 1
    if rare.any():
        rare_low, rare_high = rare_interval(x[rare], samples, level)
        low, high = low.copy(), high.copy()
        low[rare] = weight[rare] * low[rare] + (1 - weight[rare]) * rare_low
        high[rare] = weight[rare] * high[rare] + (1 - weight[rare]) * rare_high
    return (float(low), float(high)) if x.ndim == 1 else (low, high)


def macro_interval(
    scores: Scores, level: float = 0.95, samples: Mapping[str, int] | None = None
) -> tuple[Any, Any]:
    """Interval of the macro average over benchmarks, (low, high), within [0, 1].

    Student's, where the degrees of freedom follow the benchmarks that carry its error
    (Satterthwaite). A benchmark near 0 or 1 enters with the distances of its own interval
    (`accuracy_interval` where `samples` says how many samples a question has, else
    `share_interval` once its error is 0): sums of independent means have as squared distance to an
    end the sum of the squared distances (Zou and Donner, Stat. Med. 2008). So six benchmarks of
    which none was ever solved still have an interval.
    """
    mean, _ = macro(scores)
    values = {t: np.asarray(s, float) for t, s in scores.items()}
    if min(x.shape[-1] for x in values.values()) < 2:
        return nan, nan
    variances = [mean_se(x)[1] ** 2 for x in values.values()]
    freedom = satterthwaite(variances, [x.shape[-1] - 1 for x in values.values()])
    student = t_quantile(0.5 + level / 2, freedom)
    below: Any = 0.0
    above: Any = 0.0
    for task, x in values.items():
        own_mean, own_se = mean_se(x)
        if samples is None:
            weight = np.asarray(own_se > 0, float)
            low, high = share_interval(own_mean, own_se, x.shape[-1], level)
        else:
            weight = clustered_weight(x)
            low, high = accuracy_interval(x, samples[task], level)
        below = below + (weight * student * own_se + (1 - weight) * (own_mean - low)) ** 2
        above = above + (weight * student * own_se + (1 - weight) * (high - own_mean)) ** 2
    low = np.maximum(0.0, mean - np.sqrt(below) / len(values))
    high = np.minimum(1.0, mean + np.sqrt(above) / len(values))
    return (float(low), float(high)) if np.ndim(mean) == 0 else (low, high)


def clustered_weight(question_means: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the clustered standard error can be trusted, 0 to 1, (...,).

    By the number of questions with a right sample, or with a wrong one, whichever is smaller.
    """
    right = (question_means > 0).sum(-1)
    wrong = (question_means < 1).sum(-1)
    return np.asarray(np.clip((np.minimum(right, wrong) - FEW) / (MANY - FEW), 0.0, 1.0))


def rare_interval(
    question_means: NDArray[np.float64], samples: int, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equal-tailed posterior interval of the accuracy in the beta-binomial model.

    Every question has a rate of its own, the rates are Beta with mean mu and intra-class
    correlation rho. Beforehand mu is Beta(0.9, 0.9), nearly uniform, and rho is Beta(0.5, 0.5):
    where a single right sample cannot say how much samples of a question agree, it counts both
    possibilities. (Of eight pairs of priors the one that covers 94 to 97 % in five simulated
    worlds; the table is in docs/design/statistics.md 2.) question_means: (S, N) of S studies;
    returns two arrays (S,). The end is 0 where nothing is right and 1 where all is.
    """
    counts = np.rint(question_means * samples).astype(np.int64)
    theta, log_likelihood, log_prior = _grid(samples)
    step = theta[1] - theta[0]
    tails = ((1 - level) / 2, (1 + level) / 2)
    ends = []
    for start in range(0, len(counts), AT_ONCE):
        chunk = counts[start : start + AT_ONCE]
        histogram = np.stack([(chunk == c).sum(-1) for c in range(samples + 1)], axis=-1)
        log_posterior = np.tensordot(histogram, log_likelihood, axes=(-1, -1)) + log_prior
        log_posterior -= log_posterior.max((1, 2), keepdims=True)
        density = np.exp(log_posterior).sum(-1)  # (S, mu), over all rho
        cumulative = density.cumsum(-1) / density.sum(-1, keepdims=True)
        for row in cumulative:
            at = np.interp(tails, np.concatenate([[0.0], row]), step * np.arange(len(row) + 1))
            ends.append(np.sin(at) ** 2)
    low, high = np.array(ends).T
    total = counts.sum(-1)
    return np.where(total == 0, 0.0, low), np.where(total == samples * counts.shape[-1], 1.0, high)


@lru_cache(maxsize=8)
def _grid(
    samples: int, means: int = 400, correlations: int = 30
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Angles of mu, log-likelihood of c right of `samples`, (mu, rho, c), and log-prior, (mu, rho).

    mu = sin(angle)^2: equal steps of the angle are as fine near 0 and 1 as is needed there.
    """
    theta = (np.arange(means) + 0.5) / means * pi / 2
    mu = np.sin(theta) ** 2
    rho = (np.arange(correlations) + 0.5) / correlations
    spread = 1 / rho - 1
    a = (mu[:, None] * spread)[..., None]
    b = ((1 - mu)[:, None] * spread)[..., None]
    c = np.arange(samples + 1)
    log_likelihood = special.betaln(c + a, samples - c + b) - special.betaln(a, b)
    # in the angle the density of mu ~ Beta(p, p) is sin(2 angle)^(2 p - 1)
    of_mean = (2 * MEAN_PRIOR - 1) * np.log(np.sin(2 * theta))
    of_correlation = (CORRELATION_PRIOR - 1) * (np.log(rho) + np.log1p(-rho))
    log_prior = of_mean[:, None] + of_correlation
    return theta, log_likelihood, log_prior
