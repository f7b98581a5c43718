"""Averages, errors, intervals and tests against hand values, enumeration, scipy and statsmodels."""

from __future__ import annotations

from itertools import product
from math import isnan, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from sage_bench.statistics import (
    detectable,
    holm,
    macro,
    macro_interval,
    mean_se,
    over_seeds,
    paired,
    paired_over_seeds,
    sampling_se,
    share_interval,
    sign_flip_p,
    t_interval,
)


def test_the_standard_error_is_the_cluster_robust_one():
    """Samples as rows, questions as clusters, in statsmodels' regression on a constant."""
    rng = np.random.default_rng(0)
    right = rng.random((40, 16)) < rng.random((40, 1))
    fit = sm.OLS(right.ravel().astype(float), np.ones(640)).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(40), 16)}
    )
    assert mean_se(right.mean(1)) == (pytest.approx(fit.params[0]), pytest.approx(fit.bse[0]))
    naive = sm.OLS(right.ravel().astype(float), np.ones(640)).fit().bse[0]
    assert mean_se(right.mean(1))[1] > 2 * naive  # samples are no independent observations


def test_the_seed_error_is_the_binomial_one():
    p, n = np.array([0.25, 0.5, 1.0]), 4
    unbiased = p * (1 - p) * n / (n - 1)  # variance of one draw, from n of them
    assert sampling_se(p, n) == pytest.approx(sqrt((unbiased / n).sum()) / 3)
    assert isnan(sampling_se(p, 1))


def test_t_interval_is_that_of_scipy_and_statsmodels():
    x = np.random.default_rng(1).uniform(0.2, 0.8, 30)
    mean, se = mean_se(x)
    assert t_interval(mean, se, 30) == pytest.approx(stats.t.interval(0.95, 29, mean, se))
    assert t_interval(mean, se, 30) == pytest.approx(DescrStatsW(x).tconfint_mean())
    assert t_interval(0.01, 0.05, 30)[0] == 0
    assert all(map(isnan, t_interval(0.5, 0.1, 1)))


def test_share_interval_is_wilsons_for_many_independent_answers():
    right = np.r_[np.ones(130), np.zeros(370)]
    assert share_interval(*mean_se(right), 500) == pytest.approx(
        proportion_confint(130, 500, method="wilson"), abs=3e-4
    )
    t2 = stats.t.ppf(0.975, 29) ** 2
    assert share_interval(0.0, 0.0, 30) == (0.0, pytest.approx(t2 / (30 + t2)))
    assert share_interval(1.0, 0.0, 30) == (pytest.approx(30 / (30 + t2)), 1.0)
    even = share_interval(0.5, 0.02, 1000)  # far from the ends it is mean +- t SE
    assert even == pytest.approx(t_interval(0.5, 0.02, 1000), abs=2e-4)
    many = share_interval(np.array([0.0, 0.5]), np.array([0.0, 0.02]), 1000)
    assert many[0][1] == even[0]
    assert many[1][1] == even[1]


def test_macro_average_and_its_degrees_of_freedom():
    scores = {"a": np.array([0.0, 1.0, 0.5]), "b": np.array([0.25, 0.75, 0.5, 0.5])}
    mean, se = macro(scores)
    assert mean == 0.5
    assert se == pytest.approx(sqrt(0.25 / 3 + (1 / 24) / 4) / 2)
    v = np.array([0.25 / 3, 1 / 96])
    half = stats.t.ppf(0.975, v.sum() ** 2 / (v[0] ** 2 / 2 + v[1] ** 2 / 3)) * se
    assert macro_interval(scores) == (max(0.0, 0.5 - half), min(1.0, 0.5 + half))
    same = {
        "a": scores["a"],
        "b": scores["a"],
    }  # equal benchmarks: twice the degrees of freedom of one
    assert macro_interval(same)[1] == pytest.approx(
        min(1.0, 0.5 + stats.t.ppf(0.975, 4) * macro(same)[1])
    )


def test_the_paired_error_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(3)
    a, b = rng.random(400), rng.random(400)
    r, t = paired({"t": a}, {"t": b}), stats.ttest_rel(a, b)
    assert r.diff == pytest.approx(t.statistic * r.se)
    assert (r.low, r.high) == pytest.approx(t.confidence_interval(), abs=2e-3)
    assert r.p == pytest.approx(t.pvalue, abs=0.02)


def test_the_sign_flip_test_is_exact_for_few_questions():
    deltas = [np.array([0.5, 0.25, -0.25, 1.0]), np.array([0.0, 0.5, 0.5])]
    w = np.concatenate([deltas[0] / 8, deltas[1] / 6])
    flips = np.array([np.dot(s, w) for s in product((-1, 1), repeat=7)])
    assert sign_flip_p(deltas) == pytest.approx(np.mean(np.abs(flips) >= w.sum() - 1e-12))
    # nothing is further out than no difference
    assert sign_flip_p([np.array([0.1, 0.2, -0.3, 0.0])]) == 1
    assert sign_flip_p([np.zeros(40)]) == 1
    assert sign_flip_p([np.r_[0.25, np.zeros(39)]]) == 1


@pytest.mark.parametrize(("n", "mean"), [(8, 0.5), (12, 0.2), (60, 0.1), (60, 0.4)])
def test_the_sign_flip_test_is_that_of_scipy(n, mean):
    x = np.random.default_rng(n).normal(mean, 1, n)
    theirs = stats.permutation_test(
        (x,),
        lambda x, axis: x.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    ).pvalue
    exact = 2**n <= 9999
    assert sign_flip_p([x]) == pytest.approx(theirs, abs=1e-12 if exact else 0.015)
    assert sign_flip_p([x]) == pytest.approx(stats.ttest_1samp(x, 0).pvalue, abs=0.05)
    assert 0 < sign_flip_p([np.ones(60)], draws=999) == 1 / 1000  # never 0


def test_holm_is_that_of_statsmodels_and_skips_what_was_not_tested():
    from statsmodels.stats.multitest import multipletests

    p = [0.04, 0.001, 0.2, 0.012]
    assert holm(p) == pytest.approx([0.08, 0.004, 0.2, 0.036])
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))
    found = holm([0.04, float("nan"), 0.001])
    assert found[0] == pytest.approx(0.04)
    assert isnan(found[1])
    assert found[2] == pytest.approx(0.002)
    assert holm([]) == []


def test_what_is_detectable_is_detected_at_its_power():
    rng, se = np.random.default_rng(5), 2.0
    seen = np.abs(rng.normal(detectable(se), se, 40_000)) > stats.norm.isf(0.025) * se
    assert seen.mean() == pytest.approx(0.8, abs=0.01)


def test_seed_and_question_parts_are_those_of_the_analysis_of_variance():
    """Two-way layout by hand: V = MS_question / SQ + (MS_seed - MS_rest) / SQ, negative seed part
    counted as none."""
    y = np.random.default_rng(6).random((3, 20)) + np.array([[0.0], [0.3], [0.1]])
    seed, question = y.mean(1), y.mean(0)
    ms_seed, ms_question = 20 * seed.var(ddof=1), 3 * question.var(ddof=1)
    ms_rest = ((y - seed[:, None] - question + y.mean()) ** 2).sum() / (2 * 19)
    r = over_seeds([{"t": row} for row in y])
    assert r.mean == pytest.approx(y.mean())
    assert r.se_question**2 == pytest.approx(ms_question / 60)
    assert r.se_seed**2 == pytest.approx((ms_seed - ms_rest) / 60)
    assert r.se == pytest.approx(sqrt(r.se_seed**2 + r.se_question**2))
    assert r.low < r.mean < r.high
    equal = over_seeds([{"t": y[0]}, {"t": y[0]}])
    # seeds that agree: questions alone
    assert equal.se_seed == 0
    assert (equal.mean, equal.se) == pytest.approx(mean_se(y[0]))


def test_the_p_over_seeds_belongs_to_its_interval():
    rng = np.random.default_rng(7)
    a, b = (
        [{"t": rng.random(30) + rng.normal(shift, 0.1)} for _ in range(3)] for shift in (0.3, 0.0)
    )
    r = paired_over_seeds(a, b)
    edge = paired_over_seeds(a, b, level=1 - r.p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-6)
    assert (r.p < 0.05) == (r.low > 0 or r.high < 0)
    same = paired_over_seeds(a, a)
    assert same.mean == 0
    assert same.p == 1


def test_one_seed_or_other_questions_are_refused():
    x = {"t": np.zeros(4)}
    with pytest.raises(ValueError, match="two seeds"):
        over_seeds([x])
    with pytest.raises(ValueError, match="same questions"):
        over_seeds([x, {"t": np.zeros(5)}])
    with pytest.raises(ValueError, match="same questions"):
        paired_over_seeds([x, x], [{"t": np.zeros(5)}] * 2)


def test_standard_error_is_clustered_by_question():
    """Samples of one question are copies here: the naive error over samples would be half as
    large."""
    question = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    mean, se = mean_se(question)
    assert mean == 0.6
    assert se == pytest.approx(np.std(question, ddof=1) / np.sqrt(5))
    assert se == pytest.approx(stats.sem(question))


def test_macro_average_weighs_benchmarks_alike():
    scores = {"a": np.array([1.0, 1.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])}
    mean, se = macro(scores)
    assert mean == 0.75
    assert se == pytest.approx(np.sqrt(0.0 + stats.sem(scores["b"]) ** 2) / 2)


def test_sampling_error_matches_a_simulation():
    rng = np.random.default_rng(0)
    p, n = rng.random(200), 8
    draws = rng.binomial(n, p, size=(4000, 200)) / n
    assert np.mean([sampling_se(d, n) for d in draws]) == pytest.approx(
        draws.mean(1).std(), rel=0.03
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=30), st.integers(0, 5))
def test_comparing_a_method_with_itself_finds_nothing(counts, seed):
    scores = {"t": np.array(counts) / 4}
    result = paired(scores, scores, draws=50, seed=seed)
    assert (result.diff, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_paired_comparison_needs_the_same_questions():
    with pytest.raises(ValueError, match="same questions"):
        paired({"t": np.zeros(3)}, {"t": np.zeros(4)})
