"""Claims about methods: over training seeds, or none."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from sage_bench.statistics import NO_CLAIM, claim, detectable, over_seeds, paired
from sage_bench.statistics.seeds import _combine

STUDIES = 3000
SIZES = (30, 40, 60)


def trained(rng, seeds, sd, order_sd, gain=0.0, studies=STUDIES):
    """Scores of two methods, lists over benchmarks of (studies, seeds, N_b).

    sd: what training again does to one method alone; order_sd: what the order of the data does to
    both runs of a seed.
    """
    base = [rng.normal(0, 1.5, (studies, 1, n)) for n in SIZES]
    order = rng.normal(0, order_sd, (studies, seeds, 1))
    out = []
    for own_gain in (gain, 0.0):
        shift = order + rng.normal(0, sd, (studies, seeds, 1))
        rates = [stats.norm.cdf(x + own_gain + shift) for x in base]
        out.append([rng.binomial(4, r) / 4 for r in rates])
    return out


def difference(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def covers(found, truth):
    return float(np.mean((found.low <= truth) & (truth <= found.high)))


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_intervals_paired_by_seed_cover(seeds):
    rng = np.random.default_rng(seeds)
    a, b = trained(rng, seeds, 0.2, 0.4, gain=0.3)
    total = sqrt(1 + 1.5**2 + 0.2**2 + 0.4**2)
    truth = stats.norm.cdf(0.3 / total) - 0.5
    by_seed = _combine([difference(a, b)], 0.95, paired_by_seed=True)
    assert covers(by_seed, truth) == pytest.approx(0.955, abs=0.02)
    if seeds == 8:  # what both owe to the order of the data leaves the difference
        alone = _combine([a, b], 0.95)
        assert np.median(by_seed.se) < 0.8 * np.median(alone.se)


def test_the_test_paired_by_seed_keeps_its_level():
    rng = np.random.default_rng(4)
    a, b = trained(rng, 3, 0.3, 0.3)
    p = _combine([difference(a, b)], 0.95, paired_by_seed=True).p
    assert np.mean(p < 0.05) == pytest.approx(0.045, abs=0.02)
    # the same runs, one of each, tested over questions: what a claim from one seed is worth
    first = [paired(*scores_of(a, b, i)).p for i in range(300)]
    assert np.mean(np.array(first) < 0.05) > 0.3


def scores_of(a, b, study):
    """Two policies of one study: the first training run of each method."""
    return tuple({str(t): x[study, 0] for t, x in enumerate(m)} for m in (a, b))


def runs(seed, count, rate):
    rng = np.random.default_rng(seed)
    return {s: {t: rng.binomial(4, rate, 40) / 4 for t in "xy"} for s in range(count)}


def test_with_one_training_run_each_there_is_no_claim():
    found = claim(runs(1, 1, 0.9), runs(2, 1, 0.1))
    assert found.note == "one training run each: no claim about the methods" == NO_CLAIM
    assert (found.p, found.se, found.low, found.high) == (None, None, None, None)
    assert found.diff > 0.7
    assert found.seeds == (0,)
    # one of the two is not enough
    assert claim(runs(1, 3, 0.9), runs(2, 1, 0.1)).p is None


def test_a_claim_names_its_seeds_and_how_they_were_paired():
    a = runs(1, 3, 0.8)
    b = runs(2, 3, 0.4)
    found = claim(a, b)
    assert (found.seeds, found.pairing, found.note) == ((0, 1, 2), "by seed", "")
    by_hand = [np.mean([(a[s][t] - b[s][t]).mean() for t in "xy"]) for s in range(3)]
    assert found.diff == pytest.approx(np.mean(by_hand))
    assert found.low < found.diff < found.high
    other = claim(a, {7: b[0], 8: b[1], 9: b[2]})
    assert (other.seeds, other.pairing) == ((0, 1, 2), "independent seeds")
    assert claim(a, b, shared_order=False).pairing == "independent seeds"
    base = claim(a, {None: b[0]}, trained=False)
    assert base.pairing == "one policy"
    assert base.p is not None
    assert claim({0: a[0]}, {None: b[0]}, trained=False).note == NO_CLAIM


def test_what_a_claim_could_have_seen_is_more_than_its_own_interval():
    """With two or three seeds the quantile is Student's: W13 of the list of defects."""
    found = claim(runs(1, 3, 0.5), runs(2, 3, 0.5))
    half = (found.high - found.low) / 2
    assert detectable(found.se, freedom=found.freedom) > half
    assert found.freedom < 200


def test_seeds_that_never_solve_anything_still_have_an_interval():
    nothing = [{"t": np.zeros(30)}] * 3
    found = over_seeds(nothing)
    assert found.mean == found.low == 0
    assert 0.05 < found.high < 0.2
    everything = over_seeds([{"t": np.ones(30)}] * 3)
    assert (everything.low, everything.high) == (pytest.approx(1 - found.high), 1.0)
