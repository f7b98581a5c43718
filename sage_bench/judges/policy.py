"""A language model of this machine as judge: the policy that is being trained, or another local
model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.generation.prompts import Renderer
from sage_bench.judges.base import (
    Judging,
    Votes,
    judge_messages,
    read_judgement,
    reference_text,
)
from sage_bench.judges.registry import register_judge
from sage_bench.methods.base import Context
from sage_bench.types import Consult, Problem, Sample, Sampling, TokenIds


@register_judge("policy")
class PolicyJudge:
    """The policy itself (default), or the model in folder `model`, asked for a JSON verdict;
    unreadable replies are asked for once more.

    max_tokens: longest verdict. temperature: of several votes; one vote is greedy.
    """

    def __init__(self, model: str | None = None, max_tokens: int = 1024, temperature: float = 0.6):
        self.max_tokens, self.temperature = max_tokens, temperature
        self.other = LocalModel(model) if model else None

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        renderer = self.other.renderer if self.other else ctx.renderer
        prompts = [
            renderer.ids(
                renderer.text(
                    *judge_messages(renderer, problem.question, reference_text(problem), steps)
                )
            )
            for steps in responses
        ]
        params = Sampling(self.temperature if votes > 1 else 0.0, 1.0, self.max_tokens)
        out: list[Votes] = [[] for _ in responses]
        limit = self.other.policy.context - self.max_tokens if self.other else ctx.max_prompt_tokens
        fits = [i for i, p in enumerate(prompts) if len(p) <= limit]
        if len(fits) < len(prompts):
            ctx.record(problem, "judge_prompt_too_long", len(prompts) - len(fits))
        missing = {i: votes for i in fits}
        for attempt in range(2):
            if not missing:
                break
            again = (
                Sampling(max(params.temperature, self.temperature), 1.0, self.max_tokens)
                if attempt
                else params
            )
            order = list(missing)
            asks = [
                Sample(prompts[i], missing[i], again, purpose="judge", key=("judge", attempt))
                for i in order
            ]
            answers = yield (
                [Consult(self.other, a, purpose="judge") for a in asks]
                if self.other
                else list(asks)
            )
            missing = {}
            for i, completions in zip(order, answers, strict=True):
                for completion in completions:
                    valid, first = read_judgement(
                        renderer.tokenizer.decode(
                            list(completion.tokens), skip_special_tokens=True
                        ),
                        len(responses[i]),
                    )
                    if valid:
                        out[i].append(first)
                    else:
                        missing[i] = missing.get(i, 0) + 1
        for count in missing.values():
            ctx.record(problem, "judge_unparsable", count)
        return out


class LocalModel:
    """A second model as a service: one call draws all samples of a round. Seeds hang on prompt and
    key, not on the batch."""

    def __init__(self, model: str):
        from sage_bench.generation.local.policy import load_policy
        from sage_bench.generation.local.sampler import Sampler
        from sage_bench.generation.model_folders import model_path

        self.policy = load_policy(model_path(model))
        self.renderer = Renderer(self.policy.tokenizer)
        self.sampler = Sampler(self.policy)

    def answer(self, payloads: list[Sample]) -> list[Any]:
        from sage_bench.generation.local.sampler import Draw
        from sage_bench.utils.seeds import derive_seed

        draws = [
            Draw(a.prompt, a.params, derive_seed(*a.key, _text(a.prompt), k))
            for a in payloads
            for k in range(a.n)
        ]
        drawn = iter(self.sampler.draw(draws))
        return [[next(drawn) for _ in range(a.n)] for a in payloads]


def _text(prompt: TokenIds) -> str:
    return " ".join(map(str, prompt))
