"""A request of the method's own, with the code that answers it on an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sage_bench.generation.local.forward import hidden_states
from sage_bench.types import PolicyAccess, Request, TokenIds


@dataclass(frozen=True, slots=True)
class Doubt(Request):
    """Ask how unsure the policy is before each of some tokens. Answer: Tensor (T,), one minus the
    probability of its favourite token."""

    prompt: TokenIds
    tokens: TokenIds

    @property
    def width(self) -> int:
        """The engine answers so many together that their padded tokens fit its budget."""
        return len(self.prompt) + len(self.tokens)

    @classmethod
    @torch.no_grad()
    def answer(cls, access: PolicyAccess, requests: Sequence[Doubt]) -> list[Tensor]:
        policy = access.policy
        states = hidden_states(policy, [(r.prompt, r.tokens) for r in requests])  # (N, H)
        favourite = policy.logits(states).softmax(-1).max(-1).values.cpu()  # (N,)
        return list(torch.split(1 - favourite, [len(r.tokens) for r in requests]))
