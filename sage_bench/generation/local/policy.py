"""A causal language model of transformers, loaded with clear errors and called the same way by
sampler and learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import Cache, DynamicCache

from sage_bench.generation.model_folders import first_line, load_tokenizer, remedy
from sage_bench.utils.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def pick_device(device: str = "auto") -> torch.device:
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    )


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """auto: bfloat16 on a GPU (the learner keeps fp32 masters), float32 on a CPU."""
    return (
        DTYPES[dtype]
        if dtype != "auto"
        else torch.bfloat16
        if device.type == "cuda"
        else torch.float32
    )


@dataclass
class Policy:
    """Weights, tokenizer and the two calls everything else is built from.

    hidden(input_ids) -> (R, T, H) and the cache; logits(hidden) -> (..., V) in float32. Applying
    the LM head apart lets the caller score completion tokens only. Where a model's logits are more
    than its head (soft caps, scales), the split is off (`split` False): `hidden` then returns
    logits and `logits` passes them through. context: most positions the model takes.
    """

    model: nn.Module
    tokenizer: Any
    path: str
    split: bool = True

    def __post_init__(self) -> None:
        self.device, self.dtype = (
            next(self.model.parameters()).device,
            next(self.model.parameters()).dtype,
        )
        self.eos_ids = _eos_ids(self.model, self.tokenizer)
        self.pad_id: int = (
            self.tokenizer.pad_token_id
            if self.tokenizer.pad_token_id is not None
            else min(self.eos_ids)
        )
        self.context: int = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
        self.split = self.split and self._head_is_all()
        windows = getattr(self.model.config, "layer_types", None) or ["full_attention"]
        # full attention everywhere, in an implementation that takes a mask of ours: the sampler
        # then builds it once
        self.dense_masks = set(windows) == {
            "full_attention"
        } and self.model.config._attn_implementation in {"sdpa", "eager"}

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
        T), or additive (R, 1, T, past + T).
        embeddings: (R, T, H) instead of ids, for gradients with respect to the input."""
        module = self.model.base_model if self.split else self.model
        out = module(
            input_ids=input_ids,
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return out.last_hidden_state if self.split else out.logits

    def logits(self, hidden: Tensor) -> Tensor:
        out = self.model.get_output_embeddings()(hidden) if self.split else hidden
        return out if out.dtype == torch.float64 else out.float()

    @torch.no_grad()
    def _head_is_all(self) -> bool:
        """True when logits = LM head (last hidden state); asked of the model itself instead of a
        list of model names."""
        if self.model.get_output_embeddings() is None or self.model.base_model is self.model:
            return False
        ids = (
            torch.arange(1, 5, device=self.device)[None]
            % self.model.config.get_text_config().vocab_size
        )
        whole = self.model(input_ids=ids, use_cache=False).logits
        ours = self.model.get_output_embeddings()(
            self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        )
        return whole.shape == ours.shape and torch.allclose(whole, ours, rtol=1e-3, atol=1e-3)


def _eos_ids(model: nn.Module, tokenizer: Any) -> frozenset[int]:
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


def load_policy(
    path: str, *, device: str = "auto", dtype: str = "auto", revision: str | None = None
) -> Policy:
    """Load weights and tokenizer from a folder or the Hub. Raises `ModelError` with the reason and
    what to do."""
    where = pick_device(device)
    tokenizer = load_tokenizer(path, revision)
    try:
        config = AutoConfig.from_pretrained(path, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(
            path, config=config, revision=revision, dtype=pick_dtype(dtype, where)
        )
    # safetensors raises its own types on torn files; whatever it is, the user needs the path
    except Exception as error:
        raise ModelError(
            f"the model does not load: {type(error).__name__}: {first_line(error)}",
            where=path,
            remedy=remedy(path),
        ) from error
    return Policy(model.to(where).eval(), tokenizer, path)
