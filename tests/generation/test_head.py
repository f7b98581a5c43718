"""Scores from hidden states without kept logits: the same numbers and gradients as with them."""

from __future__ import annotations

import pytest
import torch
from conftest import ARCHITECTURES
from torch import nn

from sage_bench.generation.local import forward, head
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.head import is_plain, plain_scores

ROWS, HIDDEN, VOCABULARY = 150, 16, 37


def inputs(bias: bool, dtype: torch.dtype = torch.float64):
    """A head, hidden states and targets; more rows than are run at once."""
    torch.manual_seed(0)
    layer = nn.Linear(HIDDEN, VOCABULARY, bias=bias, dtype=dtype)
    hidden = torch.randn(ROWS, HIDDEN, dtype=dtype, requires_grad=True)
    return layer, hidden, torch.randint(0, VOCABULARY, (ROWS,))


def by_autograd(layer, hidden, target, temperature):
    """(logp, entropy) as they are defined."""
    logits = layer.double()(hidden.double()) / temperature
    logp = logits.log_softmax(-1)
    return logp.gather(-1, target[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


def gradients(outputs, wanted):
    slope = torch.linspace(-1, 2, ROWS, dtype=outputs.dtype)
    return torch.autograd.grad(outputs, wanted, slope)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("bias", [True, False])
def test_numbers_and_gradients_are_those_of_kept_logits(bias, temperature, monkeypatch):
    monkeypatch.setattr(head, "AT_ONCE", {"cpu": 1})  # 64 rows at once, the least
    layer, hidden, target = inputs(bias)
    wanted = [hidden, *layer.parameters()]
    ours = plain_scores(layer, hidden, target, temperature)
    theirs = by_autograd(layer, hidden, target, temperature)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    for a, b in zip(gradients(ours[0], wanted), gradients(theirs[0], wanted), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert not ours[1].requires_grad


def test_the_gradient_is_that_of_finite_differences():
    layer, hidden, target = inputs(bias=True)
    few = hidden[:4].detach().requires_grad_()

    def logp(states, *_):
        return plain_scores(layer, states, target[:4], 0.7)[0]

    assert torch.autograd.gradcheck(logp, (few, *layer.parameters()))


def test_narrow_weights_are_multiplied_in_float32():
    layer, hidden, target = inputs(bias=True, dtype=torch.bfloat16)
    ours = plain_scores(layer, hidden, target, 1.0)[0]
    grads = gradients(ours, [hidden, layer.weight])
    assert [g.dtype for g in grads] == [torch.bfloat16] * 2
    assert torch.allclose(ours.double(), by_autograd(layer, hidden, target, 1.0)[0], atol=1e-5)


def test_a_frozen_head_costs_no_gradient():
    layer, hidden, target = inputs(bias=True)
    layer.requires_grad_(False)
    plain_scores(layer, hidden, target, 1.0)[0].sum().backward()
    assert hidden.grad is not None
    assert layer.weight.grad is None


def test_an_adapted_or_hooked_head_is_not_plain(random_policy):
    policy = random_policy()
    assert is_plain(policy.model.get_output_embeddings())

    class Adapted(nn.Linear):
        """What adapters put in its place."""

    assert not is_plain(Adapted(2, 2))
    hooked = nn.Linear(2, 2)
    hooked.register_forward_pre_hook(lambda *_: None)
    assert not is_plain(hooked)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probs_are_the_same_with_and_without_kept_logits(
    architecture, random_policy, monkeypatch
):
    policy = random_policy(architecture, torch.float64)
    pairs = [((5, 6, 7), (8, 9)), ((5, 6, 7), (10,)), ((11,), (12, 13, 14))]

    def scored():
        policy.model.zero_grad()
        logp, entropy = log_probs(policy, pairs, temperature=0.6)
        logp.sum().backward()
        slopes = [p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]
        return logp.detach(), entropy.detach(), torch.cat(slopes)

    kept = scored()
    asked: list[int] = []

    def watched(layer, hidden, *rest):
        asked.append(len(hidden))
        return plain_scores(layer, hidden, *rest)

    monkeypatch.setattr(forward, "KEPT_LOGITS", 0)
    monkeypatch.setattr(forward, "plain_scores", watched)
    for a, b in zip(kept, scored(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert asked == [6]
