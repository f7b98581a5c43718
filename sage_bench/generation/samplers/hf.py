"""The local sampler: the one training uses, on transformers weights, on a CPU or one GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.local.sampler import Draw
from sage_bench.generation.local.sampler import Sampler as LocalSampler
from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import Ask, Sampler, Text
from sage_bench.generation.templates import chat_renderer
from sage_bench.generation.weights import hash_weights, short_sha
from sage_bench.utils.errors import UsageError


@register_sampler("local")  # its name before there were others
@register_sampler("hf")
class Hf(Sampler):
    """Our own sampler on a transformers model: every token is a pure function of seed and position.
    `vllm` is for long completions of large models."""

    block = 128

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        revision: str | None = None,
        wave_tokens: int = 1 << 18,
        chat_template: str = "auto",
        template: Mapping[str, Any] | None = None,
    ):
        self.path = model
        self.policy = load_policy(model, dtype=dtype, device=device, revision=revision)
        self.renderer = chat_renderer(self.policy.tokenizer, chat_template, template)
        self.context = self.policy.context
        self.sampler = LocalSampler(self.policy, wave_tokens=wave_tokens)

    def render(self, messages: list[dict[str, str]]) -> str:
        return self.renderer.chat(messages)

    def count(self, prompt: str) -> int:
        return len(self.renderer.ids(prompt))

    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text]]:
        prompts = [self.renderer.ids(a.prompt) for a in asks]
        for prompt, ask in zip(prompts, asks, strict=True):
            if (
                len(prompt) + ask.params.max_tokens > self.policy.context
            ):  # never a silent cut; `StoreLM` says it earlier and names the question
                raise UsageError(
                    f"a prompt of {len(prompt)} tokens and {ask.params.max_tokens} new ones do not"
                    f" fit the model's context of {self.policy.context}",
                    where=self.path,
                    remedy="lower --max-tokens",
                )
        completions = self.sampler.draw(
            [Draw(p, a.params, a.seed) for p, a in zip(prompts, asks, strict=True)]
        )
        for i, (completion, ask) in enumerate(zip(completions, asks, strict=True)):
            text, finish = (
                self.policy.tokenizer.decode(list(completion.tokens), skip_special_tokens=True),
                completion.finish,
            )
            cut = min((text.find(u) for u in ask.until if u in text), default=-1)
            if cut >= 0:
                text, finish = text[:cut], "stop"
            yield i, Text(text, finish, len(prompts[i]), len(completion.tokens))

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts: weights, tokenizer, template, number type."""
        tokenizer = self.policy.tokenizer
        return {
            "weights": hash_weights(
                self.path, getattr(self.policy.model.config, "_commit_hash", None)
            ),
            "template": short_sha(self.renderer.template),
            "vocabulary": short_sha(repr(sorted(tokenizer.get_vocab().items()))),
            "dtype": str(self.policy.dtype),
            "template_options": self.renderer.template_options,
        }
