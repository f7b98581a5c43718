"""A control for the story of HINT: the second draw without the hint."""

from sage_bench.backends.hint import HINT
from sage_bench.methods.base import Program
from sage_bench.methods.registry import register_backend
from sage_bench.types import Problem


@register_backend("second_try")
class SecondTry(HINT):
    """HINT whose hint says nothing: a group that failed is drawn again from the question."""

    source = "a control of ours"

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        if group.solved:
            return group
        return (yield from self.attempt(problem, 1))
