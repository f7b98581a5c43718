"""The local sampler: the one training uses, on a CPU or one GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sage_bench.engines.local.policy import load_policy
from sage_bench.engines.local.sampler import Draw
from sage_bench.engines.local.sampler import Sampler as LocalSampler
from sage_bench.errors import UsageError
from sage_bench.evaluation.samplers.base import Ask, Text
from sage_bench.prompts import Renderer
from sage_bench.registry import register_sampler

WHOLE = 1 << 26  # weight files up to this size are hashed whole, larger ones by size and their first and last part


@register_sampler("local")
class Local:
    """Our own sampler on a transformers model. Use `vllm` for long completions of large models."""

    block = 128

    def __init__(self, model: str, *, dtype: str = "auto", device: str = "auto", revision: str | None = None, wave_tokens: int = 1 << 18, **template: Any):
        self.path = model
        self.policy = load_policy(model, dtype=dtype, device=device, revision=revision)
        self.renderer = Renderer(self.policy.tokenizer, template_options=template)
        self.sampler = LocalSampler(self.policy, wave_tokens=wave_tokens)

    def render(self, messages: list[dict[str, str]]) -> str:
        return self.renderer.chat(messages)

    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text]]:
        prompts = [self.renderer.ids(a.prompt) for a in asks]
        for prompt, ask in zip(prompts, asks, strict=True):
            if len(prompt) + ask.params.max_tokens > self.policy.context:
                raise UsageError(
                    f"a prompt of {len(prompt)} tokens and {ask.params.max_tokens} new ones do not fit the model's context of {self.policy.context}",
                    where=self.path, remedy="lower --max-tokens",
                )
        completions = self.sampler.draw([Draw(p, a.params, a.seed) for p, a in zip(prompts, asks, strict=True)])
        for i, (completion, ask) in enumerate(zip(completions, asks, strict=True)):
            text, finish = self.policy.tokenizer.decode(list(completion.tokens), skip_special_tokens=True), completion.finish
            cut = min((text.find(u) for u in ask.until if u in text), default=-1)
            if cut >= 0:
                text, finish = text[:cut], "stop"
            yield i, Text(text, finish, len(prompts[i]), len(completion.tokens))

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts: weights, tokenizer, template, number type."""
        tokenizer = self.policy.tokenizer
        return {
            "weights": hash_weights(self.path), "template": _sha(tokenizer.chat_template), "vocabulary": _sha(repr(sorted(tokenizer.get_vocab().items()))),
            "dtype": str(self.policy.dtype), "template_options": self.renderer.template_options,
        }


def hash_weights(path: str) -> str:
    """Hash of the weight files of a folder; of the name for a Hub id."""
    files = sorted(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    digest = hashlib.sha256(b"" if files else path.encode())
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as f:
            if size <= WHOLE:
                digest.update(f.read())
            else:
                digest.update(f.read(WHOLE // 2))
                f.seek(-WHOLE // 2, 2)
                digest.update(f.read())
    return digest.hexdigest()[:16]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
