"""Intervals and tests where nearly nothing, or nearly everything, is right."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from scipy import stats

from sage_bench.statistics import (
    accuracy_interval,
    macro_interval,
    mean_se,
    paired,
    share_interval,
    sign_flip_p,
    uneven_flip_p,
)

QUESTIONS = 30
SAMPLES = 16
STUDIES = 2000


def beta_rates(rng, truth, correlation, shape):
    """Rates of questions with an intra-class correlation."""
    spread = 1 / correlation - 1
    return rng.beta(truth * spread, (1 - truth) * spread, size=shape)


def probit_rates(rng, truth, sd, shape):
    """Rates of questions of normal difficulty: another family than the interval's model."""
    centre = stats.norm.ppf(truth) * np.sqrt(1 + sd**2)
    return stats.norm.cdf(rng.normal(centre, sd, size=shape))


def coverage(interval, truth):
    low, high = interval
    return float(np.mean((low <= truth) & (truth <= high)))


WORLDS = {
    "samples agree a little": lambda rng, p, shape: beta_rates(rng, p, 0.1, shape),
    "samples agree": lambda rng, p, shape: beta_rates(rng, p, 0.3, shape),
    "normal difficulty": lambda rng, p, shape: probit_rates(rng, p, 1.5, shape),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("truth", [0.02, 0.03, 0.05])
def test_intervals_of_a_weak_model_cover(world, truth):
    """AIME with 16 samples, where the clustered standard error alone covers 85 to 94 %."""
    rng = np.random.default_rng(int(1000 * truth))
    rates = WORLDS[world](rng, truth, (STUDIES, QUESTIONS))
    means = rng.binomial(SAMPLES, rates) / SAMPLES
    assert coverage(accuracy_interval(means, SAMPLES), truth) == pytest.approx(0.955, abs=0.02)
    # and the same from the other end
    strong = accuracy_interval(1 - means, SAMPLES)
    assert coverage(strong, 1 - truth) == pytest.approx(0.955, abs=0.02)
    assert coverage(share_interval(*mean_se(means), QUESTIONS), truth) < 0.945


@pytest.mark.parametrize("truth", [0.02, 0.05])
def test_where_samples_of_a_question_nearly_repeat_the_interval_is_on_the_safe_side(truth):
    rng = np.random.default_rng(5)
    means = rng.binomial(SAMPLES, beta_rates(rng, truth, 0.6, (STUDIES, QUESTIONS))) / SAMPLES
    assert 0.94 < coverage(accuracy_interval(means, SAMPLES), truth) < 0.985
    assert coverage(share_interval(*mean_se(means), QUESTIONS), truth) < 0.9


@pytest.mark.parametrize(
    ("rates", "shares", "questions", "samples"),
    [
        ((0.0, 0.6), (0.7, 0.3), 198, 16),
        ((0.1, 0.95), (0.5, 0.5), 500, 4),
        ((0.3, 1.0), (0.2, 0.8), 500, 16),
        ((0.5,), (1.0,), 100, 4),
    ],
)
def test_easy_and_hard_questions_do_not_mislead_it(rates, shares, questions, samples):
    """The beta-binomial model alone covers 2 to 90 % here: it is left where questions are many."""
    rng = np.random.default_rng(questions)
    picked = rng.choice(rates, p=shares, size=(STUDIES, questions))
    means = rng.binomial(samples, picked) / samples
    truth = float(np.dot(rates, shares))
    found = coverage(accuracy_interval(means, samples), truth)
    assert found == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("samples", [1, 4, 16])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_interval_has_zero_width_or_leaves_the_scale(samples, value):
    low, high = accuracy_interval(np.full(QUESTIONS, value), samples)
    assert 0 <= low < high <= 1
    assert (low if value == 0 else high) == value
    low, high = macro_interval({t: np.full(QUESTIONS, value) for t in "abcdef"})
    assert 0 <= low < high <= 1
    counted = macro_interval(
        {t: np.full(QUESTIONS, value) for t in "abcdef"}, samples=dict.fromkeys("abcdef", samples)
    )
    assert 0 <= counted[0] < counted[1] <= 1


def test_more_samples_make_it_narrower_and_one_question_is_nothing():
    widths = [accuracy_interval(np.zeros(QUESTIONS), n)[1] for n in (1, 4, 16)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 1.3 * widths[2]
    assert all(map(isnan, accuracy_interval(np.array([0.5]), 16)))


def test_intervals_of_an_average_over_weak_benchmarks_cover():
    """Two benchmarks near 0 and one at a third, 16 samples a question."""
    rng = np.random.default_rng(8)
    scores = {}
    truths = {"aime24": (0.02, 30), "aime25": (0.03, 30), "amc": (0.3, 40)}
    for task, (truth, n) in truths.items():
        rates = beta_rates(rng, truth, 0.3, (STUDIES, n))
        scores[task] = rng.binomial(SAMPLES, rates) / SAMPLES
    truth = sum(t for t, _ in truths.values()) / 3
    found = macro_interval(scores, samples=dict.fromkeys(scores, SAMPLES))
    assert coverage(found, truth) == pytest.approx(0.955, abs=0.02)


def test_paired_intervals_do_not_leave_the_scale():
    every = paired({"t": np.ones(30)}, {"t": np.zeros(30)})
    assert (every.diff, every.high) == (1.0, 1.0)
    assert 0.8 < every.low < 1
    nearly = paired({"t": np.r_[np.ones(29), 0.5]}, {"t": np.zeros(30)})
    assert nearly.low > 0.9
    assert nearly.high == 1.0
    turned = paired({"t": np.zeros(30)}, {"t": np.ones(30)})
    assert (turned.low, turned.high) == (-1.0, -every.low)


# ---- unequal numbers of samples -----------------------------------------------------------------
def uneven(rng, truth, gain=0.0):
    """16 samples of one policy and 1 of another on 30 questions, with rates of their own."""
    rates = beta_rates(rng, truth, 0.1, QUESTIONS)
    a = rng.binomial(16, np.minimum(rates + gain, 1)) / 16
    return a, rng.binomial(1, rates).astype(float)


@pytest.mark.parametrize("truth", [0.03, 0.05, 0.5])
def test_sixteen_samples_against_one_keep_the_level(truth):
    rng = np.random.default_rng(1)
    p = []
    flipped = []
    for i in range(500):
        a, b = uneven(rng, truth)
        p.append(uneven_flip_p([a], [b], [(16, 1)], draws=400, seed=i))
        flipped.append(float(sign_flip_p([a - b], draws=400, seed=i)))
    assert np.mean(np.array(p) <= 0.05) <= 0.065
    if truth == 0.05:
        assert np.mean(np.array(flipped) <= 0.05) > 0.2  # what flipping alone would reject


def test_sixteen_samples_against_one_find_a_gain():
    rng = np.random.default_rng(2)
    found = []
    for i in range(60):
        a, b = uneven(rng, 0.2, gain=0.5)
        found.append(uneven_flip_p([a], [b], [(16, 1)], draws=400, seed=i))
    assert np.mean(np.array(found) < 0.05) > 0.95


def test_paired_takes_the_uneven_test_where_samples_are_uneven():
    rng = np.random.default_rng(3)
    a, b = uneven(rng, 0.1)
    uneven_p = paired({"t": a}, {"t": b}, samples=({"t": 16}, {"t": 1})).p
    assert uneven_p == uneven_flip_p([a], [b], [(16, 1)])
    even = paired({"t": b}, {"t": b[::-1].copy()}, samples=({"t": 1}, {"t": 1}))
    assert even.p == sign_flip_p([b - b[::-1]])
