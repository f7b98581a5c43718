"""Any OpenAI-compatible endpoint as judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.generation.endpoint import endpoint
from sage_bench.judges.base import (
    Judging,
    Votes,
    judge_messages,
    read_judgement,
    reference_text,
)
from sage_bench.judges.registry import register_judge
from sage_bench.methods.base import Context
from sage_bench.types import Consult, Problem


@register_judge("openai")
class OpenAIJudge:
    """A chat-completions endpoint (options: `sage_bench.generation.endpoint.Options`), with votes
    and unreadable replies as the policy judge.

    A call that fails for good leaves its response without a vote; training goes on, and
    `judge_calls.jsonl` in the run folder says what happened.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        max_tokens: int = 1024,
        temperature: float = 0.6,
        **options: Any,
    ):
        self.endpoint = endpoint({"base_url": base_url, **options}, name="judge")
        self.model, self.max_tokens, self.temperature = model, max_tokens, temperature

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        self.endpoint.open(ctx.folder)
        out: list[Votes] = [[] for _ in responses]
        missing = [(i, v) for i in range(len(responses)) for v in range(votes)]
        for attempt in range(2):
            payloads = [
                self._payload(ctx, problem, responses[i], v, attempt, votes) for i, v in missing
            ]
            replies = yield [Consult(self.endpoint, p, purpose="judge") for p in payloads]
            still = []
            for (i, v), reply in zip(missing, replies, strict=True):
                valid, first = (
                    read_judgement(reply, len(responses[i])) if reply is not None else (False, None)
                )
                if valid:
                    out[i].append(first)
                elif reply is not None:
                    still.append(
                        (i, v)
                    )  # garbage is asked for once more; a call that failed for good had its retries
                else:
                    ctx.record(problem, "judge_call_failed")
            missing = still
            if not missing:
                break
        if missing:
            ctx.record(problem, "judge_unparsable", len(missing))
        return out

    def _payload(
        self,
        ctx: Context,
        problem: Problem,
        steps: Sequence[str],
        vote: int,
        attempt: int,
        votes: int,
    ) -> dict[str, Any]:
        system, user = judge_messages(
            ctx.renderer, problem.question, reference_text(problem), steps
        )
        return {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature if votes > 1 or attempt else 0.0,
            "seed": 1000 * attempt + vote,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        }
