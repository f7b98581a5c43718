"""Policies with random weights of stated sizes, and prompts of stated lengths."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from sage_bench.generation.local.policy import Policy

VOCABULARY = 8000
CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
# hidden size, layers; the names say millions of parameters with 8,000 tokens
SIZES = {"5M": (256, 4), "13M": (384, 6), "50M": (640, 10)}
PAD, END = 0, 1


def make_tokenizer() -> Any:
    """Words w2, w3, ...: one token each, so that a prompt's length is its number of words."""
    words = {"<pad>": PAD, "<end>": END, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w2"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )
    fast.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return fast


def make_folder(architecture: str, size: str = "5M", vocabulary: int = VOCABULARY) -> Path:
    """A model folder under a temporary folder. The tokenizer knows 8,000 words whatever the
    vocabulary of the model."""
    hidden, layers = SIZES[size]
    config = CONFIGS[architecture](
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=END,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="benchmark-")) / architecture
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def make_policy(architecture: str, size: str = "5M", vocabulary: int = VOCABULARY) -> Policy:
    """The same policy at every call."""
    folder = make_folder(architecture, size, vocabulary)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return Policy(model, make_tokenizer(), str(folder))


def make_prompts(count: int, length: int) -> list[tuple[int, ...]]:
    """Different prompts of one length."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(2, VOCABULARY, (count, length), generator=generator)
    return [tuple(row) for row in ids.tolist()]
