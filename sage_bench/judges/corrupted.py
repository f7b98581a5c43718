"""A judge whose judgements are made wrong on purpose: how good must a judge be?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sage_bench.judges.base import Judge, Judging, Votes
from sage_bench.judges.registry import JUDGES, register_judge
from sage_bench.methods.base import Context
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError
from sage_bench.utils.seeds import derive_seed


@register_judge("corrupted")
class Corrupted(Judge):
    """Another judge (`judge`, with `options`), of whose judgements the share `share` is replaced by
    a wrong one: a step, or no error, drawn evenly from those it did not name.

    Which ones are replaced, and by what, hangs on `seed`, the seed of the run, the question, the
    steps and the number of the vote: a restart changes nothing, and equal responses are judged
    alike.
    """

    def __init__(
        self,
        judge: str = "tiny_world",
        share: float = 0.3,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ):
        if not 0 <= share <= 1:
            raise UsageError(
                f"`{share}` is not a share", where="share", remedy="give a number from 0 to 1"
            )
        self.inner: Judge = JUDGES.make(judge, dict(options or {}), "options of the judge")
        self.needs = self.inner.needs
        self.max_tokens = self.inner.max_tokens
        self.share = share
        self.seed = seed

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        judged = yield from self.inner.judge(ctx, problem, responses, votes)
        for steps, own in zip(responses, judged, strict=True):
            self._corrupt(ctx.seed, problem, steps, own)
        return judged

    def _corrupt(self, run: int, problem: Problem, steps: Sequence[str], own: Votes) -> None:
        """Replace some of the votes of one response, in place: a list without votes stays what it
        is."""
        for number, vote in enumerate(own):
            key = derive_seed("corrupted", self.seed, run, problem.question, *steps, number)
            rng = random.Random(key)
            if rng.random() < self.share:
                others = [v for v in (None, *range(1, len(steps) + 1)) if v != vote]
                own[number] = rng.choice(others)

    def close(self) -> None:
        self.inner.close()
