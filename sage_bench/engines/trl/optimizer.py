"""The local engine's optimisers, in the form TRL's loop calls."""

from __future__ import annotations

from typing import Any

import torch

from sage_bench.engines.local.optim import MasterAdamW


def optimizer_for(own: MasterAdamW) -> torch.optim.Optimizer:
    """What accelerate wraps: torch's AdamW itself, whose state it knows how to shard, wherever that
    works on the model's own weights."""
    plain = isinstance(own.adam, torch.optim.AdamW) and not own.config.offload
    return own.adam if plain else MasterOptimizer(own)


class MasterOptimizer(torch.optim.Optimizer):
    """Steps of a `MasterAdamW` whose masters lie on the host or whose moments are not torch's.

    Its groups hold the model's parameters, of which TRL clips the gradients. It shows no state:
    accelerate would copy it, and pages of bitsandbytes would be pages no more.
    """

    def __init__(self, own: MasterAdamW):
        super().__init__(own.model_parameters, {"lr": own.config.lr})
        self.own = own

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # there is no loss
        """One update from gradients that are clipped already. None where TRL's step is left out."""
        if any(parameter.grad is not None for parameter in self.own.model_parameters):
            self.own.step_clipped(self.param_groups[0]["lr"])
