"""What a policy is asked to run, and a device on which only so many rows fit."""

from __future__ import annotations

import pytest
import torch

from sage_bench.generation.local import decode
from sage_bench.generation.local.policy import Policy

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def watched(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """(tokens of every forward of the body, rows of every call of the head)."""
    body: list[int] = []
    head: list[int] = []
    hidden, logits = policy.hidden, policy.logits

    def seen_hidden(ids, **rest):
        body.append(ids.numel())
        return hidden(ids, **rest)

    def seen_logits(states):
        head.append(states.shape[:-1].numel())
        return logits(states)

    monkeypatch.setattr(policy, "hidden", seen_hidden)
    monkeypatch.setattr(policy, "logits", seen_logits)
    return body, head


def full_beyond(monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """A device that holds the prompts of so many rows; the list has what was tried."""
    tried: list[int] = []
    real = decode.prefill

    def limited(policy, prompts):
        tried.append(len(prompts))
        if len(prompts) > rows:
            raise torch.OutOfMemoryError(FULL)
        return real(policy, prompts)

    monkeypatch.setattr(decode, "prefill", limited)
    return tried
