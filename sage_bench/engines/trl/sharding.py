"""Weights and optimiser state that are spread over ranks: FSDP2 and DeepSpeed ZeRO-3.

Everything here is collective. In checkpoints all tensors are whole, in the files of the local
engine, so a run may go on with another number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from sage_bench.engines.trl import zero3

STATE = ("exp_avg", "exp_avg_sq", "step")  # AdamW's, a parameter
Sharding = Literal["none", "fsdp2", "zero3"]


@contextmanager
def whole_weights(model: nn.Module, sharding: Sharding) -> Iterator[None]:
    """While it is entered, every rank holds all weights and no forward is collective, so ranks may
    make as many as each has requests for."""
    if sharding == "zero3":
        with zero3.whole(model):
            yield
        return
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            # the root is needed again at once: it stays whole between forward and backward
            unit.set_reshard_after_forward(unit is not model, recurse=False)
            unit.reshard()


def whole_on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of FSDP2, whole and on the CPU of every rank."""
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()
        for name, tensor in tensors.items()
    }


def second_names(model: nn.Module) -> set[str]:
    """Names of parameters that have another one, before them: those of tied embeddings."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return every - {name for name, _ in model.named_parameters()}


def local_part(tensor: Tensor) -> Tensor:
    """What this rank holds of a parameter or its gradient."""
    if hasattr(tensor, "ds_tensor"):
        return zero3.part_on_rank(tensor)
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def optimizer_tensors(
    parameters: Sequence[nn.Parameter], optimizer: Any, sharding: Sharding, *, keep: bool = True
) -> dict[str, Tensor]:
    """AdamW's state, whole and on the CPU, named as in `optimizer.safetensors`. keep: on this rank;
    of a 7B model it is 60 GB, too much for all ranks of a machine."""
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(parameters):
        for key in STATE:
            value = _state(parameter, key, optimizer, sharding)
            if value is not None and keep:
                tensors[f"{key}.{i}"] = value.detach().cpu()
    return tensors


def _state(parameter: nn.Parameter, key: str, optimizer: Any, sharding: Sharding) -> Tensor | None:
    if sharding == "zero3":
        return zero3.optimizer_state(parameter, key)
    value = optimizer.state.get(parameter, {}).get(key)
    return value.full_tensor() if isinstance(value, DTensor) else value


def restore_optimizer(
    file: Path, parameters: Sequence[nn.Parameter], optimizer: Any, sharding: Sharding
) -> None:
    """Give every rank its part of what `optimizer_tensors` wrote."""
    if sharding == "zero3":
        zero3.restore(parameters, load_file(file))
        return
    with safe_open(file, "pt") as saved:
        names = set(saved.keys())
        for i, parameter in enumerate(parameters):
            for key in STATE:
                if f"{key}.{i}" in names:
                    _restore(parameter, key, saved.get_tensor(f"{key}.{i}"), optimizer)


def _restore(parameter: nn.Parameter, key: str, value: Tensor, optimizer: Any) -> None:
    if isinstance(parameter, DTensor) and value.dim():
        here = value.to(parameter.to_local().device)
        value = distribute_tensor(here, parameter.device_mesh, parameter.placements)
    optimizer.state[parameter][key] = value


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers this rank holds of some tensors are finite."""
    parts = [local_part(tensor) for tensor in tensors]
    parts = [part for part in parts if part.numel()]
    if not parts:
        return True
    return bool(torch.stack(torch._foreach_norm(parts)).isfinite().all())
