"""Lets accelerate shard by FSDP2 on a CPU, for tests.

accelerate asks for FSDP only where processes have accelerators, and trains by DDP elsewhere,
without a word. torch's FSDP2 itself works on CPUs with gloo. What is replaced is that one look;
wrapping, the optimiser's parameters, clipping and gathering are accelerate's own code.
"""

from __future__ import annotations

from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


def allow() -> None:
    """From now on processes on CPUs shard where `ACCELERATE_USE_FSDP` says so."""
    begin = AcceleratorState.__init__

    def with_fsdp(self: Any, *given: Any, fsdp_plugin: Any = None, **more: Any) -> None:
        begin(self, *given, fsdp_plugin=fsdp_plugin, **more)
        # as accelerate has it for GPUs
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            PartialState._shared_state["distributed_type"] = self.distributed_type

    AcceleratorState.__init__ = with_fsdp
