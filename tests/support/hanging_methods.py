"""Methods that never come to an end, each in its way."""

from __future__ import annotations

import time

from sage_bench.methods.base import Method
from sage_bench.methods.registry import register_backend
from sage_bench.types import Sample


class _Never(Method):
    def credit(self, group):
        return []


@register_backend("asks_for_ever")
class AsksForEver(_Never):
    """Yields requests for ever."""

    def roll(self, problem):
        while True:
            yield [Sample(self.ctx.prompt(problem), 1, self.ctx.sampling)]


@register_backend("sleeps")
class Sleeps(_Never):
    """Hangs between two rounds."""

    def roll(self, problem):
        yield [Sample(self.ctx.prompt(problem), 1, self.ctx.sampling)]
        time.sleep(60)
