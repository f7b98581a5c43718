"""The exact judge of the tiny world."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.data.tiny_steps import NO_ERROR, chain_of, first_wrong_step
from sage_bench.judges.base import Judge, Judging, Votes
from sage_bench.judges.registry import register_judge
from sage_bench.methods.base import Context
from sage_bench.types import Problem


@register_judge("tiny_world")
class TinyWorld(Judge):
    """The exact first wrong step of a response to a problem of the tiny world, computed from the
    question alone; no judgement of other problems.

    A step that is left out, or not the next one, is wrong where it stands, whatever it computes.
    """

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        chain = chain_of(problem.question)
        if chain is None:
            ctx.record(problem, "not_of_the_tiny_world")
            return [[] for _ in responses]
        out: list[Votes] = []
        for steps in responses:
            first = first_wrong_step(chain, steps)
            vote = None if first == NO_ERROR else first + 1
            out.append([vote] * votes)
        return out
        yield  # a generator that asks for nothing
