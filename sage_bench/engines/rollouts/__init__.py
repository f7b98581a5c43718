"""Who draws the completions of a training run: the switch `engine.rollouts`, for every engine."""

from __future__ import annotations

from sage_bench.engines.rollouts.registry import ROLLOUTS, LearningPolicy, kind_and_argument
from sage_bench.generation.samplers.base import Sampler


def rollout_sampler(policy: LearningPolicy) -> Sampler:
    """The sampler of the run: the engine's own, or one that draws elsewhere from the learner's
    weights, or takes what was drawn before. Raises `UsageError` for what cannot be drawn so."""
    kind, argument = kind_and_argument(policy.config.engine.rollouts)
    return ROLLOUTS.get(kind)(policy, argument)
