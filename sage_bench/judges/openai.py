"""Any OpenAI-compatible endpoint as judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.generation.consult import ChatService
from sage_bench.judges.base import (
    Judge,
    Judging,
    Votes,
    judge_messages,
    read_judgement,
    reference_text,
)
from sage_bench.judges.registry import register_judge
from sage_bench.judges.trained import words_at
from sage_bench.methods.base import Context
from sage_bench.types import Consult, Problem, Sample, Sampling

ATTEMPTS = 2  # an unreadable reply is asked for once more


@register_judge("openai")
class OpenAIJudge(Judge):
    """A chat-completions endpoint (options: `sage_bench.generation.endpoint.Options`), with votes
    and unreadable replies as the policy judge.

    reference: whether the judge is shown the reference solution. words: folder of a trained judge
    that the endpoint serves, or YAML file of prompts, whose texts ask.

    A call that fails for good leaves its response without a vote; training goes on, and
    `judge_calls.jsonl` in the run folder says what happened.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        max_tokens: int = 1024,
        temperature: float = 0.6,
        reference: bool = True,
        words: str | None = None,
        **options: Any,
    ):
        self.reference = reference
        self.messages = words_at(words) if words is not None else None
        self.sampler = ChatService(model, name="judge", base_url=base_url, **options)
        self.max_tokens = max_tokens
        self.temperature = temperature

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        self.sampler.open(ctx.folder)
        prompts = [self._prompt(ctx, problem, steps) for steps in responses]
        out: list[Votes] = [[] for _ in responses]
        missing = [(i, vote) for i in range(len(responses)) for vote in range(votes)]
        for attempt in range(ATTEMPTS):
            params = self._params(greedy=votes == 1 and attempt == 0)
            asks = [
                Sample(prompts[i], 1, params, purpose="judge", seed=1000 * attempt + vote)
                for i, vote in missing
            ]
            answers = yield [Consult(self.sampler, ask, purpose="judge") for ask in asks]
            unreadable = []
            for (i, vote), (reply,) in zip(missing, answers, strict=True):
                if reply.failed is not None:
                    # it had its tries, and is not asked for again
                    ctx.record(problem, "judge_call_failed")
                    continue
                valid, first = read_judgement(self.sampler.text_of(reply), len(responses[i]))
                if valid:
                    out[i].append(first)
                else:
                    unreadable.append((i, vote))
            missing = unreadable
            if not missing:
                break
        if missing:
            ctx.record(problem, "judge_unparsable", len(missing))
        return out

    def _params(self, *, greedy: bool) -> Sampling:
        return Sampling(0.0 if greedy else self.temperature, 1.0, self.max_tokens)

    def _prompt(self, ctx: Context, problem: Problem, steps: Sequence[str]) -> str:
        reference = reference_text(problem) if self.reference else None
        messages = self.messages or ctx.renderer
        system, user = judge_messages(messages, problem.question, reference, steps)
        return self.sampler.render(
            [{"role": "system", "content": system}, {"role": "user", "content": user}]
        )
