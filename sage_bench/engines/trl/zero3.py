"""DeepSpeed ZeRO-3: weights, gradients and AdamW's state in equal parts on the ranks.

DeepSpeed keeps the parts of many parameters end to end in flat float32 tensors, and AdamW's state
beside those. What is asked of it here goes by parameter. `whole`, `masters` and
`optimizer_state` are collective.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from trl.models.utils import add_hooks, remove_hooks

from sage_bench.utils.errors import UsageError

MOMENTS = ("exp_avg", "exp_avg_sq")


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """While it is entered, every rank holds all weights and no forward is collective."""
    from deepspeed import zero

    parameters = list(model.parameters())
    wrapped = [p._z3_optimizer for p in parameters if hasattr(p, "_z3_optimizer")]
    if not wrapped:  # the weights are not spread yet
        yield
        return
    # what TRL asks of DeepSpeed's engine
    engine: Any = SimpleNamespace(optimizer=wrapped[0])
    with zero.GatheredParameters(parameters):
        # the hooks would give each layer's weights back after its forward
        remove_hooks(engine)
        try:
            yield
        finally:
            add_hooks(engine)


def load_whole() -> None:
    """From now on models are loaded whole, on every rank: they are checked before they are spread.
    transformers would spread them as it reads them, whatever `zero3_init_flag` says."""
    from transformers.integrations import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def about_to_spread(accelerator: Any) -> None:
    """From now on transformers and TRL take weights for spread ones."""
    accelerator.state.deepspeed_plugin.set_deepspeed_weakref()


def masters(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """The float32 weights that the optimiser works on, whole and on the CPU.

    keep: on this rank; the others get nothing, since eight times the weights may be more than a
    machine has.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            whole_tensor = safe_get_full_fp32_param(parameter)  # collective
            if keep:
                found[name] = whole_tensor.cpu()
    return found


def parts(model: nn.Module) -> dict[str, Tensor]:
    """This rank's parts of the weights that learn, of a model that is still whole."""
    return {name: _cut(p.detach()) for name, p in model.named_parameters() if p.requires_grad}


def restore_masters(model: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Give the optimiser the float32 weights that `parts` kept, which are finer than those of a
    model that DeepSpeed made bfloat16."""
    from deepspeed.utils import safe_set_local_fp32_param

    for name, parameter in model.named_parameters():
        if name in own:
            safe_set_local_fp32_param(parameter, own[name])


def part_on_rank(parameter: Any) -> Tensor:
    """The part of a parameter that this rank holds."""
    part: Tensor = parameter.ds_tensor
    return part


def optimizer_state(parameter: Any, key: str) -> Tensor | None:
    """One entry of AdamW's state, whole; None before the first step."""
    from deepspeed.utils import safe_get_full_optimizer_state

    state = _adam(parameter).state
    if not state:
        return None
    if key == "step":
        # one for each flat tensor, all alike: DeepSpeed steps them together
        step: Tensor = next(iter(state.values()))[key]
        return step
    found: Tensor = safe_get_full_optimizer_state(parameter, key)
    return found


def restore(parameters: Sequence[Any], saved: Mapping[str, Tensor]) -> None:
    """Give every rank its parts of AdamW's state.

    saved: by the names of `optimizer.safetensors`, such as `exp_avg.0`; nothing is restored where
    it was written before the first step.
    """
    from deepspeed.utils import safe_set_local_optimizer_state

    if "step.0" not in saved:
        return
    # torch's AdamW makes its state with the first step
    state = _adam(parameters[0]).state
    for flat in parameters[0]._z3_optimizer.fp32_partitioned_groups_flat:
        state[flat] = {key: torch.zeros_like(flat) for key in MOMENTS}
        state[flat]["step"] = saved["step.0"].clone()
    for i, parameter in enumerate(parameters):
        for key in MOMENTS:
            safe_set_local_optimizer_state(parameter, _cut(saved[f"{key}.{i}"]), key)


def _adam(parameter: Any) -> Any:
    """The torch optimiser within DeepSpeed's."""
    return parameter._z3_optimizer.optimizer


def _cut(whole_tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, filled up with zeros as DeepSpeed cuts it."""
    flat = whole_tensor.flatten()
    size = -(-len(flat) // torch.distributed.get_world_size())
    found = flat[torch.distributed.get_rank() * size :][:size]
    own = torch.zeros(size, dtype=torch.float32, device=flat.device)
    own[: len(found)] = found
    return own


def clip_as(plugin: Any, grad_clip: float) -> None:
    """Let DeepSpeed, which clips within its step, clip at `optim.grad_clip`; of itself it takes 1.

    plugin: accelerate's. Raises `UsageError` where its configuration names another bound.
    """
    given = plugin.deepspeed_config.get("gradient_clipping", "auto")
    if given not in ("auto", grad_clip):
        raise UsageError(
            f"DeepSpeed is told to clip gradients at {given}, and the run at {grad_clip:g}",
            where="optim.grad_clip",
            remedy="leave gradient_clipping out of accelerate's configuration",
        )
    plugin.deepspeed_config["gradient_clipping"] = grad_clip
