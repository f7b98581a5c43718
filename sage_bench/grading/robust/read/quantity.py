r"""A number or an expression with its unit: `\$12.50`, `3 km/h`, `5 feet 6 inches`, `2 million`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Form, Value
from sage_bench.grading.robust.read.nodes import Kind, Node, Unreadable, number, symbols
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.read.terms import product_of
from sage_bench.grading.robust.text.tokens import Token, outermost, text_of
from sage_bench.grading.robust.text.units import Unit, agree, letter_unit, read_unit

_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
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
_SENTENCE = re.compile(  # what follows a number and makes it part of a statement
    r"\bat (?:most|least)\b|\bor (?:more|less|fewer|greater|higher)\b"
    r"|\b(?:maximum|minimum)$|\bthan\b"
    r"|^(?:plus|minus|times|squared|cubed|divided|is|are|must|should)\b",
    re.I,
)
_MONEY = {"\\$": "dollar", "£": "£", "€": "euro"}
LARGEST_POWER = 10  # of a unit's letter


def quantity(tokens: list[Token]) -> tuple[Node, Unit | None]:
    r"""The expression and its unit. Raises `Unreadable`.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> def q(text):
    ...     node, unit = quantity(tokenize(clean(text)))
    ...     return exact(node), unit.dimensions
    >>> q(r"\$12.50"), q("5 feet 6 inches")
    ((Fraction(25, 2), (('money', 1),)), (Fraction(11, 2), (('length', 1),)))
    >>> q("3 km/h"), q("2 million people")
    ((Fraction(3, 1), (('length', 1), ('time', -1))), (Fraction(2000000, 1), (('people', 1),)))
    """
    tokens, money = _without_money(tokens)
    tokens = _feet_and_inches(tokens)
    cut = next((i for i, t in outermost(tokens) if t.kind == "word"), len(tokens))
    if cut == 0:
        raise Unreadable("words where a number should be")
    node, tail = parse(tokens[:cut]), tokens[cut:]
    if tail and _SENTENCE.search(tail[0].text):
        raise Unreadable("a sentence about a number")
    if tail and (scale := _scale(tail[0].text)):
        node = Node(Kind.MUL, (node, number(scale)))
        rest = tail[0].text.partition(" ")[2]
        tail = [tail[0]._replace(text=rest), *tail[1:]] if rest else tail[1:]
    again = _second_number(tail)
    named = read_unit(re.sub("[{}]", "", text_of(tail[:again]))) if tail else None
    if again is not None:
        return _compound(node, named, tail[again:])
    if any(t.kind in {"cmd", "rel"} and t.text != "\\cdot" for t in tail):
        raise Unreadable("an expression behind a unit")
    unit = _joined(money, named)
    if unit and unit.dimensions == (("percent", 1),):
        return Node(Kind.PCT, (node,)), None
    return node, unit


def _without_money(tokens: list[Token]) -> tuple[list[Token], Unit | None]:
    r"""The tokens without the `\$` at their beginning (behind a sign), and what it stands for."""
    for i, t in enumerate(tokens[:2]):
        if t.text in _MONEY:
            return tokens[:i] + tokens[i + 1 :], read_unit(_MONEY[t.text])
        if t.text not in "+-":
            break
    return tokens, None


def _second_number(tail: list[Token]) -> int | None:
    """Where `5 feet 6 inches` has its 6; exponents of units do not count."""
    for i, (before, t) in enumerate(pairwise(tail), 1):
        if t.kind == "num" and before.text not in {"^", "{", "-"}:
            return i
    return None


def _scale(words: str) -> Fraction | None:
    """What the first word multiplies a number by: a thousand, a tenth."""
    first = words.split()[0].lower()
    if first in _SCALES:
        return Fraction(_SCALES[first])
    return Fraction(1, _PARTS[first]) if first in _PARTS else None


def _feet_and_inches(tokens: list[Token]) -> list[Token]:
    """`5'6''` are feet and inches, unless degrees stand before."""
    texts = {t.text for t in tokens}
    if "'" not in texts or "\\circ" in texts:
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
    if unit is None or second is None or not (unit.known and second.known and agree(unit, second)):
        raise Unreadable("two quantities side by side")
    converted = Node(Kind.MUL, (more, number(second.size / unit.size)))
    return Node(Kind.ADD, (node, converted)), unit


def _joined(money: Unit | None, named: Unit | None) -> Unit | None:
    """`$5 per hour`, `$5 dollars`."""
    if money is None or named is None:
        return money or named
    if named.dimensions == money.dimensions or not named.known:
        return money
    dimensions = tuple(sorted((*money.dimensions, *named.dimensions)))
    return Unit(money.size * named.size, dimensions, True)


def summed(items: Sequence[Form]) -> Value | None:
    """`2 hours and 30 minutes`: two or three quantities of one kind, each in a smaller unit than
    the one before, are one quantity."""
    parts = [(i.node, i.unit) for i in items if isinstance(i, Value) and i.unit and i.unit.known]
    if len(parts) != len(items) or not 2 <= len(parts) <= 3:
        return None
    units = [unit for _, unit in parts]
    falling = all(u.size > v.size for u, v in pairwise(units))
    if not falling or len({u.dimensions for u in units}) > 1:
        return None
    largest = units[0]
    nodes = [Node(Kind.MUL, (node, number(unit.size / largest.size))) for node, unit in parts]
    return Value(Node(Kind.ADD, tuple(nodes)), largest)


def with_letter_unit(node: Node) -> tuple[Node, Unit] | None:
    """`5 m` and `9.8 m/s^2` read as products of symbols, as quantities: (5, metre), (9.8, m/s^2).

    None where a symbol is not the letter of a unit.
    """
    first = node.args[0] if node.kind in (Kind.MUL, Kind.DIV, Kind.NEG) else node
    first = first.args[0] if first.kind in (Kind.MUL, Kind.NEG) else first
    if symbols(first):
        return None  # a unit stands behind its number
    powers: Counter[str] = Counter()
    rest = _without_letters(node, 1, powers)
    if rest is None or not powers:
        return None
    size = Fraction(1)
    dimensions: Counter[str] = Counter()
    for letter, power in powers.items():
        unit = letter_unit(letter)
        if unit is None:
            return None
        size *= unit.size**power
        for dimension, exponent in unit.dimensions:
            dimensions[dimension] += power * exponent
    left = tuple(sorted((d, p) for d, p in dimensions.items() if p))
    return rest, Unit(size, left)


def _without_letters(node: Node, sign: int, powers: Counter[str]) -> Node | None:
    """The node with its symbol factors taken out and counted.

    None where a symbol is more than a plain factor.
    """
    if not symbols(node):
        return node
    one = number(1)
    if node.kind is Kind.SYM:
        powers[node.args[0]] += sign
        return one
    if node.kind is Kind.POW and node.args[0].kind is Kind.SYM:
        n = exact(node.args[1])
        if n is None or n.denominator != 1 or abs(n) >= LARGEST_POWER:
            return None
        powers[node.args[0].args[0]] += sign * int(n)
        return one
    if node.kind not in (Kind.MUL, Kind.DIV, Kind.NEG):
        return None
    parts: list[Node] = []
    for i, a in enumerate(node.args):
        below = node.kind is Kind.DIV and i > 0
        part = _without_letters(a, -sign if below else sign, powers)
        if part is None:
            return None
        parts.append(part)
    if node.kind is Kind.MUL:
        kept = [p for p in parts if p != one]
        return product_of(kept) if kept else one
    if node.kind is Kind.DIV and parts[1] == one:
        return parts[0]
    return Node(node.kind, tuple(parts))
