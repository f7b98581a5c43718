"""Matrices and the lists an ellipsis stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Form, Matrix, Value, Words
from sage_bench.grading.robust.read.nodes import Kind, Node, Unreadable, number
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.text.tokens import Token, split

MOST = 200  # numbers an ellipsis may stand for
DOTS = Words("...")
_TRANSPOSED = {"^T", "^\\top"}
_TIMES = {"\\cdot", "\\times", "*"}


def matrix(tokens: list[Token], item: Callable[[list[Token]], Form]) -> Matrix:
    r"""`\frac{1}{2} \begin{matrix} 2 & 4 \end{matrix}^T`; item reads an entry.

    Raises `Unreadable` where something else stands beside it.
    """
    begin = next(i for i, t in enumerate(tokens) if t.text == "\\begin")
    end = next((i for i, t in enumerate(tokens) if t.text == "\\end"), len(tokens))
    before = tokens[:begin]
    after = "".join(t.text for t in tokens[end + 4 :] if t.text not in "{}")
    named = tokens[begin + 2 : begin + 3] == [Token("word", "matrix")]
    if not named or end == len(tokens) or after not in {"", *_TRANSPOSED}:
        raise Unreadable("a matrix among other things")
    lines = [line for line in split(tokens[begin + 4 : end], lambda t: t.text == "\\\\") if line]
    rows = [tuple(item(c) for c in split(line, lambda t: t.text == "&")) for line in lines]
    found = Matrix(tuple(rows))
    if before and before[-1].text in _TIMES:
        before = before[:-1]
    if before:
        minus = [t.text for t in before] == ["-"]
        found = _scaled(found, number(-1) if minus else parse(before))
    return _transposed(found) if after else found


def without_transpose(tokens: list[Token]) -> list[Token]:
    """`(1, 2)^T` without its sign: a tuple stands for a row and for a column."""
    close = max((i for i, t in enumerate(tokens) if t.text in {")", "]"}), default=0)
    sign = "".join(t.text for t in tokens[close + 1 :] if t.text not in "{}")
    is_tuple = any(t.text == "," for t in tokens[:close]) and tokens[0].text in {"(", "["}
    return tokens[: close + 1] if sign in _TRANSPOSED and is_tuple else tokens


def _scaled(of: Matrix, factor: Node) -> Matrix:
    rows = [tuple(_times(factor, entry) for entry in row) for row in of.rows]
    return Matrix(tuple(rows))


def _times(factor: Node, entry: Form) -> Value:
    if not isinstance(entry, Value):
        raise Unreadable("a matrix of something else")
    return Value(Node(Kind.MUL, (factor, entry.node)), entry.unit)


def _transposed(of: Matrix) -> Matrix:
    if len({len(row) for row in of.rows}) != 1:
        raise Unreadable("rows of several lengths")
    return Matrix(tuple(zip(*of.rows, strict=True)))


def without_dots(items: Sequence[Form]) -> list[Form]:
    r"""`1, 2, …, 5` written out where it counts in whole numbers with one step; else as it is.

    >>> five = [Value(number(n)) for n in (1, 2)] + [DOTS, Value(number(5))]
    >>> [str(exact(i.node)) for i in without_dots(five)], len(without_dots(five[:3]))
    (['1', '2', '3', '4', '5'], 3)
    """
    items = list(items)
    at = items.index(DOTS) if items.count(DOTS) == 1 else 0
    if not 0 < at < len(items) - 1:
        return items
    values = [_whole(item) for item in (*items[:at], *items[at + 1 :])]
    shown = [v for v in values if v is not None and v.denominator == 1]
    if len(shown) < len(values):
        return _shortened(items, at)
    counted = _counted([int(v) for v in shown], at)
    return items if counted is None else [Value(number(n)) for n in counted]


def _whole(item: Form) -> Fraction | None:
    return exact(item.node) if isinstance(item, Value) and item.unit is None else None


def _shortened(items: list[Form], at: int) -> list[Form]:
    """`1, 2, 3, …, n` as `1, 2, …, n`: the step is known from the first two."""
    head = [_whole(item) for item in items[:at]]
    known = [v for v in head if v is not None]
    steps = {y - x for x, y in pairwise(known)}
    regular = len(known) == len(head) and len(steps) == 1 and at > 2
    return items[:2] + items[at:] if regular else items


def _counted(shown: list[int], at: int) -> list[int] | None:
    """All numbers of a progression whose first `at` and last ones are shown, or None."""
    step = shown[1] - shown[0] if at > 1 else 1
    if step == 0 or (shown[at] - shown[at - 1]) * step <= 0:
        return None
    if abs(shown[-1] - shown[0]) > MOST * abs(step):
        return None
    written = list(range(shown[0], shown[-1] + (1 if step > 0 else -1), step))
    rest = len(written) - len(shown) + at
    return written if written[:at] == shown[:at] and written[rest:] == shown[at:] else None
