"""Arbitrary constants and running letters: their names do not matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, permutations

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Named, Reading, Relation, Value
from sage_bench.grading.robust.read.nodes import (
    Node,
    names_in,
    number,
    renaming,
    substitute,
    symbol,
    symbols,
)

_CONSTANT = re.compile(r"[CK]|[cCkK]_\{?\d\}?")
_ALSO_CONSTANT = re.compile(r"[ABCDKck]|[cCkKAB]_\{?\d\}?")  # where the gold has a constant
_NUMBERED = re.compile(r"[cCkK]_\{?\d\}?")
_RUNNING = set("kmnjltpqr")
MOST = 3  # constants of one answer


def renamings(gold: Reading, answer: Reading) -> Iterator[dict[Node, Node]]:
    """The ways to call the answer's constants as the gold's; none where nothing is arbitrary."""
    ours, theirs = names_in(gold.form), names_in(answer.form)
    missing, extra = sorted(ours - theirs), sorted(theirs - ours)
    if not missing and not extra:
        numbered = sorted(n for n in ours if _NUMBERED.fullmatch(n))
        if 2 <= len(numbered) <= MOST:  # C_1 and C_2 may be exchanged
            for order in permutations(numbered):
                yield renaming(dict(zip(numbered, order, strict=True)))
        return
    if len(missing) != len(extra) or len(missing) > MOST:
        return
    if not isinstance(gold.form, (Value, Named, Relation)):
        return
    if not _are_arbitrary(gold, missing, answer, extra):
        return
    for order in permutations(missing):
        yield renaming(dict(zip(extra, order, strict=True)))


def _are_arbitrary(gold: Reading, missing: list[str], answer: Reading, extra: list[str]) -> bool:
    if len(missing) == 1 and _is_progression(gold.form, missing[0]) and set(extra) <= _RUNNING:
        return True
    of_function = isinstance(gold.form, Named) and bool(gold.form.parameters)
    ours = gold.arbitrary | (frozenset("ck") if of_function else frozenset())
    if not all(_CONSTANT.fullmatch(n) or n in ours for n in missing):
        return False
    if not all(_ALSO_CONSTANT.fullmatch(n) or n in answer.arbitrary for n in extra):
        return False
    # a constant alone is not a family: some variable has to stay
    variables = {n for n in names_in(gold.form) & names_in(answer.form) if n[0].islower()}
    return bool(variables) or of_function


def _is_progression(form: object, letter: str) -> bool:
    """`n = 6k + 1`: whole numbers in steps of more than one, told by a letter of their own."""
    if not isinstance(form, Named) or not isinstance(form.value, Value):
        return False
    node = form.value.node
    if symbols(node) != {letter} or letter not in _RUNNING or not re.fullmatch("[a-z]", form.name):
        return False
    values: list[Fraction] = []
    for k in range(4):
        value = exact(substitute(node, {symbol(letter): number(k)}))
        if value is None or value.denominator != 1:
            return False
        values.append(value)
    steps = {b - a for a, b in pairwise(values)}
    return len(steps) == 1 and abs(steps.pop()) > 1
