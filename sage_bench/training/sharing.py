"""One batch of problems, rolled out by several ranks and known to all of them afterwards.

Every rank then sees the groups of all, in the order one process would have them: what comes after
(dynamic sampling, the ledger, the update) is computed alike everywhere.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from sage_bench.engines.ranks import Ranks
from sage_bench.methods.base import Context, Method
from sage_bench.methods.driver import Collected
from sage_bench.training.checkpoint import state_of
from sage_bench.types import Problem
from sage_bench.utils.errors import TrainingError

Roll = Callable[[Sequence[Problem]], list[Collected]]
_ABSENT = object()


def rolled_by_all(
    ranks: Ranks, method: Method, context: Context, problems: Sequence[Problem], roll: Roll
) -> list[Collected]:
    """The groups of all problems, in order; each rank rolls out its share.

    What the method keeps from step to step, and what it recorded of problems, is brought together
    too. Raises `TrainingError` where ranks changed the same part of a method's state.
    """
    if ranks.size == 1:
        return roll(problems)
    before = copy.deepcopy(state_of(method, context.step))
    events, trail = context.events, context.trail
    # only what this batch adds: it is summed over ranks below
    context.events, context.trail = defaultdict(Counter), defaultdict(list)
    own = roll(ranks.share(problems))
    after = state_of(method, context.step)
    found: dict[str, list[Collected]] = defaultdict(list)
    states = []
    added = (dict(context.events), dict(context.trail))
    for items, state, (new_events, new_trail) in ranks.gather((own, after, added)):
        states.append(state)
        for item in items:
            found[item.group.problem.uid].append(item)
        for uid, counts in new_events.items():
            events[uid].update(counts)
        for uid, attempts in new_trail.items():
            trail[uid] += attempts
    context.events, context.trail = events, trail
    together = merged(before, states)
    if together != after:
        method.load_state_dict(together)
    return [item for problem in problems for item in found[problem.uid]]


def merged(before: Any, states: Sequence[Any], place: str = "") -> Any:
    """State after several ranks went on from `before`, each with other problems.

    Dicts are merged by key, numbers are added up, lists are what all ranks appended.

    >>> merged({"level": {"a": 0}, "seen": 2}, [{"level": {"a": 1}, "seen": 3}, {"level": {"b": 0,
    ...     "a": 0}, "seen": 4}])
    {'level': {'a': 1, 'b': 0}, 'seen': 5}
    """
    if all(isinstance(state, dict) for state in states):
        known = before if isinstance(before, dict) else {}
        names = dict.fromkeys(name for state in (known, *states) for name in state)
        both = {}
        for name in names:
            theirs = [state.get(name, _ABSENT) for state in states]
            both[name] = merged(known.get(name, _ABSENT), theirs, f"{place}.{name}".strip("."))
        return {name: value for name, value in both.items() if value is not _ABSENT}
    changed = [state for state in states if state is not before and state != before]
    if not changed:
        return before
    if all(state == changed[0] for state in changed) and not _counts(changed[0], before):
        return changed[0]
    if len(changed) == 1:
        return changed[0]
    return _added_up(before, changed, place)


def _counts(value: Any, before: Any) -> bool:
    """A number two ranks raised alike counts twice; two ranks that set the same text agree."""
    return _number(value) and _number(before)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _added_up(before: Any, changed: Sequence[Any], place: str) -> Any:
    if _number(before) and all(map(_number, changed)):
        return before + sum(value - before for value in changed)
    if isinstance(before, list) and all(
        isinstance(value, list) and value[: len(before)] == before for value in changed
    ):
        return [*before, *(new for value in changed for new in value[len(before) :])]
    raise TrainingError(
        f"two ranks changed the method's state `{place}` in different ways",
        where="state_dict",
        remedy="keep state by problem (a dict with uids as keys), or train in one process",
    )
