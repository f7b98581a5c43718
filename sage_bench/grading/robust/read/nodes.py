"""Expressions as trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Unreadable(ValueError):
    """This text is not an expression we can read."""


class Conditional(Unreadable):
    """The answer says different things in different cases, or everything in its condition.

    Only the same words are the same answer.
    """


class Kind(StrEnum):
    """What a node is, with the arguments it has."""

    # leaves
    NUM = "num"  # Fraction, decimals shown or None
    SYM = "sym"  # name
    CONST = "const"  # pi, e, i, oo
    BASED = "based"  # digits, base
    ELLIPSIS = "ellipsis"
    # arithmetic
    ADD = "add"
    MUL = "mul"
    DIV = "div"
    POW = "pow"
    NEG = "neg"
    ROOT = "root"  # degree, radicand
    ABS = "abs"
    FACT = "fact"
    BINOM = "binom"
    FLOOR = "floor"
    CEIL = "ceil"
    # signs that may be either
    PM = "pm"
    MP = "mp"  # the opposite of PM
    # functions
    FN = "fn"  # name, arguments
    LOG = "log"  # base, argument
    APP = "app"  # name of an unknown function, arguments
    # notation
    DEG = "deg"  # degrees, minutes and seconds included
    PCT = "pct"
    DOTS = "dots"  # ADD or MUL, first term, last term, second term if there is one

    # Enum hashes by name, in Python; trees are looked up too often for that
    __hash__ = str.__hash__


class Node(NamedTuple):
    """A kind and its arguments: nodes, or plain values for leaves and names."""

    kind: Kind
    args: tuple[Any, ...] = ()


E = Node(Kind.CONST, ("e",))
IMAGINARY = Node(Kind.CONST, ("i",))
PI = Node(Kind.CONST, ("pi",))
INFINITY = Node(Kind.CONST, ("oo",))
ANY_BASE = Node(Kind.CONST, ("log",))  # of a logarithm that does not name its base


def number(value: int | Fraction, places: int | None = None) -> Node:
    """A number; places: the decimals it was written with."""
    return Node(Kind.NUM, (Fraction(value), places))


def symbol(name: str) -> Node:
    return Node(Kind.SYM, (name,))


def negative(node: Node) -> Node:
    return Node(Kind.NEG, (node,))


def difference(left: Node, right: Node) -> Node:
    return Node(Kind.ADD, (left, negative(right)))


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for a in node.args:
        if isinstance(a, Node):
            yield from walk(a)


def symbols(node: Node) -> frozenset[str]:
    """Names of the free symbols; functions that are only named are not among them."""
    return frozenset(n.args[0] for n in walk(node) if n.kind is Kind.SYM)


def names_in(thing: object) -> frozenset[str]:
    """The free symbols of a node, a reading's form, or a tuple of either."""
    if isinstance(thing, Node):
        return symbols(thing)
    parts: list[object] = []
    if isinstance(thing, tuple):
        parts = list(thing)
    elif is_dataclass(thing):
        parts = [getattr(thing, f.name) for f in fields(thing)]
    return frozenset(n for p in parts for n in names_in(p))


def substitute(thing: T, values: Mapping[Node, Node]) -> T:
    """A node, or a form that holds nodes, with leaves replaced.

    A symbol that becomes another symbol takes the functions of that name with it.

    >>> substitute(Node(Kind.ADD, (symbol("x"), number(1))), {symbol("x"): PI}).args[0] == PI
    True
    """
    if isinstance(thing, Node):
        return cast(T, _substitute(thing, values))
    if isinstance(thing, tuple):
        return cast(T, tuple(substitute(part, values) for part in thing))
    if is_dataclass(thing) and not isinstance(thing, type) and names_in(thing):
        changed = {f.name: substitute(getattr(thing, f.name), values) for f in fields(thing)}
        return replace(thing, **changed)
    return thing


def _substitute(node: Node, values: Mapping[Node, Node]) -> Node:
    if node.kind in (Kind.SYM, Kind.CONST):
        return values.get(node, node)
    args = tuple(_substitute(a, values) if isinstance(a, Node) else a for a in node.args)
    if node.kind is Kind.APP:
        renamed = values.get(symbol(str(args[0])))
        if renamed is not None and renamed.kind is Kind.SYM:
            args = (renamed.args[0], *args[1:])
    return Node(node.kind, args)


def renaming(names: Mapping[str, str]) -> dict[Node, Node]:
    """Names to names, as `substitute` wants them."""
    return {symbol(old): symbol(new) for old, new in names.items()}


def signs(node: Node) -> list[Node]:
    """The values a tree with plus-minus signs stands for: itself, or two (all signs go together).

    >>> [n.args[1].kind.value for n in signs(Node(Kind.ADD, (PI, Node(Kind.PM, (E,)))))]
    ['const', 'neg']
    """
    if not any(n.kind in (Kind.PM, Kind.MP) for n in walk(node)):
        return [node]
    return [_chosen(node, plus=True), _chosen(node, plus=False)]


def _chosen(node: Node, *, plus: bool) -> Node:
    args = tuple(_chosen(a, plus=plus) if isinstance(a, Node) else a for a in node.args)
    if node.kind not in (Kind.PM, Kind.MP):
        return Node(node.kind, args)
    positive = (node.kind is Kind.PM) == plus
    return cast(Node, args[0]) if positive else Node(Kind.NEG, args)
