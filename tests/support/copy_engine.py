"""An engine with weights of its own that needs no vLLM: our decoder on a second copy of the model.

Everything around it is the real thing; what it can do wrong, a test asks of it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sage_bench.generation.live.engines import EngineLostError, Weights
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import Policy
from sage_bench.types import Completion, Sample


class CopyEngine:
    """deaf: it never takes new weights. dies: numbers of the draws (1-based) that are lost. calls:
    what was asked of it, in order."""

    def __init__(self, policy: Policy, *, deaf: bool = False, dies: Sequence[int] = ()):
        self.policy = copy.copy(policy)
        self.policy.model = copy.deepcopy(policy.model).requires_grad_(False)
        self.decoder = Decoder(self.policy)
        self.context = policy.context
        self.deaf = deaf
        self.dies = set(dies)
        self.calls: list[str] = []
        self.draws = 0
        self.version: str | None = None

    def draw(self, units: Sequence[Sample]) -> list[Completion]:
        self.calls.append("draw")
        self.draws += 1
        if self.draws in self.dies:
            self.version = None
            with torch.no_grad():
                for parameter in self.policy.model.parameters():
                    parameter.zero_()
            raise EngineLostError("killed by a test")
        return self.decoder.draw(list(units))

    @torch.no_grad()
    def take(self, weights: Weights, version: str) -> None:
        self.calls.append("take")
        self.version = version
        mine = dict(self.policy.model.named_parameters())
        for name, tensor in weights():
            if not self.deaf:
                mine[name].copy_(tensor)

    def holds(self, version: str) -> bool:
        return self.version == version

    def sleep(self) -> None:
        self.calls.append("sleep")

    def wake(self) -> None:
        self.calls.append("wake")

    def restart(self) -> None:
        self.calls.append("restart")

    def close(self) -> None:
        self.calls.append("close")

    def describe(self) -> dict[str, Any]:
        return {"sampler": "copy"}

    def count(self) -> Counter[str]:
        return Counter(self.calls)


def drawing_by(monkeypatch: Any, make: Callable[[Policy], CopyEngine]) -> list[CopyEngine]:
    """From now on `engine.rollouts=vllm` draws from what `make` returns; the list has them all."""
    from sage_bench.engines import local
    from sage_bench.engines.rollouts import vllm

    made: list[CopyEngine] = []
    policies: list[Policy] = []
    load = local.load_policy

    def loaded(*args: Any, **options: Any) -> Policy:
        policies.append(load(*args, **options))
        return policies[-1]

    def engine(*args: Any) -> CopyEngine:
        made.append(make(policies[-1]))
        return made[-1]

    monkeypatch.setattr(local, "load_policy", loaded)
    monkeypatch.setattr(vllm, "live_engine", engine)
    return made
