"""Completions of similar length run together: the same numbers and gradients with less padding."""

from __future__ import annotations

import pytest
import torch
from conftest import ARCHITECTURES
from hypothesis import given
from hypothesis import strategies as st
from watching import watched

from sage_bench.generation.local import forward
from sage_bench.generation.local.forward import alike, log_probs

# three prompts; completions of 1 to 30 tokens
PAIRS = [
    (tuple(range(5, 5 + 3 * (i % 3) + 2)), tuple(range(10, 10 + n)))
    for i, n in enumerate([30, 1, 17, 28, 2, 9, 16, 30, 3])
]


@pytest.fixture
def in_parts(monkeypatch):
    monkeypatch.setattr(forward, "WIDE", 0)
    monkeypatch.setattr(forward, "PART", 20)


def scored(policy, temperature: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(log-probabilities, gradients of their weighted sum)."""
    policy.model.zero_grad()
    logp, _ = log_probs(policy, PAIRS, temperature=temperature)
    (logp * torch.linspace(-1, 2, len(logp), dtype=logp.dtype)).sum().backward()
    return logp.detach(), [p.grad.clone() for p in policy.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_numbers_and_gradients_are_those_of_all_together(
    name, temperature, random_policy, monkeypatch
):
    policy = random_policy(name, dtype=torch.float64)
    whole = scored(policy, temperature)
    monkeypatch.setattr(forward, "WIDE", 0)
    monkeypatch.setattr(forward, "PART", 20)
    parts = scored(policy, temperature)
    # transformers rounds every norm to float32
    assert torch.allclose(whole[0], parts[0], rtol=0, atol=1e-6)
    for a, b in zip(whole[1], parts[1], strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5)


def test_what_is_run_is_counted(random_policy, in_parts, monkeypatch):
    policy = random_policy()
    body, _ = watched(policy, monkeypatch)
    log_probs(policy, PAIRS)
    prompts = body.pop(0)
    # 30 30 28 | 17 16 | 9 3 2 | 1, each without its last token
    assert body == [3 * 29, 2 * 16, 3 * 8]
    assert prompts == 3 * 8
    monkeypatch.setattr(forward, "WIDE", 1 << 20)
    body.clear()
    log_probs(policy, PAIRS)
    assert body == [prompts, 9 * 29]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=80))
def test_parts_hold_every_row_once_and_pad_no_more(lengths):
    parts = alike(lengths)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    padded = sum(max(lengths[i] for i in part) * len(part) for part in parts)
    assert padded <= max(lengths) * len(lengths)
    for part in parts[:-1]:
        longest = max(lengths[i] for i in part)
        short = [i for i in part if lengths[i] < forward.NEAR * longest]
        # a short row is there only while the part was small
        assert (len(part) - len(short)) * longest < forward.PART + longest or not short


def test_rows_of_one_length_run_together():
    assert alike([7] * 50) == [list(range(50))]
    assert alike([4000] * 3) == [[0, 1, 2]]
