"""Group advantages: properties (recorded values: `test_vectors_*.py`)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sage_bench.methods.advantage import group_advantage

rewards = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=16).map(
    lambda r: torch.tensor(r, dtype=torch.float64)
)


def test_the_codes_advantage_is_the_papers_times_sqrt_seven_eighths():
    r = torch.tensor([1.0] + [0.0] * 7, dtype=torch.float64)
    paper, code = group_advantage(r, eps=0.0), group_advantage(r, ddof=1, eps=0.0)
    assert torch.allclose(code, paper * (7 / 8) ** 0.5)
    assert code[0].item() == pytest.approx(2.475, abs=1e-3)
    assert code[1].item() == pytest.approx(-0.354, abs=1e-3)


@given(rewards)
def test_advantages_of_a_group_sum_to_zero(r):
    assert group_advantage(r).sum().abs() < 1e-6


@given(rewards, st.floats(-3, 3))
def test_adding_a_constant_to_all_rewards_changes_nothing(r, shift):
    if r.max() - r.min() > 1e-3:  # nearer the threshold of equality, float addition decides
        assert torch.allclose(group_advantage(r), group_advantage(r + shift), atol=1e-4)


@given(rewards, st.randoms())
def test_permuting_rollouts_permutes_advantages(r, rng):
    order = list(range(len(r)))
    rng.shuffle(order)
    assert torch.allclose(group_advantage(r)[order], group_advantage(r[order]), atol=1e-9)


@given(st.floats(0, 1), st.integers(1, 16))
def test_equal_rewards_and_groups_of_one_give_exactly_zero(value, size):
    assert (group_advantage(torch.full((size,), value)) == 0).all()


def test_float_noise_is_no_signal():
    assert (group_advantage(torch.tensor([0.3, 0.1 + 0.2], dtype=torch.float64)) == 0).all()


def test_a_batch_of_groups_is_refused():
    with pytest.raises(ValueError, match="one group"):
        group_advantage(torch.zeros(2, 4))
