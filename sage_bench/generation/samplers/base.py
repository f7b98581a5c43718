"""The one door for sampled text: what every sampler is, whoever asks.

Rollouts, validation, evaluation, judges and teachers send `Sample`s and get `Completion`s. A
sampler of your own is a class with `render`, `draw` and `fingerprint`; the rest has defaults:

    @register_sampler("parrot")
    class Parrot(Sampler):
        def __init__(self, model: str, word: str = "ah"):
            self.model, self.word = model, word

        def render(self, messages):
            return messages[-1]["content"]

        def draw(self, samples):
            for i, sample in enumerate(samples):
                yield i, Completion(text=f"{self.word} {sample.prompt}")

        def fingerprint(self):
            return {"sampler": "parrot", "word": self.word}

`sage-bench eval --sampler parrot --sampler-option word=oh` finds it by an entry point of the group
`sage_bench.samplers`. To sample rollouts it must also give the tokens and their log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sage_bench.generation.prompts import Renderer
from sage_bench.types import Completion, Prompt, Row, Sample, TokenIds
from sage_bench.utils.errors import SageBenchError

Result = TypeVar("Result")

# what samplers of a training run measure of themselves; metrics.jsonl has them under these names
MEASURED = frozenset(
    {
        "weight_syncs",
        "probe_gap",
        "probe_gap_max",
        "sampler_restarts",
        "continued",
        "seconds/weight_sync",
        "recorded",
        "drawn_live",
    }
)


class Sampler:
    """Draws completions.

    block: samples that must be drawn together to repeat bit for bit (numerics of a batch depend on
    its shape); 1 where each sample stands alone: then all missing samples are handed to `draw` at
    once, and each is stored when it comes. context: most tokens of prompt and completion together,
    None where it is not known here. longer: what to type for a longer context, where there is such
    a thing. wants_gold: gold answers are told to it by `know` (a fake; nothing that is measured may
    see them). source: what completions are taken from where nothing is drawn (a record, with its
    digest); "" where they are drawn.
    """

    block: int = 1
    context: int | None = None
    longer: str = ""
    wants_gold: bool = False
    source: str = ""

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt of a chat, as `draw` will find it in `Sample.prompt`."""
        raise NotImplementedError

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        """(index, completion) as they finish, in any order. Every request is for one completion
        and has its seed (`Sample.units`); a completion is a function of prompt, params and seed."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts of a seed and prompt: weights, template, tokenizer, number
        type."""
        raise NotImplementedError

    def ids(self, prompt: Prompt) -> TokenIds | None:
        """Token ids of a rendered prompt; None where only the server knows."""
        return None if isinstance(prompt, str) else prompt

    def count(self, prompt: Prompt) -> int | None:
        """Tokens of a rendered prompt; None where only the server knows."""
        ids = self.ids(prompt)
        return None if ids is None else len(ids)

    def text_of(self, completion: Completion) -> str:
        """The completion as text, end tokens and other specials left out."""
        return completion.text or ""

    def know(self, key: tuple[str | int, ...], gold: str) -> None:
        """The gold answer of the requests with this key, before `draw`; only where `wants_gold`."""

    def open(self, folder: Path) -> None:
        """Called with the run folder before anything is drawn: the place for logs."""

    def close(self) -> None:
        """Ends what the sampler started (processes, connections)."""

    def round(self, work: Callable[[], Result]) -> Result:
        """What all processes of a run call around the requests of a round, each with its own."""
        return work()

    # ---- while a policy learns: what an engine tells a sampler that has a copy of its weights ----
    def weights_changed(self) -> None:
        """The policy's weights are others now: take them over before anything is drawn again."""

    def rest(self) -> None:
        """Nothing is drawn for a while (an update begins): device memory may be given up."""

    def measured(self) -> dict[str, float]:
        """Numbers for the log since the last call, by names of `MEASURED`."""
        return {}

    def identity(self) -> dict[str, str]:
        """Digests, by name, of what a run's completions are taken from: the run cannot go on with
        others."""
        return {}

    def with_old(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of completions it answered since the last update; with `old_logp` where other
        weights than those of now drew them."""
        return list(rows)

    # ---- the same for all ------------------------------------------------------------------------
    def complete(self, units: Sequence[Sample]) -> list[Completion]:
        """One completion for each request, in order; what `draw` passed over has failed."""
        out = [Completion(failed="the sampler gave no text")] * len(units)
        for i, completion in self.draw(units):
            out[i] = completion
        return out

    def answer(self, payloads: list[Sample]) -> list[list[Completion]]:
        """The service that `Consult` asks: all requests of a round in one call. Seeds hang on key
        and prompt, not on the batch."""
        units = [sample.units(after=(_words(sample.prompt),)) for sample in payloads]
        drawn = iter(self.complete([unit for own in units for unit in own]))
        return [[next(drawn) for _ in own] for own in units]

    def with_text(self, completion: Completion, sample: Sample, prompt_tokens: int) -> Completion:
        """A completion of tokens with its text, cut where a text of `stop` begins."""
        text = self.text_of(completion)
        cut = min((text.find(s) for s in sample.params.stop if s in text), default=-1)
        if cut < 0:
            return replace(completion, text=text, prompt_tokens=prompt_tokens)
        return replace(completion, text=text[:cut], finish="stop", prompt_tokens=prompt_tokens)


class TemplatedSampler(Sampler):
    """A sampler that has the policy's template and tokenizer here (`renderer`)."""

    renderer: Renderer

    def render(self, messages: list[dict[str, str]]) -> str:
        return self.renderer.chat(messages)

    def ids(self, prompt: Prompt) -> TokenIds:
        return self.renderer.ids(prompt) if isinstance(prompt, str) else prompt

    def text_of(self, completion: Completion) -> str:
        if completion.text is not None:
            return completion.text
        tokenizer = self.renderer.tokenizer
        text: str = tokenizer.decode(list(completion.tokens), skip_special_tokens=True)
        return text


def _words(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def draw_together(sampler: Sampler, asks: Sequence[Sample], seed: int) -> list[list[Completion]]:
    """All completions of a round of rollouts, those of one request together. Raises
    `SageBenchError` for one that cannot be learned from: the batch would be another than the seeds
    say. seed: of the run; each completion derives its own from it and its key."""
    units = [ask.units(seed) for ask in asks]
    drawn = sampler.complete([unit for own in units for unit in own])
    for completion in drawn:
        if completion.failed is not None or completion.logp is None:
            reason = completion.failed or "no log-probabilities"
            raise SageBenchError(
                f"a rollout brought nothing to learn from: {reason}",
                where=f"sampler {type(sampler).__name__}",
                remedy="a sampler of rollouts gives tokens and their log-probabilities",
            )
    rest = iter(drawn)
    return [[next(rest) for _ in own] for own in units]
