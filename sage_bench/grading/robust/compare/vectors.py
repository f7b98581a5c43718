r"""Vectors told by their parts: `2\mathbf{i} - \mathbf{j}` is (2, -1)."""

from __future__ import annotations

from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.read.forms import Form, Many, Matrix, Value
from sage_bench.grading.robust.read.nodes import (
    IMAGINARY,
    Kind,
    Node,
    number,
    substitute,
    symbol,
    symbols,
)

AXES = (symbol("i"), symbol("j"), symbol("k"))
TRIED = (2, 5, 11)  # any three numbers show whether a sum is linear


def components(form: Form, other: Form) -> Many | None:
    r"""The components of a sum of `i`, `j`, `k` with numbers before them, where other is a vector.

    None for anything else.

    >>> from sage_bench.grading.robust.read.readings import read
    >>> from sage_bench.grading.robust.read.exact import exact
    >>> vector = read("(2, -1)")[0].form
    >>> [str(exact(v.node)) for v in components(read("2i - j")[0].form, vector).items]
    ['2', '-1']
    >>> components(read("i + 1")[0].form, vector)
    """
    size = _size(other)
    if not isinstance(form, Value) or form.unit is not None or size not in {2, 3}:
        return None
    axes = AXES[:size]
    node = substitute(form.node, {IMAGINARY: AXES[0]})
    names = symbols(node)
    if not names <= {a.args[0] for a in axes} or not names & {"j", "k"}:
        return None
    parts = [_at(node, axes, [int(axis == a) for a in axes]) for axis in axes]
    at_zero = _at(node, axes, [0] * size)
    terms = [Node(Kind.MUL, (number(x), p)) for x, p in zip(TRIED, parts, strict=False)]
    linear = same(at_zero, number(0)) and same(
        _at(node, axes, list(TRIED[:size])), Node(Kind.ADD, tuple(terms))
    )
    return Many(tuple(map(Value, parts)), "(", ")") if linear else None


def _size(form: Form) -> int:
    """How many components a vector has; 0 for anything else."""
    if isinstance(form, Many) and form.ordered:
        return len(form.items)
    if isinstance(form, Matrix) and form.rows:
        return len(form.rows) * len(form.rows[0])
    return 0


def _at(node: Node, axes: tuple[Node, ...], values: list[int]) -> Node:
    numbers = [number(v) for v in values]
    return substitute(node, dict(zip(axes, numbers, strict=True)))
