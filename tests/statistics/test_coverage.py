"""Intervals cover and tests keep their level, in simulated studies of the product's own sizes."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from sage_bench.statistics import (
    bootstrap_interval,
    macro_interval,
    mean_se,
    paired,
    share_interval,
    sign_flip_p,
    t_interval,
)
from sage_bench.statistics.seeds import _combine

STUDIES = 2000
MANY = 5000  # where it costs little: the coverage that is found is then known to a third of a point
COVERS = pytest.approx(0.95, abs=0.015)


def covers(low, high, truth: float) -> float:
    return float(np.mean((low <= truth) & (truth <= high)))


def questions(rng, truth: float, n: int, samples: int, studies: int = MANY, spread: float = 2 / 3):
    """Mean scores (studies, n) of questions whose difficulty is Beta.

    Its intra-class correlation is 1 / (1 + spread) = 0.6.
    """
    rates = rng.beta(truth * spread, (1 - truth) * spread, size=(studies, n))
    return rng.binomial(samples, rates) / samples


@pytest.mark.parametrize(
    ("truth", "n", "samples"),
    [
        (0.3, 30, 16),
        (0.8, 30, 16),
        (0.5, 40, 16),
        (0.4, 198, 16),
        (0.75, 500, 4),
        (0.1, 272, 16),
        (0.6, 1000, 1),
    ],
)
def test_intervals_of_a_benchmark_cover(truth, n, samples):
    means = questions(np.random.default_rng(n + samples), truth, n, samples)
    assert covers(*share_interval(*mean_se(means), n), truth) == COVERS


def test_near_zero_the_interval_holds_out_longer_than_mean_plus_minus_t():
    """A weak model on AIME: 2 % of 30 questions, where many runs have nothing right. No interval
    can be exact there."""
    means = questions(np.random.default_rng(0), 0.02, 30, 4)
    mean, se = mean_se(means)
    assert covers(*t_interval(mean, se, 30), 0.02) < 0.75
    assert covers(*share_interval(mean, se, 30), 0.02) > 0.93


def test_intervals_of_the_macro_average_cover():
    """The six mathematics benchmarks with 16 samples a question."""
    rng, truths, sizes = (
        np.random.default_rng(8),
        (0.15, 0.1, 0.55, 0.75, 0.4, 0.4),
        (30, 30, 40, 500, 272, 674),
    )
    scores = {
        str(i): questions(rng, t, n, 16, STUDIES)
        for i, (t, n) in enumerate(zip(truths, sizes, strict=True))
    }
    assert covers(*macro_interval(scores), sum(truths) / 6) == COVERS


def pairs_of(rng, sizes, samples, gain, studies=STUDIES):
    """Question differences (studies, N_b) of two policies on questions of normal difficulty, and
    their true mean."""
    deltas, truths = [], []
    for n in sizes:
        base, own = rng.normal(0, 1.5, (studies, n)), rng.normal(0, 0.5, (studies, n))
        deltas.append(
            rng.binomial(samples, stats.norm.cdf(base + gain + own)) / samples
            - rng.binomial(samples, stats.norm.cdf(base)) / samples
        )
        truths.append(
            stats.norm.cdf(gain / sqrt(1 + 1.5**2 + 0.5**2)) - 0.5
        )  # E cdf(X) of a normal X, exactly
    return deltas, float(np.mean(truths))


@pytest.mark.parametrize(
    ("sizes", "samples", "gain"),
    [((30,), 16, 0.0), ((30,), 1, 0.5), ((30, 40, 60), 4, 0.3), ((100,), 1, 0.0)],
)
def test_paired_bootstrap_intervals_cover(sizes, samples, gain):
    deltas, truth = pairs_of(np.random.default_rng(sum(sizes) + samples), sizes, samples, gain)
    assert covers(*bootstrap_interval(deltas, draws=999), truth) == COVERS


def test_paired_intervals_stay_honest_where_nearly_all_questions_agree():
    """12 % of 30 questions differ, mostly in one direction: the bootstrap alone covers 88 %."""
    u = np.random.default_rng(11).random((STUDIES, 30))
    deltas = np.where(u < 0.1, 1.0, np.where(u > 0.98, -1.0, 0.0))
    assert covers(*bootstrap_interval([deltas], draws=499), 0.08) == COVERS
    low, high = bootstrap_interval(
        [np.r_[0.25, np.zeros(24)]]
    )  # one question differs: no wider claim than Student's
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 24, 0.01, 0.01))


def test_the_permutation_test_keeps_its_level():
    deltas, _ = pairs_of(np.random.default_rng(9), (20, 30), 4, 0.0)
    p = sign_flip_p(deltas, draws=499)
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(p <= 0.2) == pytest.approx(0.2, abs=0.03)


def trained(rng, seeds, sizes, sd, gain=0.0, studies=MANY, samples=4):
    """Scores of two methods, each a list over benchmarks of (studies, seeds, N_b); a training seed
    shifts all of its answers by `sd`."""
    base = [rng.normal(0, 1.5, (studies, 1, n)) for n in sizes]
    out = []
    for g in (gain, 0.0):
        shift = rng.normal(0, sd, (studies, seeds, 1))
        out.append(
            [
                rng.binomial(
                    samples,
                    stats.norm.cdf(
                        x + g + shift + rng.normal(0, 0.4, (studies, seeds, x.shape[-1]))
                    ),
                )
                / samples
                for x in base
            ]
        )
    return out


@pytest.mark.parametrize(
    ("seeds", "sizes", "sd"),
    [(3, (30, 40, 60), 0.2), (5, (30, 40, 60), 0.2), (3, (200,), 0.2), (5, (30, 40, 60), 0.05)],
)
def test_hierarchical_intervals_over_training_seeds_cover(seeds, sizes, sd):
    gain = 0.3
    a, b = trained(np.random.default_rng(seeds), seeds, sizes, sd, gain)
    total = sqrt(1 + 1.5**2 + 0.4**2 + sd**2)
    difference, alone = _combine([a, b], 0.95), _combine([b], 0.95)
    assert covers(difference.low, difference.high, stats.norm.cdf(gain / total) - 0.5) == COVERS
    assert covers(alone.low, alone.high, 0.5) == COVERS


def test_intervals_that_ignore_training_seeds_do_not_cover_and_equal_seeds_cost_little():
    rng = np.random.default_rng(10)
    a, b = trained(rng, 3, (200,), 0.2, studies=STUDIES)
    pooled = a[0].mean(1) - b[0].mean(
        1
    )  # questions alone, as if these three trainings were all there are
    assert covers(*bootstrap_interval([pooled], draws=499), 0.0) < 0.85
    a, b = trained(rng, 3, (30, 40, 60), 0.0)
    r = _combine([a, b], 0.95)
    assert (
        0.95 <= covers(r.low, r.high, 0.0) < 0.985
    )  # on the safe side where seeds do not differ at all


def test_intervals_cover():
    """t intervals of the mean of 30 questions, 2,000 simulated benchmarks: 95 % within 1.5
    points."""
    rng = np.random.default_rng(1)
    truth, hits = 0.4, 0
    for _ in range(2000):
        p = rng.beta(0.4 * 2, 0.6 * 2, size=30)
        means = rng.binomial(16, p) / 16
        low, high = t_interval(*mean_se(means), 30)
        hits += low <= truth <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def simulate(rng, gain, n=40):
    difficulty = rng.normal(0, 1.5, size=(3, n))

    def draw(shift):
        rates = stats.norm.cdf(difficulty + shift)
        return {str(b): rng.binomial(4, rates[b]) / 4 for b in range(3)}

    return draw(gain), draw(0.0)


def test_paired_test_keeps_its_level_and_finds_a_gain():
    rng = np.random.default_rng(2)
    null = [paired(*simulate(rng, 0.0), draws=400, seed=i).p for i in range(300)]
    assert np.mean(np.array(null) < 0.05) < 0.09
    found = [paired(*simulate(rng, 0.8), draws=400, seed=i) for i in range(40)]
    assert np.mean([f.p < 0.05 for f in found]) > 0.9
    assert np.mean([f.low > 0 for f in found]) > 0.9


def test_paired_bootstrap_interval_covers():
    rng = np.random.default_rng(3)
    p = rng.random((3, 4000, 2))
    truth = (p[..., 0] - p[..., 1]).mean()
    hits = 0
    for i in range(400):
        pick = rng.integers(4000, size=(3, 50))
        drawn = {str(b): rng.binomial(4, p[b, pick[b]]) / 4 for b in range(3)}
        r = paired(
            {k: v[:, 0] for k, v in drawn.items()},
            {k: v[:, 1] for k, v in drawn.items()},
            draws=500,
            seed=i,
        )
        hits += r.low <= truth <= r.high
    assert hits / 400 == pytest.approx(0.94, abs=0.03)
