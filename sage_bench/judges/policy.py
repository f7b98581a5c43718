"""A language model of this machine as judge: the policy that is being trained, or another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sage_bench.config.models import path_of
from sage_bench.generation.prompts import Messages
from sage_bench.generation.registry import SAMPLERS
from sage_bench.generation.samplers.base import Sampler
from sage_bench.judges.base import (
    Judge,
    Judging,
    NotAsked,
    Votes,
    judge_messages,
    read_judgement,
    reference_text,
)
from sage_bench.judges.registry import register_judge
from sage_bench.judges.trained import MAX_TOKENS, messages_of, read_trained, words_at
from sage_bench.methods.base import Context
from sage_bench.types import Completion, Consult, Problem, Prompt, Request, Sample, Sampling

ATTEMPTS = 2  # an unreadable reply is asked for once more


@register_judge("policy")
class PolicyJudge(Judge):
    """The policy itself (default), or the model in folder `model`, asked for a JSON verdict;
    unreadable replies are asked for once more.

    model: a folder of `judge-train`, a model folder, a preset or a Hub id. max_tokens: longest
    verdict; null = as the judge was taught, else 1024. temperature: of several votes; one vote is
    greedy. reference: whether the judge is shown the reference solution. sampler: who draws for
    `model` (hf, vllm), with sampler_options. words: folder of a trained judge, or YAML file of
    prompts, whose texts ask; a trained judge has its own.
    """

    def __init__(
        self,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.6,
        reference: bool = True,
        sampler: str = "hf",
        sampler_options: Mapping[str, Any] | None = None,
        words: str | None = None,
    ):
        trained = read_trained(model) if model else None
        self.max_tokens = max_tokens or (trained.max_tokens if trained else MAX_TOKENS)
        self.temperature = temperature
        self.reference = reference
        self.messages: Messages | None = None  # None: the run's own texts
        if words is not None:
            self.messages = words_at(words)
        elif trained is not None:
            self.messages = messages_of(trained)
        self.other: Sampler | None = None
        if model:
            path = trained.model if trained else path_of(model)
            options = {"model": path, **dict(sampler_options or {})}
            self.other = SAMPLERS.make(sampler, options, "judge policy")
        self.needs = frozenset() if model else frozenset({"sample"})

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        prompts = [self._prompt(ctx, problem, steps) for steps in responses]
        limit = self._longest_prompt(ctx)
        out: list[Votes] = [[] if len(p) <= limit else NotAsked() for p in prompts]
        missing = {i: votes for i, prompt in enumerate(prompts) if len(prompt) <= limit}
        if len(missing) < len(prompts):
            ctx.record(problem, "judge_prompt_too_long", len(prompts) - len(missing))
        for attempt in range(ATTEMPTS):
            if not missing:
                break
            params = self._params(greedy=votes == 1 and attempt == 0)
            asks = [
                Sample(prompts[i], count, params, purpose="judge", key=("judge", attempt))
                for i, count in missing.items()
            ]
            answers = yield self._requests(asks)
            unreadable: dict[int, int] = {}
            for i, completions in zip(missing, answers, strict=True):
                for completion in completions:
                    text = self._text(ctx, completion)
                    valid, first = read_judgement(text, len(responses[i]))
                    if valid:
                        out[i].append(first)
                    else:
                        unreadable[i] = unreadable.get(i, 0) + 1
            missing = unreadable
        for count in missing.values():
            ctx.record(problem, "judge_unparsable", count)
        return out

    def close(self) -> None:
        if self.other is not None:
            self.other.close()

    def _params(self, *, greedy: bool) -> Sampling:
        return Sampling(0.0 if greedy else self.temperature, 1.0, self.max_tokens)

    def _requests(self, asks: list[Sample]) -> list[Request]:
        if self.other is None:
            return list(asks)
        return [Consult(self.other, ask, purpose="judge") for ask in asks]

    def _prompt(self, ctx: Context, problem: Problem, steps: Sequence[str]) -> Prompt:
        reference = reference_text(problem) if self.reference else None
        messages = self.messages or ctx.renderer
        system, user = judge_messages(messages, problem.question, reference, steps)
        if self.other is None:
            return ctx.renderer.ids(ctx.renderer.text(system, user))
        chat = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        rendered = self.other.render([m for m in chat if m["content"]])
        ids = self.other.ids(rendered)
        return rendered if ids is None else ids

    def _longest_prompt(self, ctx: Context) -> int:
        """What the context leaves beside the verdict. `max_prompt_tokens` is for questions, and a
        response alone may be longer."""
        context = ctx.context_tokens if self.other is None else self.other.context
        if context is not None:
            return context - self.max_tokens
        return ctx.max_prompt_tokens if self.other is None else 1 << 30

    def _text(self, ctx: Context, completion: Completion) -> str:
        return ctx.text(completion.tokens) if self.other is None else self.other.text_of(completion)
