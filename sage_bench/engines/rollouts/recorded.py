"""`engine.rollouts=recorded:DIR`: completions that were drawn before, of a record in DIR."""

from __future__ import annotations

from pathlib import Path

from sage_bench.engines.rollouts.registry import (
    ROLLOUTS,
    LearningPolicy,
    kind_and_argument,
    register_rollouts,
)
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.sampler import Recorded, check_policy, policy_digests
from sage_bench.generation.samplers.base import Sampler
from sage_bench.utils.errors import UsageError


@register_rollouts("recorded")
def recorded(policy: LearningPolicy, argument: str) -> Sampler:
    """What was drawn before, from a record: `recorded:DIR`.

    Raises `UsageError` where no record is named or another policy drew it, `DataError` where it
    cannot be read."""
    config = policy.config
    if not argument:
        raise UsageError(
            "no record is named",
            where="engine.rollouts: recorded",
            remedy="write engine.rollouts=recorded:DIR (`sage-bench record --out DIR` makes one)",
        )
    if config.log.groups != "none":
        raise UsageError(
            "the groups of a run on a record are recorded already",
            where="log.groups",
            remedy="leave it out, or draw live (engine.rollouts=local)",
        )
    settings = config.engine.recorded
    live, behind = kind_and_argument(settings.live)
    if live == "recorded":
        raise UsageError(
            "a record does not draw", where="engine.recorded.live", remedy="name local, or vllm"
        )
    record = Record.open(Path(argument))
    now = policy_digests(policy.renderer, policy.digest())
    check_policy(record, now, other_weights=settings.other_weights)
    return Recorded(
        record,
        ROLLOUTS.get(live)(policy, behind),
        policy.renderer,
        weights=policy.digest,
        match=settings.match,
        missing=settings.missing,
        score=policy.score,
        probe_rows=config.engine.probe_rows,
        max_gap=config.engine.max_logprob_gap,
    )
