r"""How far a number is from a decimal gold, for tasks that ask for a tolerance."""

from __future__ import annotations

from itertools import product

import mpmath

from sage_bench.grading.robust.read.exact import literal
from sage_bench.grading.robust.read.forms import Named, Reading, Value
from sage_bench.grading.robust.read.nodes import Kind, Node, Unreadable, number, symbols
from sage_bench.grading.robust.read.numeric import Undefined, evaluate
from sage_bench.grading.robust.read.quantity import with_letter_unit
from sage_bench.grading.robust.read.readings import read
from sage_bench.grading.robust.text.units import agree
from sage_bench.grading.worker import Reply


def distance(gold: str, answer: str) -> Reply:
    r"""|answer - gold| / |gold| under `distance`, left out where a tolerance has no meaning.

    It has one where the gold is written as a decimal and the answer is a number in units that
    agree. A whole number is exact: 12 ways are not 12.01. Runs in a worker process.

    >>> round(distance("9.80 m/s^2", "9.81")["distance"], 6), "distance" in distance("12", "12.01")
    (0.00102, False)
    >>> "distance" in distance("9.80 m/s^2", r"9.81\text{ m/s}")
    False
    """
    none: Reply = {"correct": False, "status": "ok"}
    try:
        pairs = product(map(_value, read(gold)), map(_value, read(answer)))
        found = [_between(g, a) for g, a in pairs if g is not None and a is not None]
    except (Unreadable, RecursionError):
        return none
    known = [d for d in found if d is not None]
    return {**none, "distance": min(known)} if known else none


def _value(reading: Reading) -> Value | None:
    form = reading.form.value if isinstance(reading.form, Named) else reading.form
    if not isinstance(form, Value):
        return None
    if not symbols(form.node):
        return form
    named = None if form.unit else with_letter_unit(form.node)  # 9.81 m/s^2 outside a text command
    return Value(*named) if named and not symbols(named[0]) else None


def _between(gold: Value, answer: Value) -> float | None:
    written = literal(gold.node.args[0] if gold.node.kind is Kind.PCT else gold.node)
    if written is None or written.is_whole:
        return None
    if gold.unit is not None and answer.unit is not None and not agree(gold.unit, answer.unit):
        return None
    if (gold.node.kind is Kind.PCT) != (answer.node.kind is Kind.PCT):
        return None
    both = gold.unit is not None and answer.unit is not None
    try:
        g, a = (evaluate(_in_base(v) if both else v.node, {}) for v in (gold, answer))
    except Undefined:
        return None
    if g == 0 or isinstance(g, mpmath.mpc) or isinstance(a, mpmath.mpc):
        return None
    return float(abs(a - g) / abs(g))


def _in_base(value: Value) -> Node:
    assert value.unit is not None
    return Node(Kind.MUL, (value.node, number(value.unit.size)))
