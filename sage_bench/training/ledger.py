"""What happened to every group, and what a step amounts to. Pure functions of what `collect`
returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from sage_bench.methods.base import Attempt, Context
from sage_bench.methods.driver import Collected, Usage
from sage_bench.types import Group

Outcome = Literal["mixed", "rescued", "graded", "dead_wrong", "dead_right", "no_rollout"]


def outcome(group: Group, live: bool) -> Outcome:
    """mixed: right and wrong completions without a hint; rescued: the first right one came under a
    hint; graded: all wrong, but partial credit or a trace gave a signal (`live`); dead_wrong and
    dead_right: all rewards equal, no signal; no_rollout: the method does not sample (SFT)."""
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
    """One JSON row a group and step. dropped: rolled out, but left out of the update (dynamic
    sampling). scores: only where they are not the verifier's rewards (partial credit). part: only
    of a problem's further groups; what its way cost and what happened stands at the first."""
    group, usage = item.group, item.usage
    attempts: Sequence[Attempt] = context.trail.get(group.problem.uid, [])
    events: Mapping[str, int] = context.events.get(group.problem.uid, {})
    if item.part:
        usage, attempts, events = Usage(), [], {}
    trained = sum(len(r.tokens) for r in item.rows if bool((r.advantage != 0).any()))
    return {
        "step": step,
        "uid": group.problem.uid,
        "outcome": outcome(group, trained > 0),
        "level": group.level,
        "reward": round(float(group.rewards.mean()), 6) if len(group.rewards) else None,
        "plain_reward": (
            round(attempts[0].reward, 6) if attempts and attempts[0].level == 0 else None
        ),
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
        **(
            {"scores": [round(float(s), 6) for s in group.scores]}
            if group.scores is not None
            else {}
        ),
        **({"part": item.part} if item.part else {}),
    }


def step_metrics(
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    stats: Mapping[str, float],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The numbers of one step, from its ledger rows and what the learner reported."""
    n = max(len(rows), 1)
    counts = Counter(r["outcome"] for r in rows)
    levels = Counter(r["level"] for r in rows if r["outcome"] == "rescued")
    lengths = [len(c.tokens) for g in groups for c in g.completions]
    plain = [r["plain_reward"] for r in rows if r["plain_reward"] is not None]
    events: Counter[str] = Counter()
    for r in rows:
        events.update(r["events"])
    rollouts = sum(r["rollouts"] for r in rows)
    return {
        "reward": _mean(r["reward"] for r in rows),
        "plain_reward": _mean(plain),
        "length": _mean(lengths),
        "dead_wrong": counts["dead_wrong"] / n,
        "dead_right": counts["dead_right"] / n,
        "rescued": counts["rescued"] / n,
        "mixed": counts["mixed"] / n,
        "graded": counts["graded"] / n,
        "dropped": sum(r["dropped"] for r in rows) / n,
        "groups": len(rows),
        "hinted": sum(r["level"] > 0 for r in rows) / n,
        **{f"rescued_level_{k}": v / n for k, v in sorted(levels.items())},
        "rollouts": rollouts,
        "extra_rollouts": (
            rollouts
            - sum(len(g.completions) for g, r in zip(groups, rows, strict=True) if not r["dropped"])
        ),
        "tokens": sum(r["tokens"] + r["hint_tokens"] for r in rows),
        "trained_tokens": sum(r["trained_tokens"] for r in rows),
        "truncated": sum(r["truncated"] for r in rows) / max(rollouts, 1),
        "hint_calls": sum(r["hint_calls"] for r in rows),
        "judge_calls": sum(r["judge_calls"] for r in rows),
        "hint_failures": events["hint_failed"] + events["hint_level_missing"],
        **{f"events/{k}": v for k, v in sorted(events.items())},
        **{f"learner/{k}": v for k, v in stats.items()},
        **{f"seconds/{k}": round(v, 3) for k, v in seconds.items()},
    }


def no_signal_share(rows: Iterable[Mapping[str, Any]], until: int | None = None) -> float | None:
    """Share of the prompts seen that never gave a signal: no right completion, hinted ones included
    (SAGE table 2), and no partial credit or trace in its place. None when none was seen.

    >>> rows = [
    ...     {"step": 0, "uid": "a", "reward": 0.0},
    ...     {"step": 1, "uid": "a", "reward": 0.1},
    ...     {"step": 1, "uid": "b", "reward": 0.0},
    ... ]
    >>> no_signal_share(rows)
    0.5
    """
    best: dict[str, float] = {}
    for row in rows:
        if row["reward"] is not None and (until is None or row["step"] < until):
            best[row["uid"]] = max(
                best.get(row["uid"], 0.0), row["reward"], float(row.get("outcome") == "graded")
            )
    return sum(b <= 0 for b in best.values()) / len(best) if best else None


def _mean(values: Iterable[float | None]) -> float | None:
    kept = [v for v in values if v is not None]
    return fmean(kept) if kept else None
