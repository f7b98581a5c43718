"""Stragglers: completions longer than a first length are cut there and continued together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sage_bench.generation.samplers.base import Result, Sampler
from sage_bench.types import Completion, Prompt, Sample, TokenIds
from sage_bench.utils.seeds import derive_seed


class InParts(Sampler):
    """A sampler that draws `first` tokens of everything, and then what is not finished.

    The second part continues prompt and tokens of the first under a seed derived from the
    request's, so a completion is distributed as if it had been drawn at once, and none is dropped;
    its tokens are others than without the switch. Requests with texts that end them are drawn
    whole.
    """

    def __init__(self, sampler: Sampler, first: int):
        self.sampler = sampler
        self.first = first
        self.block = sampler.block
        self.context = sampler.context
        self.longer = sampler.longer
        self.continued = 0

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        begun = self.sampler.complete([self._beginning(sample) for sample in samples])
        rest = [i for i, c in enumerate(begun) if self._is_cut(samples[i], c)]
        self.continued += len(rest)
        more = self.sampler.complete([self._rest(samples[i], begun[i]) for i in rest])
        for i, completion in zip(rest, more, strict=True):
            begun[i] = joined(begun[i], completion)
        for i, completion in enumerate(begun):
            if isinstance(samples[i].prompt, str) and completion.text is None:
                completion = self.with_text(completion, samples[i], begun[i].prompt_tokens)
            yield i, completion

    def _beginning(self, sample: Sample) -> Sample:
        params = sample.params
        if params.stop or params.max_tokens <= self.first:
            return sample
        return replace(sample, params=replace(params, max_tokens=self.first))

    def _is_cut(self, sample: Sample, completion: Completion) -> bool:
        """It has the first length and no end, and both limits leave room for more."""
        params = sample.params
        if params.stop or completion.failed is not None or completion.finish != "length":
            return False
        if not len(completion.tokens) == self.first < params.max_tokens:
            return False
        prompt = self.ids(sample.prompt) or ()
        return self.context is None or len(prompt) + self.first < self.context

    def _rest(self, sample: Sample, begun: Completion) -> Sample:
        prompt = self.ids(sample.prompt) or ()
        left = sample.params.max_tokens - len(begun.tokens)
        return replace(
            sample,
            prompt=(*prompt, *begun.tokens),
            params=replace(sample.params, max_tokens=left),
            seed=derive_seed(sample.seed or 0, "continued"),
        )

    # ---- everything else is the sampler's ----
    def render(self, messages: list[dict[str, str]]) -> str:
        return self.sampler.render(messages)

    def ids(self, prompt: Prompt) -> TokenIds | None:
        return self.sampler.ids(prompt)

    def text_of(self, completion: Completion) -> str:
        return self.sampler.text_of(completion)

    def fingerprint(self) -> dict[str, Any]:
        return {**self.sampler.fingerprint(), "max_tokens_first": self.first}

    def open(self, folder: Path) -> None:
        self.sampler.open(folder)

    def close(self) -> None:
        self.sampler.close()

    def round(self, work: Callable[[], Result]) -> Result:
        return self.sampler.round(work)

    def weights_changed(self) -> None:
        self.sampler.weights_changed()

    def rest(self) -> None:
        self.sampler.rest()

    def measured(self) -> dict[str, float]:
        found = {**self.sampler.measured(), "continued": float(self.continued)}
        self.continued = 0
        return found


def joined(first: Completion, second: Completion) -> Completion:
    """A completion from its two parts; one whose second part failed has failed."""
    if second.failed is not None:
        return second
    logp = None
    if first.logp is not None and second.logp is not None:
        logp = torch.cat([first.logp, second.logp])
    # its text is that of all tokens together: a character may lie across the cut
    return replace(
        first,
        tokens=first.tokens + second.tokens,
        logp=logp,
        finish=second.finish,
        text=None,
        counted=first.counted + second.counted,
    )
