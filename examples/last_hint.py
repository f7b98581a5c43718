"""A method of one's own in one file: when a group fails, try the strongest hint at once.

sage-bench demo --methods grpo,sage,last_hint --backend-file examples/last_hint.py
"""

from sage_bench import register_backend
from sage_bench.backends.grpo import GRPO
from sage_bench.backends.sage import write_hints


@register_backend("last_hint")
class LastHint(GRPO):
    """GRPO that re-rolls a failed group once, with the strongest hint the policy writes."""

    def roll(self, problem):
        group = yield from self.attempt(problem)
        if group.solved:
            return group
        hints = yield from write_hints(self.ctx, problem)
        if hints and hints[-1]:
            group = yield from self.attempt(problem, level=len(hints), hint=hints[-1])
        return group
