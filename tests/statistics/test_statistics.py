"""Statistics against hand values, enumeration, scipy, statsmodels, and simulated studies.

Tests named `test_s8_NN_...` serve criterion NN of the list of acceptance criteria distilled from
other harnesses' bugs.
"""

from __future__ import annotations

from itertools import combinations, product
from math import comb, isnan, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from sage_bench.statistics import (
    bootstrap_interval,
    detectable,
    holm,
    macro,
    macro_interval,
    maj_at_k,
    mean_se,
    over_seeds,
    paired,
    paired_over_seeds,
    pass_at_k,
    sampling_se,
    share_interval,
    sign_flip_p,
    t_interval,
)
from sage_bench.statistics.seeds import _combine

STUDIES = 2000
MANY = 5000  # where it costs little: the coverage that is found is then known to a third of a point
COVERS = pytest.approx(0.95, abs=0.015)


# ---- closed forms -------------------------------------------------------------------------------
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


def test_s8_07_pass_at_k_is_nan_beyond_n():
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


# ---- simulated studies: at least 2,000 each -----------------------------------------------------
def covers(low, high, truth: float) -> float:
    return float(np.mean((low <= truth) & (truth <= high)))


def questions(rng, truth: float, n: int, samples: int, studies: int = MANY, spread: float = 2 / 3):
    """Mean scores (studies, n) of questions whose difficulty is Beta with intra-class correlation 1
    / (1 + spread) = 0.6."""
    return (
        rng.binomial(samples, rng.beta(truth * spread, (1 - truth) * spread, size=(studies, n)))
        / samples
    )


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
