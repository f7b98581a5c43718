"""What happened to every group, and what a step amounts to.

Pure functions of what `sage_bench.methods.driver.collect` returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from sage_bench.generation.samplers.base import MEASURED
from sage_bench.methods.base import Attempt, Context
from sage_bench.methods.driver import Collected, Usage
from sage_bench.types import Group

Outcome = Literal["mixed", "rescued", "graded", "dead_wrong", "dead_right", "no_rollout"]


def outcome(group: Group, live: bool) -> Outcome:
    """What became of a group. live: some token of it has an advantage.

    mixed: right and wrong completions without a hint; rescued: the first right one came under a
    hint; graded: all wrong, but partial credit or a trace gave a signal; dead_wrong and dead_right:
    all rewards equal, no signal; no_rollout: the method does not sample (SFT).
    """
    if not len(group.rewards):
        return "no_rollout"
    if bool(group.rewards.max() <= 0):
        return "graded" if live else "dead_wrong"
    if group.level > 0:
        return "rescued"
    return "dead_right" if bool(group.rewards.min() == group.rewards.max()) else "mixed"


def ledger_row(
    step: int, item: Collected, context: Context, *, dropped: bool = False
) -> dict[str, Any]:
    """The ledger's row of one group in one step, JSON-able.

    dropped: rolled out, but left out of the update (dynamic sampling). scores: only where they are
    not the verifier's rewards (partial credit). part: only of a problem's further groups; what its
    way cost and what happened stands at the first.
    """
    group, usage = item.group, item.usage
    attempts: Sequence[Attempt] = context.trail.get(group.problem.uid, [])
    events: Mapping[str, int] = context.events.get(group.problem.uid, {})
    if item.part:
        usage, attempts, events = Usage(), [], {}
    # rows without an advantage have no gradient: they are not trained on
    trained = sum(len(r.tokens) for r in item.rows if bool((r.advantage != 0).any()))
    row = {
        "step": step,
        "uid": group.problem.uid,
        "outcome": outcome(group, trained > 0),
        "level": group.level,
        "reward": round(float(group.rewards.mean()), 6) if len(group.rewards) else None,
        "plain_reward": _plain_reward(attempts),
        "trail": [[a.level, round(a.reward, 6)] for a in attempts],
        "rollouts": usage.rollouts,
        "tokens": usage.tokens,
        "truncated": usage.truncated,
        "trained_tokens": 0 if dropped else trained,
        "dropped": dropped,
        "hint_calls": usage.hint_calls,
        "hint_tokens": usage.hint_tokens,
        "judge_calls": usage.judge_calls,
        "rounds": usage.rounds,
        "status": dict(Counter(group.notes.get("status", []))),
        "events": dict(events),
    }
    if group.scores is not None:
        row["scores"] = [round(float(s), 6) for s in group.scores]
    if usage.failed_calls:
        row["failed_calls"] = usage.failed_calls
    if item.part:
        row["part"] = item.part
    return row


def _plain_reward(attempts: Sequence[Attempt]) -> float | None:
    """Mean reward without a hint; None where the method did not try without."""
    if not attempts or attempts[0].level > 0:
        return None
    return round(attempts[0].reward, 6)


def step_metrics(
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    stats: Mapping[str, float],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The numbers of one step, from its ledger rows and what the learner reported.

    rows and groups belong together, one by one. stats: of the engine's update; seconds: of the
    step's parts.
    """
    # what methods recorded of their problems, under whatever names they chose
    events: Counter[str] = Counter()
    for row in rows:
        events.update(row["events"])
    metrics: dict[str, Any] = {
        "reward": _mean(row["reward"] for row in rows),
        "plain_reward": _mean(row["plain_reward"] for row in rows),
        "length": _mean(len(c.tokens) for group in groups for c in group.completions),
    }
    metrics |= _outcome_shares(rows)
    metrics |= _costs(rows, groups)
    metrics["hint_failures"] = events["hint_failed"] + events["hint_level_missing"]
    metrics |= {f"events/{k}": v for k, v in sorted(events.items())}
    # the sampler's numbers have names of their own, those of the learner a common beginning
    metrics |= {k if k in MEASURED else f"learner/{k}": v for k, v in stats.items()}
    metrics |= {f"seconds/{k}": round(v, 3) for k, v in seconds.items()}
    return metrics


def _outcome_shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What share of the groups ended how."""
    total = max(len(rows), 1)
    counts = Counter(row["outcome"] for row in rows)
    shares: dict[str, Any] = {
        name: counts[name] / total
        for name in ("dead_wrong", "dead_right", "rescued", "mixed", "graded")
    }
    shares["dropped"] = sum(row["dropped"] for row in rows) / total
    shares["groups"] = len(rows)
    shares["hinted"] = sum(row["level"] > 0 for row in rows) / total
    levels = Counter(row["level"] for row in rows if row["outcome"] == "rescued")
    for level, count in sorted(levels.items()):
        shares[f"rescued_level_{level}"] = count / total
    return shares


def _costs(rows: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> dict[str, Any]:
    """What the step sampled. Rollouts that no update saw are `extra_rollouts`."""
    rollouts = sum(row["rollouts"] for row in rows)
    used = 0
    for group, row in zip(groups, rows, strict=True):
        if not row["dropped"]:
            used += len(group.completions)
    return {
        "rollouts": rollouts,
        "extra_rollouts": rollouts - used,
        "tokens": sum(row["tokens"] + row["hint_tokens"] for row in rows),
        "trained_tokens": sum(row["trained_tokens"] for row in rows),
        "truncated": sum(row["truncated"] for row in rows) / max(rollouts, 1),
        "hint_calls": sum(row["hint_calls"] for row in rows),
        "judge_calls": sum(row["judge_calls"] for row in rows),
        "failed_calls": sum(row.get("failed_calls", 0) for row in rows),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    kept = [v for v in values if v is not None]
    return fmean(kept) if kept else None
