"""A method that asks for three rounds a step and always has a signal: coins decide the reward."""

from __future__ import annotations

from sage_bench.backends.controls import RandomReward
from sage_bench.methods.base import Program
from sage_bench.methods.registry import register_backend
from sage_bench.types import Problem


@register_backend("three_rounds")
class ThreeRounds(RandomReward):
    """Trains on the third of three attempts."""

    def roll(self, problem: Problem) -> Program:
        yield from self.attempt(problem)
        yield from self.attempt(problem)
        return (yield from super().roll(problem))
