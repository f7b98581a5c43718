"""A causal language model of transformers, loaded with clear errors and called the same way by
sampler and learner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from sage_bench.generation import adapters
from sage_bench.generation.model_folders import load_tokenizer, refused
from sage_bench.utils.errors import ModelError, UsageError, did_you_mean

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
HALF = (torch.bfloat16, torch.float16)


def pick_device(device: str = "auto") -> torch.device:
    """The device of a name. Raises `UsageError` for a name that is none, and for a device that is
    not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(
            f"`{device}` is not a device",
            where="model.device",
            remedy="give auto, cpu, cuda, cuda:1, ...",
        ) from None
    if found.type == "cuda":
        _check_gpu(found)
    elif found.type == "mps" and not torch.backends.mps.is_available():
        raise _no_device(device, "there is no Apple GPU here")
    return found


def _check_gpu(device: torch.device) -> None:
    if not torch.cuda.is_available():
        reason = "no GPU is visible" if torch.version.cuda else "this torch is built without CUDA"
        raise _no_device(str(device), reason)
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise _no_device(str(device), f"{count} GPUs are visible, counted from cuda:0")


def _no_device(device: str, reason: str) -> UsageError:
    return UsageError(
        f"device `{device}` cannot be used: {reason}",
        where="model.device",
        remedy="give cpu or auto, or look at `nvidia-smi` and CUDA_VISIBLE_DEVICES",
    )


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """auto: bfloat16 on a GPU (the learner keeps fp32 masters), float32 on a CPU."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        hint = did_you_mean(dtype, DTYPES)
        raise UsageError(
            f"`{dtype}` is not a number type" + (f"; {hint}" if hint else ""),
            where="model.dtype",
            remedy="give auto, " + ", ".join(DTYPES),
        )
    return DTYPES[dtype]


@dataclass
class Policy:
    """Weights, tokenizer and the two calls everything else is built from.

    hidden(input_ids) -> (R, T, H) and the cache; logits(hidden) -> (..., V) in float32. Applying
    the LM head apart lets the caller score completion tokens only. Where a model's logits are more
    than its head (soft caps, scales), the split is off (`split` False): `hidden` then returns
    logits and `logits` passes them through. context: most positions the model takes.

    Numerics of bfloat16 weights: the body runs in bfloat16, the head multiplies the bfloat16 hidden
    state with the bfloat16 head in float32, so that log-probabilities carry no rounding of the
    logits to 8 bits. With `split` off, logits are rounded by the model itself.
    """

    model: Any
    tokenizer: Any
    path: str
    split: bool = True

    def __post_init__(self) -> None:
        first = next(self.model.parameters())
        self.device: torch.device = first.device
        self.dtype: torch.dtype = first.dtype
        self.eos_ids = _eos_ids(self.model, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = min(self.eos_ids) if pad is None else pad
        self.context: int = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
        self.long_rope = pin_long_rope(self.model)
        self.split = self.split and self._head_is_all()
        # Full attention everywhere, in an implementation that takes a mask of ours: the sampler
        # then builds it once. The cache is asked, not `layer_types`: configurations of Mistral and
        # Phi-3 give a window and no list of layers.
        full = all(type(layer) is DynamicLayer for layer in self.new_cache().layers)
        self.dense_masks: bool = full and self.model.config._attn_implementation in {
            "sdpa",
            "eager",
        }

    def new_cache(self) -> Cache:
        return DynamicCache(config=self.model.config)

    def hidden(
        self,
        input_ids: Tensor | None,
        *,
        embeddings: Tensor | None = None,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Cache | None = None,
    ) -> Tensor:
        """(R, T, H) of the last layer, or logits when `split` is off. attention_mask: (R, past +
        T), or additive (R, 1, T, past + T). embeddings: (R, T, H) instead of ids, for gradients
        with respect to the input."""
        module = self.model.base_model if self.split else self.model
        out = module(
            input_ids=input_ids,
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state if self.split else out.logits
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V), float32 or wider."""
        out = head_logits(self.model.get_output_embeddings(), hidden) if self.split else hidden
        return out if out.dtype == torch.float64 else out.float()

    @torch.no_grad()
    def _head_is_all(self) -> bool:
        """True when logits = LM head (last hidden state); asked of the model itself instead of a
        list of model names."""
        if self.model.get_output_embeddings() is None or self.model.base_model is self.model:
            return False
        vocabulary = self.model.config.get_text_config().vocab_size
        ids = torch.arange(1, 5, device=self.device)[None] % vocabulary
        whole = self.model(input_ids=ids, use_cache=False).logits
        ours = self.model.get_output_embeddings()(
            self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        )
        return whole.shape == ours.shape and torch.allclose(whole, ours, rtol=1e-3, atol=1e-3)


class BasePolicy(Policy):
    """A policy with its adapters switched off: what it was before they learned anything.

    It shares the weights of the policy it is made of; there is no second copy.
    """

    def hidden(self, input_ids: Tensor | None, **how: Any) -> Tensor:
        with adapters.without_adapters(self.model):
            return super().hidden(input_ids, **how)

    def logits(self, hidden: Tensor) -> Tensor:
        with adapters.without_adapters(self.model):
            return super().logits(hidden)


def head_logits(head: nn.Module, hidden: Tensor) -> Tensor:
    """The LM head on hidden states (..., H), its products summed and kept in float32 where weights
    are half as wide. In float32 and float64 it is the head itself."""
    if not isinstance(head, nn.Linear) or head.weight.dtype not in HALF:
        out: Tensor = head(hidden)
        return out
    bias = None if head.bias is None else head.bias.float()
    return functional.linear(hidden.float(), head.weight.float(), bias)


def pin_long_rope(model: Any) -> bool:
    """Rotary embeddings that change with the length of the text (`longrope` of Phi-3) keep the long
    form for every length when the model's context is longer than what they were trained on first.

    Otherwise a completion that grows past that length has old keys in the short form and new ones
    in the long form, while the learner sees all in the long form. vLLM decides by the context, too.
    Returns whether there was something to pin.
    """
    pinned = False
    for module in model.modules():
        if getattr(module, "rope_type", None) != "longrope":
            continue
        parameters = module.config.rope_parameters
        original = parameters["original_max_position_embeddings"]
        if (getattr(module.config, "max_position_embeddings", None) or 0) <= original:
            continue
        long, _ = ROPE_INIT_FUNCTIONS["longrope"](
            module.config, module.inv_freq.device, seq_len=original + 1
        )
        module.original_inv_freq = long
        module.long_inv_freq = long
        module.inv_freq.copy_(long)
        pinned = True
    return pinned


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """All end tokens that generation config, model config or tokenizer declare (chat and base
    models differ)."""
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    if not found:
        raise ModelError(
            "no end-of-sequence token is declared",
            where=str(model.config._name_or_path),
            remedy="set eos_token_id in generation_config.json",
        )
    return frozenset(found)


# ---- loading -------------------------------------------------------------------------------------
def load_policy(
    path: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Policy:
    """Load weights and tokenizer from a folder or the Hub. Raises `ModelError` with the reason and
    what to do. trust_remote_code: run the Python code that a model folder may bring."""
    where = pick_device(device)
    number_type = pick_dtype(dtype, where)
    tokenizer = load_tokenizer(path, revision, trust_remote_code=trust_remote_code)
    model = load_model(path, number_type, revision, trust_remote_code=trust_remote_code)
    model = model.to(where).eval()
    check_finite(model, path)
    return Policy(model, tokenizer, path)


def load_model(
    path: str,
    dtype: torch.dtype,
    revision: str | None = None,
    *,
    trust_remote_code: bool = False,
) -> Any:
    """The weights of a folder or Hub id, all of them and nothing else. Raises `ModelError` naming
    tensors that are missing or left over. Adapters in a folder are merged into the model they name
    as their base."""
    base = adapters.base_of(path)
    if base is not None:
        model = load_model(base, dtype, trust_remote_code=trust_remote_code)
        adapters.apply(model, Path(path))
        return model
    try:
        config = AutoConfig.from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code
        )
        model, found = AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            revision=revision,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    # safetensors raises its own types on torn files; whatever it is, the user needs the path
    except Exception as error:
        raise refused(error, path, "the model does not load") from error
    check_all_there(found, path)
    return model


def check_all_there(found: dict[str, Any], path: str) -> None:
    """found: what transformers says of a load. A head that is tied to the embeddings is not
    missing."""
    missing, left_over = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    if not missing and not left_over:
        return
    parts = [f"{len(missing)} tensors are missing ({_some(missing)})"] if missing else []
    parts += [f"{len(left_over)} are not the model's ({_some(left_over)})"] if left_over else []
    raise ModelError(
        "these weights do not fit the model's configuration: " + "; ".join(parts),
        where=path,
        remedy="restore the folder from its source; config.json and weights must be of one model",
    )


def check_finite(model: Any, path: str) -> None:
    """Raise `ModelError` naming the tensors that hold NaN or infinity."""
    bad = non_finite(model)
    if bad:
        raise ModelError(
            f"{len(bad)} tensors hold numbers that are not finite ({_some(bad)})",
            where=path,
            remedy="take an earlier checkpoint: with such weights every answer is noise",
        )


@torch.no_grad()
def non_finite(model: Any) -> list[str]:
    """Names of the weights that hold NaN or infinity."""
    return [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]


def _some(names: list[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
