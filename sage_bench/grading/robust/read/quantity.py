"""A number or an expression with its unit: `\\$12.50`, `3 km/h`, `5 feet 6 inches`, `2 million`,
`30 square units`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from sage_bench.grading.robust.read.forms import Form, Value
from sage_bench.grading.robust.read.nodes import Node, Unreadable, exact, number, symbols
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.text.tokens import Token, depth_of, text_of
from sage_bench.grading.robust.text.units import Unit, agree, letter_unit, read_unit

_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_BOUND = re.compile(
    r"\bat (?:most|least)\b|\bor"
    r" (?:more|less|fewer|greater|higher)\b|\b(?:maximum|minimum)$|\bthan\b|^(?:plus|minus|times|squared|cubed|divided)\b",
    re.I,
)
_PARTS = {
    "halves": 2,
    "thirds": 3,
    "fourths": 4,
    "fifths": 5,
    "sixths": 6,
    "sevenths": 7,
    "eighths": 8,
    "ninths": 9,
    "tenths": 10,
    "hundredths": 100,
    "thousandths": 1000,
}
_MONEY = {"\\$": "dollar", "£": "£", "€": "euro"}


def quantity(tokens: list[Token]) -> tuple[Node, Unit | None]:
    r"""The expression and its unit. Raises `Unreadable`.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> from sage_bench.grading.robust.read.nodes import exact
    >>> def q(text): node, unit = quantity(tokenize(clean(text))); return str(exact(node)), unit and unit.dimensions
    >>> texts = r"\$12.50", "3 km/h", "5 feet 6 inches", "2 million people", "7 square units"
    >>> tuple(map(q, texts))  # doctest: +NORMALIZE_WHITESPACE
    (('25/2', (('money', 1),)), ('3', (('length', 1), ('time', -1))), ('11/2', (('length', 1),)),
    ('2000000', (('people', 1),)), ('7', (('unit', 2),)))
    """
    money = next(
        (
            i
            for i, t in enumerate(tokens[:2])
            if t.text in _MONEY and all(u.text in "+-" for u in tokens[:i])
        ),
        None,
    )
    unit = None
    if money is not None:
        unit = read_unit(_MONEY[tokens[money].text])
        tokens = tokens[:money] + tokens[money + 1 :]
    tokens = _feet_and_inches(tokens)
    cut = next(
        (
            i
            for i, (t, d) in enumerate(zip(tokens, depth_of(tokens), strict=True))
            if t.kind == "word" and d == 0
        ),
        len(tokens),
    )
    if cut == 0:
        raise Unreadable("words where a number should be")
    head, tail = tokens[:cut], tokens[cut:]
    node = parse(head)
    if tail and (
        _BOUND.search(tail[0].text)
        or tail[0].text.split()[0].lower() in {"is", "are", "must", "should"}
    ):
        raise Unreadable("a sentence about a number")
    if tail and (scale := _scale(tail[0].text)):
        rest = tail[0].text.partition(" ")[2]
        node = Node("mul", (node, number(scale)))
        tail = ([tail[0]._replace(text=rest)] if rest else []) + tail[1:]
    again = next(
        (
            i
            for i, t in enumerate(tail)
            if t.kind == "num" and i and tail[i - 1].text not in {"^", "{", "-"}
        ),
        None,
    )
    named = read_unit(text_of(tail[:again]).replace("{", "").replace("}", "")) if tail else None
    if again is not None:
        return _compound(node, named, tail[again:])
    if any(t.kind in {"cmd", "rel"} and t.text != "\\cdot" for t in tail):
        raise Unreadable("an expression behind a unit")
    unit = _joined(unit, named)
    return (
        (Node("pct", (node,)), None)
        if unit and unit.dimensions == (("percent", 1),)
        else (node, unit)
    )


def _scale(words: str) -> Fraction | None:
    """What the first word multiplies a number by: a thousand, a tenth."""
    first = words.split()[0].lower()
    return (
        Fraction(_SCALES[first])
        if first in _SCALES
        else Fraction(1, _PARTS[first])
        if first in _PARTS
        else None
    )


def _feet_and_inches(tokens: list[Token]) -> list[Token]:
    """`5'6''` are feet and inches, unless degrees stand before."""
    if not any(t.text == "'" for t in tokens) or any(t.text == "\\circ" for t in tokens):
        return tokens
    out: list[Token] = []
    for t in tokens:
        if t.text == "'" and out and out[-1].kind == "num":
            out.append(Token("word", "feet", True))
        elif t.text == "'" and out and out[-1].text == "feet":
            out[-1] = Token("word", "inches", True)
        else:
            out.append(t)
    return out


def _compound(node: Node, unit: Unit | None, rest: list[Token]) -> tuple[Node, Unit | None]:
    """`5 feet 6 inches`: the second in units of the first."""
    more, second = quantity(rest)
    if (
        unit is None
        or second is None
        or not unit.known
        or not second.known
        or not agree(unit, second)
    ):
        raise Unreadable("two quantities side by side")
    return Node("add", (node, Node("mul", (more, number(second.size / unit.size))))), unit


def _joined(money: Unit | None, named: Unit | None) -> Unit | None:
    """`$5 per hour`, `$5 dollars`."""
    if money is None or named is None:
        return money or named
    return (
        money
        if named.dimensions == money.dimensions or not named.known
        else Unit(
            money.size * named.size, tuple(sorted((*money.dimensions, *named.dimensions))), True
        )
    )


def summed(items: Sequence[Form]) -> Value | None:
    """`2 hours and 30 minutes`: two or three quantities of one kind, each in a smaller unit than
    the one before, are one quantity."""
    units = [i.unit for i in items if isinstance(i, Value) and i.unit is not None and i.unit.known]
    if (
        len(units) != len(items)
        or not 2 <= len(units) <= 3
        or len({u.dimensions for u in units}) > 1
        or any(u.size <= v.size for u, v in pairwise(units))
    ):
        return None
    nodes = tuple(
        Node("mul", (i.node, number(u.size / units[0].size)))
        for i, u in zip(items, units, strict=True)
    )  # type: ignore[union-attr]
    return Value(Node("add", nodes), units[0])


def with_letter_unit(node: Node) -> tuple[Node, Unit] | None:
    """`5 m` and `9.8 m/s^2` read as products of symbols; as quantities they are (5, metre), (9.8,
    m/s^2). None where a symbol is no unit's letter."""
    first = node.args[0] if node.op in {"mul", "div", "neg"} else node
    first = first.args[0] if first.op in {"mul", "neg"} else first
    if symbols(first):
        return None  # a unit stands behind its number
    powers: Counter[str] = Counter()
    rest = _without_letters(node, 1, powers)
    if rest is None or not powers:
        return None
    units = [(letter_unit(letter), p) for letter, p in powers.items()]
    if any(u is None for u, _ in units):
        return None
    size, dimensions = Fraction(1), Counter()
    for unit, p in units:
        size *= unit.size**p  # type: ignore[union-attr]
        for d, q in unit.dimensions:  # type: ignore[union-attr]
            dimensions[d] += p * q
    return rest, Unit(size, tuple(sorted((d, p) for d, p in dimensions.items() if p)))


def _without_letters(node: Node, sign: int, powers: Counter[str]) -> Node | None:
    """The node with its symbol factors taken out and counted; None where a symbol is no plain
    factor."""
    if not symbols(node):
        return node
    if node.op == "sym":
        powers[node.args[0]] += sign
        return number(1)
    if (
        node.op == "pow"
        and node.args[0].op == "sym"
        and (n := exact(node.args[1])) is not None
        and n.denominator == 1
        and abs(n) < 10
    ):
        powers[node.args[0].args[0]] += sign * int(n)
        return number(1)
    if node.op not in {"mul", "div", "neg"}:
        return None
    parts = [
        _without_letters(a, -sign if node.op == "div" and i else sign, powers)
        for i, a in enumerate(node.args)
    ]
    if any(p is None for p in parts):
        return None
    kept = [p for p in parts if p != number(1)] if node.op == "mul" else parts
    if node.op == "mul":
        return kept[0] if len(kept) == 1 else Node("mul", tuple(kept)) if kept else number(1)
    return parts[0] if node.op == "div" and parts[1] == number(1) else Node(node.op, tuple(parts))
