"""pass@k and maj@k against enumeration of all subsets."""

from __future__ import annotations

from itertools import combinations
from math import comb, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sage_bench.statistics import (
    maj_at_k,
    pass_at_k,
)


@pytest.mark.parametrize(("n", "k"), [(4, 1), (4, 2), (6, 3), (6, 6), (16, 8)])
def test_pass_at_k_is_the_mean_over_all_subsets(n, k):
    values = pass_at_k(np.arange(n + 1), n, k)
    assert values == pytest.approx([1 - comb(n - c, k) / comb(n, k) for c in range(n + 1)])
    if n <= 6:
        assert values == pytest.approx(
            [
                np.mean([any(i < c for i in s) for s in combinations(range(n), k)])
                for c in range(n + 1)
            ]
        )


def test_pass_at_k_is_nan_beyond_n():
    """pass@k for k > n: never pass@n under another name."""
    assert np.isnan(pass_at_k([0, 2, 4], 4, 5)).all()
    assert isnan(maj_at_k(2, [1], 1, 5))
    assert pass_at_k([0, 2, 4], 4, 4).tolist() == [0.0, 1.0, 1.0]
    for k in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            pass_at_k([1], 4, k)
        with pytest.raises(ValueError, match="at least 1"):
            maj_at_k(1, [1], 0, k)


def test_pass_at_k_is_unbiased():
    """The mean over draws of 8 samples is 1 - (1 - p)^k; the plug-in estimate with p = c / n is
    not."""
    rng, p, k = np.random.default_rng(2), 0.2, 4
    c = rng.binomial(8, p, size=40_000)
    truth = 1 - (1 - p) ** k
    assert pass_at_k(c, 8, k).mean() == pytest.approx(truth, abs=0.006)
    assert abs((1 - (1 - c / 8) ** k).mean() - truth) > 0.03


def vote(drawn: list[int]) -> float:
    """Score of one subset: 0 stands for right, 1, 2, ... for wrong classes, -1 for no answer."""
    counts = {c: drawn.count(c) for c in set(drawn) if c >= 0}
    if not counts:
        return 0.0
    top = [c for c, n in counts.items() if n == max(counts.values())]
    return (0 in top) / len(top)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 4), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 3), st.integers(1, 8)
)
def test_maj_at_k_is_the_mean_vote_over_all_subsets(right, wrong, blank, k):
    classes = (
        [0] * right + [j + 1 for j, size in enumerate(wrong) for _ in range(size)] + [-1] * blank
    )
    value = maj_at_k(right, wrong, blank, k)
    if k > len(classes):
        assert isnan(value)
    else:
        assert value == pytest.approx(np.mean([vote(list(s)) for s in combinations(classes, k)]))


def test_maj_at_k_by_hand_and_at_the_size_of_real_runs():
    assert maj_at_k(3, [4], 0, 7) == 0.0
    assert maj_at_k(4, [3], 0, 7) == 1.0
    assert maj_at_k(3, [3], 1, 7) == 0.5
    assert maj_at_k(2, [2, 2], 0, 6) == pytest.approx(1 / 3)
    # one vote: avg
    assert maj_at_k(0, [], 5, 3) == 0.0
    assert maj_at_k(5, [3, 2], 6, 1) == pytest.approx(5 / 16)
    two = sum(comb(20, m) * comb(12, 9 - m) for m in range(5, 10)) / comb(
        32, 9
    )  # two classes, odd k: hypergeometric
    assert maj_at_k(20, [12], 0, 9) == pytest.approx(two)
    assert maj_at_k(20, [12], 0, 9) == pytest.approx(stats.hypergeom.sf(4, 32, 20, 9))
    assert 0 < maj_at_k(14, [13, 9, 8, 7, 5, 4, 2, 1, 1], 0, 32) < 1
