r"""Vectors told by their parts: `2\mathbf{i} - \mathbf{j}` is (2, -1), `\frac{1}{2} (2, 4)^T` is
(1, 2); lists with an ellipsis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sage_bench.grading.robust.read.forms import Form, Many, Matrix, Value, Words
from sage_bench.grading.robust.read.nodes import Node, Unreadable, exact, number, symbols
from sage_bench.grading.robust.compare.same import same

MOST = 200  # numbers an ellipsis may stand for
DOTS = Words("...")


def components(form: Form, other: Form) -> Many | None:
    r"""The components of a sum of `i`, `j`, `k` with numbers before them, where the other side is a
    vector; None for anything else.

    >>> from sage_bench.grading.robust.read.reader import read
    >>> found = components(read(r"2i - j")[0].form, read("(2, -1)")[0].form)
    >>> [str(exact(v.node)) for v in found.items], components(read("i + 1")[0].form, read("(1, 1)")[0].form)
    (['2', '-1'], None)
    """
    size = (
        len(other.items)
        if isinstance(other, Many) and other.ordered
        else len(other.rows) * len(other.rows[0])
        if isinstance(other, Matrix) and other.rows
        else 0
    )
    if not isinstance(form, Value) or form.unit is not None or size not in {2, 3}:
        return None
    names = ("i", "j", "k")[:size]
    node = _put(form.node, {}, imaginary=Node("sym", ("i",)))
    if not symbols(node) <= set(names) or not symbols(node) & {"j", "k"}:
        return None
    parts = [_put(node, {n: number(int(n == axis)) for n in names}) for axis in names]
    linear = same(_put(node, {n: number(0) for n in names}), number(0)) and same(
        _put(node, {n: number(x) for x, n in zip((2, 5, 11), names, strict=False)}),
        Node(
            "add",
            tuple(Node("mul", (number(x), p)) for x, p in zip((2, 5, 11), parts, strict=False)),
        ),
    )
    return Many(tuple(Value(p) for p in parts), "(", ")") if linear else None


def _put(node: Node, values: dict[str, Node], imaginary: Node | None = None) -> Node:
    if node.op == "sym":
        return values.get(node.args[0], node)
    if node == Node("const", ("i",)) and imaginary is not None:
        return imaginary
    return Node(
        node.op, tuple(_put(a, values, imaginary) if isinstance(a, Node) else a for a in node.args)
    )


def scaled(matrix: Matrix, factor: Node) -> Matrix:
    """Every entry times the factor. Raises `Unreadable` where an entry is no expression."""
    if not all(isinstance(x, Value) for row in matrix.rows for x in row):
        raise Unreadable("a matrix of something else")
    return Matrix(
        tuple(
            tuple(Value(Node("mul", (factor, x.node)), x.unit) for x in row) for row in matrix.rows
        )
    )  # type: ignore[union-attr]


def transposed(matrix: Matrix) -> Matrix:
    if len({len(row) for row in matrix.rows}) != 1:
        raise Unreadable("rows of several lengths")
    return Matrix(tuple(zip(*matrix.rows, strict=True)))


def without_dots(items: Sequence[Form]) -> list[Form]:
    r"""`1, 2, …, 5` written out where it counts in whole numbers with one step; anything else as it
    is.

    >>> five = [Value(number(n)) for n in (1, 2)] + [DOTS, Value(number(5))]
    >>> [str(exact(i.node)) for i in without_dots(five)], len(without_dots(five[:3]))
    (['1', '2', '3', '4', '5'], 3)
    """
    items = list(items)
    at = items.index(DOTS) if items.count(DOTS) == 1 else 0
    if not 0 < at < len(items) - 1:
        return items
    values = [
        exact(i.node) if isinstance(i, Value) and i.unit is None else None
        for i in (*items[:at], *items[at + 1 :])
    ]
    if any(v is None or v.denominator != 1 for v in values):
        head = values[:at]
        steps = {y - x for x, y in pairwise(head)} if None not in head else set()  # type: ignore[operator]
        return items[:2] + items[at:] if len(steps) == 1 and at > 2 else items  # 1, 2, 3, …, n
    whole = [int(v) for v in values]  # type: ignore[arg-type]
    step = whole[1] - whole[0] if at > 1 else 1
    if (
        step == 0
        or not 0 < (whole[at] - whole[at - 1]) * step
        or abs(whole[-1] - whole[0]) > MOST * abs(step)
    ):
        return items
    written = list(range(whole[0], whole[-1] + (1 if step > 0 else -1), step))
    return (
        [Value(number(n)) for n in written]
        if written[:at] == whole[:at] and written[len(written) - len(whole) + at :] == whole[at:]
        else items
    )
