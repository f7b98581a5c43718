"""The objective: values by hand, gradients by finite differences, weights that do not depend on
batching."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind

OBJECTIVE = Objective()


def loss_of(
    ratio: float,
    advantage: float,
    kind: Kind = Kind.PG,
    objective: Objective = OBJECTIVE,
    old: float = -1.0,
) -> float:
    old_logp = torch.tensor([old], dtype=torch.float64)
    loss, _ = token_loss(
        old_logp + torch.tensor([ratio], dtype=torch.float64).log(),
        old_logp,
        torch.tensor([advantage], dtype=torch.float64),
        torch.tensor([int(kind)]),
        objective,
    )
    return loss.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "want"),
    [
        (1.0, 1.0, -1.0),
        (1.28, 1.0, -1.28),
        (1.5, 1.0, -1.28),
        (0.5, 1.0, -0.5),  # good tokens: capped above
        (1.0, -1.0, 1.0),
        (0.8, -1.0, 0.8),
        (0.5, -1.0, 0.8),
        (2.0, -1.0, 2.0),  # bad tokens: floored below
        (3.0, -1.0, 3.0),
        (5.0, -1.0, 3.0),
        (5.0, -2.0, 6.0),
        (5.0, 0.0, 0.0),  # dual clip at 3 |A|
    ],
)
def test_policy_gradient_values(ratio, advantage, want):
    assert loss_of(ratio, advantage) == pytest.approx(want, rel=1e-12, abs=1e-12)


def test_dual_clip_can_be_switched_off():
    assert loss_of(5.0, -1.0, objective=Objective(dual_clip=None)) == pytest.approx(5.0)


def test_log_ratio_is_clamped():
    old = torch.zeros(1, dtype=torch.float64)
    loss, _ = token_loss(
        old + 50,
        old,
        -torch.ones(1, dtype=torch.float64),
        torch.zeros(1, dtype=torch.long),
        Objective(dual_clip=None),
    )
    assert loss.item() == pytest.approx(torch.tensor(20.0, dtype=torch.float64).exp().item())


def test_off_and_ce_ignore_the_old_policy():
    for kind, want in (
        (Kind.OFF, -0.5 * 0.2 / 0.3),
        (Kind.CE, -0.5 * torch.tensor(0.2, dtype=torch.float64).log().item()),
    ):
        logp = torch.tensor([0.2], dtype=torch.float64).log()
        for old in (-0.1, -9.0):
            loss, _ = token_loss(
                logp,
                torch.tensor([old], dtype=torch.float64),
                torch.tensor([0.5], dtype=torch.float64),
                torch.tensor([int(kind)]),
                OBJECTIVE,
            )
            assert loss.item() == pytest.approx(want, rel=1e-12)


tokens = st.lists(
    st.tuples(
        st.floats(-3, -0.05), st.floats(-3, -0.05), st.floats(-2, 2), st.sampled_from(list(Kind))
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(tokens)
def test_gradient_equals_finite_differences(rows):
    logp, old, adv, kind = (
        torch.tensor([r[i] for r in rows], dtype=torch.float64) for i in range(4)
    )
    kind = kind.long()
    ratio = (logp - old).exp()
    edges = torch.tensor(
        [1 - OBJECTIVE.clip_low, 1 + OBJECTIVE.clip_high, 3.0], dtype=torch.float64
    )
    if ((ratio[:, None] - edges).abs() < 1e-3).any():
        return  # the loss has a corner here; a difference quotient across it is no derivative
    logp.requires_grad_(True)
    token_loss(logp, old, adv, kind, OBJECTIVE)[0].sum().backward()
    step = 1e-6
    with torch.no_grad():
        numeric = (
            token_loss(logp + step, old, adv, kind, OBJECTIVE)[0]
            - token_loss(logp - step, old, adv, kind, OBJECTIVE)[0]
        ) / (2 * step)
    assert torch.allclose(logp.grad, numeric, rtol=1e-5, atol=1e-7)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 8))
def test_weights_of_every_aggregation_sum_to_one_over_tokens(lengths, micro):
    n = torch.tensor(lengths, dtype=torch.float64)
    for how in ("token-mean", "seq-mean", "micro-batch token-mean"):
        assert (row_weights(lengths, how, micro) * n).sum().item() == pytest.approx(1.0)


def test_recipe_aggregation_is_the_mean_of_micro_batch_token_means():
    lengths, losses = (
        [3, 1, 4, 2, 5],
        [torch.randn(n, dtype=torch.float64) for n in (3, 1, 4, 2, 5)],
    )
    w = row_weights(lengths, "micro-batch token-mean", 2)
    ours = sum(w[i] * losses[i].sum() for i in range(5))
    recipe = torch.stack(
        [torch.cat(losses[0:2]).mean(), torch.cat(losses[2:4]).mean(), losses[4].mean()]
    ).mean()
    assert ours.item() == pytest.approx(recipe.item())


def test_statistics_count_policy_gradient_tokens_only():
    logp = torch.tensor([0.0, -1.0, -1.0])
    _, stats = token_loss(
        logp,
        torch.tensor([-1.0, -1.0, -1.0]),
        torch.tensor([1.0, 1.0, 1.0]),
        torch.tensor([0, 0, 2]),
        OBJECTIVE,
    )
    assert stats["pg_tokens"].item() == 2
    assert stats["clip_fraction"].item() == 1
