"""Truncated importance sampling: values by hand, gradients by finite differences, and an
enumeration in which the untruncated weights take the sampler's bias away."""

from __future__ import annotations

import math

import pytest
import torch

from sage_bench.methods.hooks import RowTokens
from sage_bench.methods.importance import corrected
from sage_bench.methods.losses import token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row

F64 = torch.float64


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def row(sampler: torch.Tensor | None, n: int = 2, **changes) -> Row:
    return Row((1,), tuple(range(n)), torch.ones(n), "g", sampler_logp=sampler, **changes)


def tokens_of(rows: list[Row], old: torch.Tensor, logp: torch.Tensor | None = None) -> RowTokens:
    logp = old if logp is None else logp
    advantage = torch.cat([r.advantage.to(F64) for r in rows])
    kind = torch.tensor([int(r.kind) for r in rows for _ in r.tokens])
    return RowTokens(rows, logp, old, advantage, kind)


def weights(mode: str, rows: list[Row], old: torch.Tensor, cap: float = 2.0) -> list[float]:
    """The factors: what becomes of a loss of ones."""
    objective = Objective(importance=mode, importance_cap=cap)
    loss, _ = corrected(torch.ones_like(old), tokens_of(rows, old), objective)
    return loss.tolist()


# old - sampler: log 1.5, log 4, log 0.5
ROWS = [row(tensor(-1.0, -1.0)), row(tensor(-1.0), n=1)]
OLD = tensor(-1.0 + math.log(1.5), -1.0 + math.log(4), -1.0 + math.log(0.5))


def test_each_token_is_weighed_by_its_own_ratio_cut_at_the_cap():
    assert weights("token", ROWS, OLD) == pytest.approx([1.5, 2.0, 0.5], rel=1e-12)


def test_a_sequence_is_weighed_by_the_product_cut_at_the_cap():
    assert weights("sequence", ROWS, OLD) == pytest.approx([2.0, 2.0, 0.5], rel=1e-12)
    assert weights("sequence", ROWS, OLD, cap=10.0) == pytest.approx([6.0, 6.0, 0.5], rel=1e-12)


def test_off_is_the_very_tensor_and_measures_nothing():
    loss = torch.ones(3, dtype=F64)
    found, stats = corrected(loss, tokens_of(ROWS, OLD), Objective())
    assert found is loss
    assert stats == {}


@pytest.mark.parametrize(
    "other",
    [
        row(None, n=1),
        row(tensor(-9.0), n=1, kind=Kind.OFF),
        row(tensor(-9.0), n=1, same_prompt=False),
    ],
)
def test_rows_whose_sampler_says_nothing_about_the_ratio_keep_their_loss(other):
    old = tensor(-1.0 + math.log(1.5), -1.0, -1.0)
    assert weights("token", [ROWS[0], other], old) == pytest.approx([1.5, 1.0, 1.0])


def test_the_log_has_mean_weight_and_how_many_are_cut_over_corrected_tokens_only():
    rows = [*ROWS, row(None, n=1)]
    old = torch.cat([OLD, tensor(-1.0)])
    objective = Objective(importance="token")
    _, stats = corrected(torch.ones(4, dtype=F64), tokens_of(rows, old), objective)
    assert stats["importance_tokens"] == 3
    assert float(stats["importance_weight"]) == pytest.approx(4.0)
    assert stats["importance_capped"] == 1


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_the_gradient_is_that_of_finite_differences(mode):
    """The weight is of the old policy: no gradient flows through it."""
    objective = Objective(importance=mode)
    at = OLD + tensor(0.05, -0.03, 0.02)

    def loss(logp: torch.Tensor) -> torch.Tensor:
        tokens = tokens_of(ROWS, OLD, logp)
        plain, _ = token_loss(logp, OLD, tokens.advantage, tokens.kind, objective)
        return corrected(plain, tokens, objective)[0].sum()

    leaf = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    h = 1e-6
    for i in range(3):
        step = torch.zeros(3, dtype=F64)
        step[i] = h
        numeric = (loss(at + step) - loss(at - step)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(float(numeric), rel=1e-7)


def test_without_a_cap_the_expected_gradient_is_that_of_sampling_from_the_policy():
    """One token out of three; the sampler's probabilities are others than the policy's."""
    policy, sampler = tensor(0.5, 0.3, 0.2).log(), tensor(0.2, 0.2, 0.6).log()
    rewards = tensor(1.0, -0.5, 2.0)
    objective = Objective(importance="token", importance_cap=100.0, clip=False, dual_clip=None)

    def expected(drawn_from: torch.Tensor, objective: Objective) -> torch.Tensor:
        """Sum over tokens of their probability times the gradient of their loss."""
        leaf = policy.clone().requires_grad_(True)
        total = torch.zeros((), dtype=F64)
        for token in range(3):
            q = drawn_from[token : token + 1]
            one = Row((1,), (token,), rewards[token : token + 1], "g", sampler_logp=q)
            logp = leaf[token : token + 1]
            tokens = tokens_of([one], policy[token : token + 1], logp)
            plain, _ = token_loss(logp, tokens.old_logp, tokens.advantage, tokens.kind, objective)
            total = total + drawn_from[token].exp() * corrected(plain, tokens, objective)[0].sum()
        return torch.autograd.grad(total, leaf)[0]

    truth = expected(policy, Objective(clip=False, dual_clip=None))
    assert torch.allclose(expected(sampler, objective), truth, rtol=1e-12)
    biased = expected(sampler, Objective(clip=False, dual_clip=None))
    assert not torch.allclose(biased, truth, rtol=0.1)
