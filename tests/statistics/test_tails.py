"""p-values far out: no floor of resampling, and Holm over tables of hundreds of lines."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from sage_bench.statistics import detectable, flip_tail, holm, paired, sign_flip_p


def enumerated(weights: np.ndarray, observed: float) -> float:
    signs = np.array(list(product((-1.0, 1.0), repeat=len(weights))))
    return float(np.mean(np.abs(signs @ weights) >= observed - 1e-12))


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9, 1.0])
def test_the_analytic_tail_is_that_of_all_flips(share):
    weights = np.random.default_rng(0).uniform(0.2, 1.0, 18)
    observed = share * weights.sum()
    exact = enumerated(weights, observed)
    found = flip_tail(weights, observed)
    assert exact <= found * 1.001  # never smaller than the truth
    assert found < 6 * exact


def test_the_analytic_tail_of_equal_differences_is_binomial():
    """45 of 60 questions, and 53 of 60, changed by the same amount in one direction."""
    for up in (45, 53):
        exact = 2 * stats.binom.sf(up - 1, 60, 0.5)
        found = flip_tail(np.ones(60), float(2 * up - 60))
        assert exact * 0.99 <= found < 2 * exact


def test_tail_and_draws_agree_where_both_can_be_seen():
    rng = np.random.default_rng(1)
    deltas = rng.normal(0.3, 1, 100)
    drawn = float(sign_flip_p([deltas], draws=400_000))
    weights = deltas / 100
    tail = flip_tail(weights, abs(float(weights.sum())))
    assert drawn < 0.02
    assert tail == pytest.approx(drawn, rel=0.15)


def test_ninety_points_are_significant_in_a_table_of_hundreds_of_lines():
    """Three models, eight methods, six benchmarks, all pairs: 637 lines."""
    rng = np.random.default_rng(2)
    strong = {"t": rng.binomial(4, 0.95, 30) / 4}
    weak = {"t": rng.binomial(4, 0.05, 30) / 4}
    found = paired(strong, weak)
    assert found.diff > 0.8
    others = list(rng.uniform(size=636))
    assert holm([found.p, *others])[0] < 1e-4
    # random flips alone end at one in ten thousand
    floor = float(sign_flip_p([strong["t"] - weak["t"]]))
    assert holm([floor, *others])[0] > 0.05


def test_the_analytic_tail_keeps_the_level_far_out():
    rng = np.random.default_rng(3)
    p = [float(sign_flip_p([rng.normal(0, 1, 60)], draws=999, tail=True)) for _ in range(1500)]
    assert np.mean(np.array(p) <= 0.01) == pytest.approx(0.01, abs=0.008)


def test_holm_leaves_its_input_alone():
    given = np.array([0.01, 0.04, 0.03])
    before = given.copy()
    holm(given)
    assert (given == before).all()


@pytest.mark.parametrize("freedom", [1, 2, 4, 30])
def test_what_is_detectable_with_few_seeds_is_detected_at_its_power(freedom):
    """A t test on freedom + 1 differences, where the normal approximation finds far less."""
    rng = np.random.default_rng(freedom)
    n = freedom + 1
    shift = detectable(1 / np.sqrt(n), freedom=freedom)
    x = rng.normal(shift, 1, (20_000, n))
    t = x.mean(1) / (x.std(1, ddof=1) / np.sqrt(n))
    found = np.mean(np.abs(t) > stats.t.isf(0.025, freedom))
    assert found == pytest.approx(0.8, abs=0.015)
    assert shift > detectable(1 / np.sqrt(n))
