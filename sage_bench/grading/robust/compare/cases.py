"""When two answers in cases are the same."""

from __future__ import annotations

from collections.abc import Callable

from sage_bench.grading.robust.read.forms import Case, Cases, Form

Same = Callable[[Form, Form], bool]


def same_cases(g: Cases, a: Cases, same: Same) -> bool:
    """The same values for the same conditions, in any order.

    "Otherwise" on one side stands for the one condition that is left on the other.
    """
    if len(g.cases) != len(a.cases):
        return False
    left = list(a.cases)
    rest: list[Case] = []
    for ours in g.cases:
        at = next((i for i, theirs in enumerate(left) if _same_case(ours, theirs, same)), None)
        if at is None:
            rest.append(ours)
        else:
            del left[at]
    if not rest:
        return True
    if len(rest) > 1 or (rest[0].condition is not None and left[0].condition is not None):
        return False
    return same(rest[0].value, left[0].value)


def _same_case(g: Case, a: Case, same: Same) -> bool:
    if g.condition is None or a.condition is None:
        return False
    return same(g.condition, a.condition) and same(g.value, a.value)
