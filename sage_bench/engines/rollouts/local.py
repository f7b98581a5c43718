"""`engine.rollouts=local`: the engine's own sampler, on the weights that learn."""

from __future__ import annotations

from sage_bench.engines.rollouts.registry import LearningPolicy, no_argument, register_rollouts
from sage_bench.generation.live.parts import InParts
from sage_bench.generation.samplers.base import Sampler


@register_rollouts("local")
def local(policy: LearningPolicy, argument: str) -> Sampler:
    """The engine's own sampler, on the weights that learn."""
    no_argument("local", argument)
    return in_parts(policy, policy.local)


def in_parts(policy: LearningPolicy, sampler: Sampler) -> Sampler:
    """The sampler, with stragglers continued together where the run asks for it."""
    first = policy.config.sampling.max_tokens_first
    return InParts(sampler, first) if first else sampler
