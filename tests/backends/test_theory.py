"""What the papers prove, checked on our functions by exact enumeration: SAGE's gate, SGPO's
dynamics, LUFFY's weights, OAR's mass, Affinity."""

from __future__ import annotations

from itertools import pairwise, product
from math import comb, sqrt

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scripted import ScriptedEngine, context, problem
from sgpo_theory import (
    GRPO,
    SGPO,
    ascend,
    groups,
    lemma,
    moved,
    no_signal,
    path,
    population_gradient,
)

from sage_bench.backends.hint.affinity import affinity
from sage_bench.backends.luffy import LUFFY
from sage_bench.backends.oar.weights import effective_share, token_weights
from sage_bench.backends.sage import SAGE
from sage_bench.engines.local.learner import micro_batches
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.driver import collect
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row

sizes, chances = st.integers(2, 12), st.floats(0, 1)


# ---- SAGE (arXiv 2602.03143), section 3 and appendix D: Bernoulli rewards, G rollouts ---------
def group(right: int, size: int) -> torch.Tensor:
    """Rewards (G,) with `right` ones; their order does not matter to any sum below."""
    return torch.tensor([1.0] * right + [0.0] * (size - right), dtype=torch.float64)


def expected(value, p: float, size: int) -> float:
    """Exact E[value(rewards)] over groups of independent Bernoulli(p) rewards."""
    return sum(
        comb(size, k) * p**k * (1 - p) ** (size - k) * float(value(group(k, size)))
        for k in range(size + 1)
    )


def gate_open(rewards: torch.Tensor) -> bool:
    """Whether the group teaches anything: some advantage is not zero."""
    return bool((group_advantage(rewards) != 0).any())


def gate(p: float, size: int) -> float:
    """u(p), eq. 8."""
    return 1 - (1 - p) ** size - p**size


@given(chances, sizes)
def test_eq_7_the_gate_opens_with_probability_u(p, size):
    assert expected(gate_open, p, size) == pytest.approx(gate(p, size), abs=1e-12)
    assert sum(
        comb(size, k) * p**k * (1 - p) ** (size - k) for k in range(1, size)
    ) == pytest.approx(gate(p, size), abs=1e-12)  # eq. 16


def test_eq_7_by_every_single_vector_of_rewards():
    for size, p in ((2, 0.3), (3, 0.9), (5, 0.07)):
        total = sum(
            p ** sum(r) * (1 - p) ** (size - sum(r)) * gate_open(torch.tensor(r))
            for r in product((0.0, 1.0), repeat=size)
        )
        assert total == pytest.approx(gate(p, size), abs=1e-12)


@given(st.integers(0, 12), sizes, st.floats(1e-9, 1))
def test_eq_6_energy_is_s_squared_over_s_plus_eps_squared(right, size, eps):
    r = group(min(right, size), size)
    s = sqrt(float(r.var(correction=0)))
    energy = float((group_advantage(r, eps=eps) ** 2).mean())
    assert energy == pytest.approx((s / (s + eps)) ** 2, abs=1e-12)
    assert 0 <= energy < 1
    assert (energy == 0) == (s == 0)


@given(sizes, st.floats(1e-6, 1))
def test_eq_6_energy_grows_with_s(size, eps):
    half = [
        float((group_advantage(group(k, size), eps=eps) ** 2).mean()) for k in range(size // 2 + 1)
    ]  # s grows up to one half of the group
    assert all(a < b for a, b in pairwise(half))


@given(chances, sizes)
def test_expected_energy_is_the_groups_size_times_the_gate(p, size):
    assert expected(lambda r: (group_advantage(r, eps=0.0) ** 2).sum(), p, size) == pytest.approx(
        size * gate(p, size), abs=1e-9
    )


@given(st.integers(0, 12), sizes)
def test_eqs_14_and_15_sum_of_centred_squares(right, size):
    r = group(min(right, size), size)
    mean = float(r.mean())
    assert float((group_advantage(r, use_std=False) ** 2).sum()) == pytest.approx(
        size * mean * (1 - mean), abs=1e-12
    )


@given(chances, sizes)
def test_eq_17_expected_energy_without_the_standard_deviation(p, size):
    found = expected(lambda r: (group_advantage(r, use_std=False) ** 2).mean(), p, size)
    assert found == pytest.approx((size - 1) / size * p * (1 - p), abs=1e-12)
    assert (
        found
        <= expected(lambda r: (group_advantage(r, use_std=False) ** 2).mean(), 0.5, size) + 1e-12
    )  # proposition D.2


@given(chances, chances, st.floats(0, 1), sizes)
def test_propositions_3_2_and_3_3_the_gate_is_symmetric_concave_and_highest_at_one_half(
    p, q, share, size
):
    def u(x):
        return expected(gate_open, x, size)

    assert u(p) == pytest.approx(u(1 - p), abs=1e-12)
    assert u(p) <= u(0.5) + 1e-12
    assert u(share * p + (1 - share) * q) >= share * u(p) + (1 - share) * u(q) - 1e-12
    if abs(p - 0.5) > 1e-3:
        assert u(p) < u(0.5)
    if abs(p - 0.5) > abs(q - 0.5) + 1e-3:
        assert u(p) <= u(q)  # calibrating hints are those whose success is nearest one half


@given(st.floats(1e-6, 1e-2), sizes)
def test_eq_16_in_the_sparse_regime_the_gate_is_g_times_p(p, size):
    u = expected(gate_open, p, size)
    assert size * p - comb(size, 2) * p**2 - p**size - 1e-12 <= u <= size * p + 1e-12
    assert abs(u - size * p * (1 - p) ** (size - 1)) <= comb(size, 2) * p**2 * 1.1 + 1e-12


@given(st.lists(st.tuples(chances, st.floats(0.01, 1)), min_size=1, max_size=6), sizes)
def test_eq_11_and_remark_d_3_random_hints_open_the_gate_less_often(hints, size):
    """One success probability a hint, and how often the hint is drawn."""
    total = sum(w for _, w in hints)
    weighted = [(p, w / total) for p, w in hints]
    mean = sum(w * p for p, w in weighted)
    assert (
        sum(w * expected(gate_open, p, size) for p, w in weighted)
        <= expected(gate_open, mean, size) + 1e-12
    )

    def energy(p):
        return expected(lambda r: (group_advantage(r, use_std=False) ** 2).mean(), p, size)

    variance = sum(w * (p - mean) ** 2 for p, w in weighted)
    assert sum(w * energy(p) for p, w in weighted) == pytest.approx(
        energy(mean) - (size - 1) / size * variance, abs=1e-12
    )


def test_sage_opens_the_gate_of_failed_groups_with_the_hints_probability(renderer):
    """The backend itself, on every outcome of two rollouts without and two with a hint: P(open) =
    u(p) + (1 - p)^G u(p_h)."""
    p, hinted, size = 0.1, 0.5, 2
    total = 0.0
    for plain, after in product(product((0, 1), repeat=size), repeat=2):
        engine = ScriptedEngine(
            renderer.tokenizer,
            lambda prompt, k, plain=plain, after=after: (
                "42" if (after if "idea" in prompt else plain)[k] else "no"
            ),
        )
        (item,) = collect(
            SAGE(context(renderer), group_size=size, levels=1, hint_source="data"),
            [problem(hints=["idea"])],
            engine,
        )
        chance = (
            p ** sum(plain)
            * (1 - p) ** (size - sum(plain))
            * hinted ** sum(after)
            * (1 - hinted) ** (size - sum(after))
        )
        total += chance * any(bool((r.advantage != 0).any()) for r in item.rows)
    assert total == pytest.approx(gate(p, size) + (1 - p) ** size * gate(hinted, size), abs=1e-12)
    assert total > 2 * gate(p, size)


# ---- SGPO (arXiv 2505.11595), section 3: two steps, groups of two, `sgpo_theory.py` -------------
inner = st.floats(0.01, 0.99)


@given(inner, inner)
def test_population_gradients_have_the_closed_form(p, q):
    """(A.3), with advantages from `group_advantage`; and one step of it is (A.4)."""
    for method, first, second in (
        (SGPO, p * (1 - p), p * p * q * (1 - q)),
        (GRPO, p * (1 - p) * q, p * q * (1 - q)),
    ):
        g = population_gradient(p, q, method, 2)
        assert g == pytest.approx([-first / 2, first / 2, -second / 2, second / 2], abs=1e-12)
        assert ascend(p, q, method) == pytest.approx(
            (moved(p, g[1] - g[0]), moved(q, g[3] - g[2])), abs=1e-12
        )


@given(inner, inner, st.integers(1, 6))
def test_groups_are_all_there_is(p, q, size):
    assert sum(chance for _, chance in groups(p, q, size)) == pytest.approx(1.0)
    assert no_signal(p, q, GRPO, size) == pytest.approx(
        (1 - p * q) ** size + (p * q) ** size if size > 1 else 1.0
    )
    assert no_signal(p, q, SGPO, size) <= no_signal(p, q, GRPO, size) + 1e-12


def test_theorem_3_3_up_to_200_steps():
    """(i) all probabilities rise towards 1; (ii) SGPO is ahead on the first step; (iii) and on the
    whole; GRPO keeps p = q."""
    sgpo, grpo = path(SGPO, 200), path(GRPO, 200)
    for k in range(1, 201):
        (p, q), (p_, q_) = sgpo[k], grpo[k]
        assert p > p_
        assert p * q > p_ * q_
        assert p_ == pytest.approx(q_, abs=1e-12)
        assert all(a > b for a, b in zip((p, q, p_), (*sgpo[k - 1], grpo[k - 1][0]), strict=True))
        assert q < q_  # which the paper does not say: SGPO is behind on the second step
    assert min(*sgpo[200], *grpo[200]) > 0.994


@given(st.floats(0.5001, 0.999), st.floats(0.5001, 0.999))
def test_lemma_b_2(x, y):
    assume(y < x - 1e-3)  # nearer the diagonal the gap is below the rounding of float64
    a, b, c = lemma(torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))
    assert c * c > a * b


# ---- LUFFY (arXiv 2504.14945), eq. 6 and the weights of B.1 -------------------------------------
def log_weight(p: torch.Tensor, gamma: float) -> torch.Tensor:
    """d f(p) / d log p of our shaping."""
    logp = p.log().requires_grad_(True)
    loss, _ = token_loss(
        logp,
        torch.zeros_like(p),
        torch.ones_like(p),
        torch.full((len(p),), int(Kind.OFF)),
        Objective(off_gamma=gamma),
    )
    return torch.autograd.grad(-loss.sum(), [logp])[0]


@given(st.floats(0.01, 0.9), st.lists(st.floats(1e-4, 1), min_size=1, max_size=20))
def test_weights_of_shaped_probabilities_peak_where_the_paper_says(gamma, p):
    p = torch.tensor(p, dtype=torch.float64)
    top, place = 1 / (4 * (1 + gamma)), gamma / (1 + 2 * gamma)
    at_peak = torch.tensor([gamma, place], dtype=torch.float64)
    weight = log_weight(at_peak, gamma)
    # d log p / d logit = 1 - p
    assert weight[0].item() == pytest.approx(0.25)
    assert (weight * (1 - at_peak))[1].item() == pytest.approx(top)
    assert (log_weight(p, gamma) <= 0.25 + 1e-12).all()
    assert (log_weight(p, gamma) * (1 - p) <= top + 1e-12).all()


def test_shaping_favours_rare_tokens_over_the_plain_ratio():
    p = torch.tensor([0.001, 0.01, 0.5, 0.9], dtype=torch.float64)
    # the plain ratio has weight p
    assert ((log_weight(p, 0.1) / p)[:2] > 5).all()
    assert ((log_weight(p, 0.1) / p)[2:] < 1).all()


@given(
    st.lists(
        st.tuples(
            st.floats(-3, -0.05),
            st.floats(-3, -0.05),
            st.floats(-2, 2),
            st.sampled_from(list(Kind)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_gradient_of_the_unclipped_objective_equals_finite_differences(rows):
    """LUFFY's objective; the clipped one is in `test_objective.py`."""
    objective = Objective(**LUFFY.objective)
    logp, old, advantage, kind = (
        torch.tensor([r[i] for r in rows], dtype=torch.float64) for i in range(4)
    )
    logp.requires_grad_(True)
    (slope,) = torch.autograd.grad(
        token_loss(logp, old, advantage, kind.long(), objective)[0].sum(), [logp]
    )
    with torch.no_grad():
        ahead, behind = (
            token_loss(logp + step, old, advantage, kind.long(), objective)[0]
            for step in (1e-6, -1e-6)
        )
    assert torch.allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-7)


# ---- OAR (arXiv 2601.07408), B5 -----------------------------------------------------------------
importances = st.lists(st.floats(0, 50), min_size=1, max_size=40).map(
    lambda x: torch.tensor(x, dtype=torch.float64)
)
shapes = st.fixed_dictionaries(
    {"quantile": st.floats(0, 1), "boost": st.floats(0, 5), "floor": st.floats(0, 1)}
)


@given(importances, shapes)
def test_weights_keep_the_mass_of_the_advantage(importance, shape):
    weights = token_weights(importance, **shape)
    assert weights.sum().item() == pytest.approx(len(importance), rel=1e-12)
    assert (weights >= 0).all()
    assert 1 / len(importance) - 1e-9 <= effective_share(weights) <= 1 + 1e-9


@given(importances, shapes)
def test_weights_before_rescaling_lie_between_floor_and_boost(importance, shape):
    weights = token_weights(importance, **shape, preserve=False)
    assert (weights >= min(shape["floor"], 1.0) - 1e-9).all()
    assert (weights <= 1 + shape["boost"] + 1e-9).all()
    order = importance.argsort()
    assert (weights[order].diff() >= -1e-6).all()  # never less for a token that matters more
    assert weights.max() >= 1 - 1e-9  # which is why rescaling never divides by nothing


@given(importances, shapes, st.randoms())
def test_weights_go_with_their_tokens(importance, shape, rng):
    order = list(range(len(importance)))
    rng.shuffle(order)
    assert torch.allclose(
        token_weights(importance, **shape)[order],
        token_weights(importance[order], **shape),
        atol=1e-9,
    )


@given(st.floats(0, 50), st.integers(1, 30), shapes)
def test_equal_importances_leave_the_advantage_as_it_is(value, length, shape):
    assert (token_weights(torch.full((length,), value), **shape) == 1).all()


def test_negative_importances_count_as_none():
    assert torch.equal(
        token_weights(torch.tensor([-5.0, -1.0, 0.0, 2.0])),
        token_weights(torch.tensor([0.0, 0.0, 0.0, 2.0])),
    )


# ---- Affinity (HINT, arXiv 2510.09388), version 2 -----------------------------------------------
tokens = st.lists(
    st.tuples(st.floats(0.01, 5), st.integers(-3000, 3000).map(lambda a: a / 1000)),
    min_size=1,
    max_size=30,
).map(lambda x: torch.tensor(x, dtype=torch.float64).unbind(1))
clips = st.floats(0.05, 0.5)


@given(tokens, clips)
def test_affinity_lies_between_zero_and_the_effective_share(pairs, clip):
    ratio, advantage = pairs
    a = affinity(ratio, advantage, clip)
    assert 0 <= a.value <= a.eur <= 1
    assert a.uc >= 0
    assert 0 <= a.first <= 1
    inside = (ratio >= 1 - clip) & (ratio <= 1 + clip)
    assert (a.value > 0) == bool((inside & (advantage != 0)).any())


@given(tokens, clips, st.randoms())
def test_affinity_depends_on_neither_order_nor_sign(pairs, clip, rng):
    ratio, advantage = pairs
    order = list(range(len(ratio)))
    rng.shuffle(order)
    a = affinity(ratio, advantage, clip)
    for other in (
        affinity(ratio[order], advantage[order], clip),
        affinity(ratio, -advantage, clip),
    ):
        assert (a.eur, a.value, a.first) == pytest.approx(
            (other.eur, other.value, other.first), abs=1e-9
        )
        assert a.uc == pytest.approx(other.uc, abs=1e-6)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30), clips)
def test_affinity_on_policy_is_one(advantage, clip):
    advantage = torch.tensor(advantage, dtype=torch.float64)
    assume(advantage.abs().sum() > 1e-3)
    assert affinity(torch.ones_like(advantage), advantage, clip).value == pytest.approx(
        1.0, abs=1e-4
    )


@pytest.mark.parametrize(("ratio", "eur"), [(1.2, 1), (0.8, 1), (1.2001, 0), (0.7999, 0)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_band_of_affinity_includes_its_ends_whatever_the_sign(ratio, eur, sign):
    found = affinity(torch.tensor([ratio], dtype=torch.float64), torch.tensor([float(sign)]), 0.2)
    assert found.eur == pytest.approx(eur)
    assert found.first == eur


# ---- weights of rows ----------------------------------------------------------------------------
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=12),
    st.integers(1, 400),
    st.sampled_from(["token-mean", "seq-mean", "constant"]),
)
def test_a_rows_weight_does_not_depend_on_the_batches_it_is_run_in(rows, budget, aggregation):
    lengths = [n for n, _ in rows]
    made = [Row((g,), tuple(range(n)), torch.ones(n), f"g{g}") for n, g in rows]
    weights = row_weights(lengths, aggregation, constant_length=50).tolist()
    run = {
        id(row): weight
        for batch in micro_batches(list(zip(made, weights, strict=True)), budget)
        for row, weight in batch
    }
    assert run == {id(row): weight for row, weight in zip(made, weights, strict=True)}
    backwards = row_weights(lengths[::-1], aggregation, constant_length=50).tolist()[::-1]
    assert backwards == pytest.approx(weights)
