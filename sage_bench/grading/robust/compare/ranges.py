"""When two sets of real numbers are the same."""

from __future__ import annotations

from sage_bench.grading.robust.compare.decimals import same_number
from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.read.nodes import Node, symbols
from sage_bench.grading.robust.read.ranges import Piece, Pieces, end_value, is_infinite, merged


def same_pieces(a: Pieces, b: Pieces) -> bool:
    r"""Equal as sets; the variables' names must agree where both are given.

    >>> from sage_bench.grading.robust.read.ranges import pieces
    >>> from sage_bench.grading.robust.read.readings import read
    >>> def check(x, y): return same_pieces(pieces(read(x)[0].form), pieces(read(y)[0].form))
    >>> check("(3, 4]", r"3 < x \le 4"), check("[0,1]", "[0,1)"), check("x < 3", "y < 3")
    (True, False, False)
    >>> check(r"(-\infty, 2) \cup (2, \infty)", r"x \ne 2")
    True
    """
    if a.name and b.name and a.name.casefold() != b.name.casefold():
        return False
    one, two = merged(a.pieces), merged(b.pieces)
    if one is None or two is None:
        one, two = a.pieces, b.pieces
    return len(one) == len(two) and all(map(_same_piece, one, two))


def _same_piece(p: Piece, q: Piece) -> bool:
    if (p.has_low, p.has_high) != (q.has_low, q.has_high):
        return False
    return _same_end(p.low, q.low) and _same_end(p.high, q.high)


def _same_end(a: Node, b: Node) -> bool:
    if is_infinite(a) or is_infinite(b):
        return is_infinite(a) and is_infinite(b) and bool(end_value(a) == end_value(b))
    return bool(same(a, b) if symbols(a) else same_number(a, b))
