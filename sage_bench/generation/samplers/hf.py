"""Our own sampler: the one training uses, on transformers weights, on a CPU or one GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import HALF, Policy, load_policy
from sage_bench.generation.model_folders import template_options_of
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import TemplatedSampler
from sage_bench.generation.templates import chat_renderer
from sage_bench.generation.weights import hash_tensors, hash_weights, short_sha
from sage_bench.types import Completion, Sample, TokenIds
from sage_bench.utils.errors import UsageError

WAVE_TOKENS = 1 << 18


@register_sampler("local")  # its name before there were others
@register_sampler("hf")
class Hf(TemplatedSampler):
    """Our own sampler on a transformers model: every token is a pure function of seed and position.
    `vllm` is for long completions of large models.

    A request in token ids is answered in tokens alone, a request in text with the text as well.
    """

    block = 128

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device: str = "auto",
        revision: str | None = None,
        wave_tokens: int = WAVE_TOKENS,
        cuda_graphs: bool = False,
        chat_template: str = "auto",
        template: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
    ):
        policy = load_policy(
            model,
            dtype=dtype,
            device=device,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        options = template_options_of(model, template)
        renderer = chat_renderer(policy.tokenizer, chat_template, options)
        self._take(
            policy, renderer, Decoder(policy, wave_tokens=wave_tokens, cuda_graphs=cuda_graphs)
        )

    @classmethod
    def of(
        cls,
        policy: Policy,
        *,
        wave_tokens: int = WAVE_TOKENS,
        cuda_graphs: bool = False,
        template_options: Mapping[str, Any] | None = None,
    ) -> Hf:
        """The sampler of a policy that is in memory: an engine's, while it learns.

        Where the context ends before `max_tokens`, its completions end there ("length"); a policy
        from a folder refuses such a request.
        """
        sampler = cls.__new__(cls)
        renderer = Renderer(policy.tokenizer, template_options=dict(template_options or {}))
        decoder = Decoder(policy, wave_tokens=wave_tokens, cuda_graphs=cuda_graphs)
        sampler._take(policy, renderer, decoder, live=True)
        return sampler

    def _take(
        self, policy: Policy, renderer: Renderer, decoder: Decoder, live: bool = False
    ) -> None:
        self.policy = policy
        self.path = policy.path
        self.renderer = renderer
        self.live = live
        self.context = policy.context
        self.decoder = decoder

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        prompts = [self.ids(s.prompt) for s in samples]
        if not self.live:
            self._check_room(samples, prompts)
        units = [replace(s, prompt=p) for s, p in zip(samples, prompts, strict=True)]
        for i, completion in enumerate(self.decoder.draw(units)):
            if isinstance(samples[i].prompt, str):
                completion = self.with_text(completion, samples[i], len(prompts[i]))
            yield i, completion

    def _check_room(self, samples: Sequence[Sample], prompts: Sequence[TokenIds]) -> None:
        """Never a silent cut. Evaluation says it earlier and names the question."""
        for sample, prompt in zip(samples, prompts, strict=True):
            new = sample.params.max_tokens
            if len(prompt) + new > self.policy.context:
                raise UsageError(
                    f"a prompt of {len(prompt)} tokens and {new} new ones do not fit the model's"
                    f" context of {self.policy.context}",
                    where=self.path,
                    remedy="lower --max-tokens",
                )

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts: weights, tokenizer, template, number type."""
        policy = self.policy
        if self.live:
            weights = hash_tensors(policy.model.state_dict())
        else:
            weights = hash_weights(policy.path, getattr(policy.model.config, "_commit_hash", None))
        found = {
            "weights": weights,
            "template": short_sha(self.renderer.template),
            "vocabulary": short_sha(repr(sorted(policy.tokenizer.get_vocab().items()))),
            "dtype": str(policy.dtype),
            "template_options": self.renderer.template_options,
        }
        # what later versions compute otherwise than earlier ones, where it applies
        if policy.dtype in HALF:
            found["head"] = "float32"
        if policy.long_rope:
            found["rope"] = "long"
        return found
