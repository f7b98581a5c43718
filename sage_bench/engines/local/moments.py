"""Which optimiser keeps the moments: torch's AdamW, or bitsandbytes' in 8 bits.

`MasterAdamW` works with either through these few functions: make it, say which tensors its state
of a parameter has, write them, and put them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from sage_bench.config.schema import OptimConfig
from sage_bench.utils.errors import UsageError

BITSANDBYTES = "bitsandbytes"
# the first release whose 8-bit optimisers also run on a CPU
CPU_FROM = (0, 50)
WHERE = "optim.name"


def make(config: OptimConfig, groups: Sequence[Sequence[nn.Parameter]]) -> torch.optim.Optimizer:
    """The optimiser of `optim.name` over groups of master weights.

    Raises `UsageError` with what to install or to choose where it cannot work here.
    """
    parameters: Any = [{"params": list(group)} for group in groups]
    if config.name == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            foreach=True,
        )
    check(config.name, groups[0][0].device)
    import bitsandbytes

    classes = {"adamw8bit": "AdamW8bit", "paged_adamw8bit": "PagedAdamW8bit"}
    made: torch.optim.Optimizer = getattr(bitsandbytes.optim, classes[config.name])(
        parameters,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    return made


def check(name: str, device: torch.device) -> None:
    """Raise `UsageError` where the moments cannot be kept as `optim.name` says, on this device."""
    if find_spec(BITSANDBYTES) is None:
        raise UsageError(
            f"{name} needs bitsandbytes, which is not installed",
            where=WHERE,
            remedy="pip install 'sage-bench[lora]', or optim.name=adamw (optim.offload=true keeps"
            " its state on the host)",
        )
    if name.startswith("paged") and device.type != "cuda":
        raise UsageError(
            f"{name} pages between a GPU and its host, and the optimiser's state lies on a"
            f" {device.type}",
            where=WHERE,
            remedy="optim.name=adamw8bit, or leave optim.offload off",
        )
    if device.type == "cpu" and _release() < CPU_FROM:
        wanted = ".".join(map(str, CPU_FROM))
        raise UsageError(
            f"{name} on a CPU needs bitsandbytes {wanted} or newer",
            where=WHERE,
            remedy="pip install -U bitsandbytes, or optim.name=adamw",
        )


def _release() -> tuple[int, ...]:
    try:
        numbers = version(BITSANDBYTES).split(".")[:2]
    except PackageNotFoundError:  # a source tree on the path: nothing says how old it is
        return CPU_FROM
    return tuple(int(number) for number in numbers if number.isdigit())


def begin(adam: torch.optim.Optimizer, master: nn.Parameter) -> dict[str, Any]:
    """The empty state of a parameter, as the optimiser has it before its first step."""
    state: dict[str, Any] = adam.state[master]
    if state:
        return state
    if isinstance(adam, torch.optim.AdamW):
        state["exp_avg"] = torch.zeros_like(master)
        state["exp_avg_sq"] = torch.zeros_like(master)
        state["step"] = torch.zeros(())
        return state
    eight_bit: Any = adam
    for number, group in enumerate(adam.param_groups):
        for index, parameter in enumerate(group["params"]):
            if parameter is master:
                eight_bit.init_state(group, master, number, index)
    return state


def tensors(state: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What is to be kept of a parameter's state. The maps from 8 bits to numbers are constants."""
    for key, value in state.items():
        if not key.startswith("qmap"):
            yield key, torch.as_tensor(value)


def put(state: dict[str, Any], key: str, value: Tensor) -> None:
    """Bring one tensor of a saved state back, into the memory that the optimiser gave it."""
    if not torch.is_tensor(state[key]):  # bitsandbytes counts steps in a Python number
        state[key] = int(value)
    elif key == "step":
        state[key] = value
    else:
        state[key].copy_(value)
