"""Low-rank adapters (LoRA) on a model in memory, and the folders they are kept in.

A folder of adapters is what peft writes (adapter_config.json, adapter_model.safetensors), with the
model's configuration and tokenizer beside it, so that everything that takes a model folder takes
it, too: `load_model` reads the base model it names and merges. vLLM and peft load it beside its
base; `sage-bench export --merge` makes an ordinary model of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from sage_bench.utils.errors import ModelError, UsageError, did_you_mean
from sage_bench.utils.seeds import derive_seed

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
ALL = "all-linear"
PREFIX = "base_model.model."  # before every name in peft's files


def base_of(path: str | Path) -> str | None:
    """The model that a folder of adapters was trained on; None for any other folder."""
    file = Path(path) / CONFIG
    if not file.is_file():
        return None
    base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(
            "these adapters do not say which model they belong to",
            where=str(file),
            remedy="write it there as base_model_name_or_path",
        )
    return str(base)


def need_peft(where: str) -> None:
    """Raise `UsageError` where peft is not installed."""
    if find_spec("peft") is None:
        raise UsageError(
            "adapters need peft, which is not installed",
            where=where,
            remedy="pip install 'sage-bench[lora]'",
        )


# ---- adapters on a model -------------------------------------------------------------------------
def add(
    model: Any, *, rank: int, alpha: float, targets: str | Sequence[str], dropout: float, seed: int
) -> None:
    """Put adapters on a model's linear layers, in place; they alone have gradients from then on.

    B is zero, so the model computes what it did; A is a function of seed. Adapters of
    half-precision models are float32: what they learn is smaller than what bfloat16 tells apart.
    Raises `UsageError` for targets the model does not have.
    """
    need_peft("engine.lora.rank")
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=checked_targets(model, targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "adapters"))
        inject_adapter_in_model(config, model)
    for parameter in model.parameters():
        if parameter.requires_grad and torch.finfo(parameter.dtype).bits < 32:
            parameter.data = parameter.data.float()


def checked_targets(model: Any, targets: str | Sequence[str]) -> list[str]:
    """The last parts of the names of the layers that get adapters."""
    head = model.get_output_embeddings()
    known = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    if targets == ALL:
        return sorted(known)
    wanted = [targets] if isinstance(targets, str) else list(targets)
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(
                f"the model has no linear layer `{name}`" + (f"; {hint}" if hint else ""),
                where="engine.lora.targets",
                remedy=f"{ALL}, or some of {', '.join(sorted(known))}",
            )
    return wanted


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers with adapters and their names; none on a model without."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def has_adapters(model: Any) -> bool:
    return next(layers(model), None) is not None


@contextlib.contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """The base model alone, for as long as the context lasts: the reference of a KL divergence."""
    own = [layer for _, layer in layers(model)]
    for layer in own:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in own:
            layer.enable_adapters(True)


# ---- tensors -------------------------------------------------------------------------------------
def adapter_tensors(model: Any) -> dict[str, Tensor]:
    """The adapters' own weights, by the names of peft's files."""
    own = ((name, p) for name, p in model.named_parameters() if ".lora_" in name)
    return {name_in_file(name): parameter.detach() for name, parameter in own}


def name_in_file(parameter: str) -> str:
    """What a parameter of an adapter is called in peft's files.

    >>> name_in_file("model.layers.0.self_attn.q_proj.lora_A.default.weight")
    'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'
    """
    return PREFIX + parameter.replace(".default.", ".")


@torch.no_grad()
def merged_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The model's weights under their plain names, adapters merged in, one tensor at a time.

    For a sampler that takes whole weights. The model stays as it is; without adapters these are
    its own weights, as `named_parameters` lists them.
    """
    adapted = dict(layers(model))
    for name, tensor in model.named_parameters():
        if ".lora_" in name:
            continue
        owner, _, leaf = name.rpartition(".base_layer.")
        if owner in adapted and leaf == "weight":
            yield f"{owner}.{leaf}", merged_weight(adapted[owner])
        else:
            yield name.replace(".base_layer.", "."), tensor.detach()


def merged_weight(layer: Any) -> Tensor:
    """W + alpha / rank B A, summed in float32 and rounded once to the type of W."""
    weight: Tensor = layer.base_layer.weight.detach()
    wide = torch.promote_types(weight.dtype, torch.float32)
    delta: Tensor = layer.get_delta_weight("default").to(wide)
    return (weight.to(wide) + delta).to(weight.dtype)


@torch.no_grad()
def merge(model: Any) -> None:
    """Make an ordinary model of one with adapters, in place; all its weights can learn again."""
    for name, layer in list(layers(model)):
        layer.base_layer.weight.data = merged_weight(layer)
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, layer.base_layer)
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(True)


# ---- folders -------------------------------------------------------------------------------------
def save(model: Any, folder: Path, base: str, tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapters of a model as peft does, with the model's configuration beside them.

    tensors: what `adapter_tensors` gives, where it must be put together first.
    """
    from safetensors.torch import save_file

    config = model.peft_config["default"]
    config.base_model_name_or_path = base
    config.save_pretrained(folder)
    _sort_targets(folder / CONFIG)
    own = adapter_tensors(model) if tensors is None else tensors
    held = {name: tensor.cpu().contiguous() for name, tensor in own.items()}
    save_file(held, folder / WEIGHTS, metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)


def _sort_targets(file: Path) -> None:
    """peft writes a set in any order; two runs of one seed have the same files."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def load(model: Any, folder: Path) -> None:
    """Bring the adapters of a model to what `save` wrote. Raises `ModelError` where they are not
    of this model and rank, or not finite."""
    own = adapter_tensors(model)
    with safe_open(folder / WEIGHTS, "pt") as saved:
        names = set(saved.keys())
        shapes = {name: list(saved.get_slice(name).get_shape()) for name in names}
        wrong = sorted(names ^ own.keys())
        wrong += [n for n in names & own.keys() if shapes[n] != list(own[n].shape)]
        if wrong:
            raise ModelError(
                f"these adapters do not fit the model ({', '.join(wrong[:3])})",
                where=str(folder),
                remedy="take the base model, rank and targets that they were trained with",
            )
        for name, tensor in own.items():
            found = saved.get_tensor(name)
            if not bool(torch.isfinite(found).all()):
                raise ModelError(
                    f"`{name}` holds numbers that are not finite",
                    where=str(folder),
                    remedy="take an earlier checkpoint: with such weights every answer is noise",
                )
            tensor.copy_(found)


def apply(model: Any, folder: Path) -> None:
    """Put the adapters of a folder on their base model and merge them, in place."""
    need_peft(str(folder))
    from peft import PeftConfig, inject_adapter_in_model

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    inject_adapter_in_model(config, model)
    for _, layer in layers(model):
        for part in (layer.lora_A, layer.lora_B):
            part.float()  # as they were trained; the sum is rounded once
    load(model, folder)
    merge(model)
