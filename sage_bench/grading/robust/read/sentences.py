"""Answers in sentences: comparisons told in words, all numbers of a kind, no solution."""

from __future__ import annotations

import re
from fractions import Fraction

from sage_bench.grading.robust.read.forms import Relation, Whole, Words
from sage_bench.grading.robust.read.nodes import Node, number, symbol
from sage_bench.grading.robust.text.words import number_word, plain

_WHOLES = re.compile(
    r"(?:all |every |any |the )?(?:set of )?(?:all )?(positive |non ?negative |negative )?"
    r"(?:integers?|(naturals?)(?: numbers?)?|(whole) numbers?)(?: [a-z])?"
)
_ALL_REALS = re.compile(
    r"(?:(?:for )?(?:all|any|every) )?(?:real numbers?|reals?|real values?)(?: (?:of )?[a-z])?"
)
_NOTHING = re.compile(
    r"(?:there (?:is|are|exist) |(?:it|equation|system|inequality) has |has )?no (?:real |such )?"
    r"(?:solutions?|values?|roots?|numbers?)(?: exists?)?"
    r"|(?:there (?:is|are) )?none(?: exists?)?|empty set|dne"
    r"|(?:it |limit |value )?does not exist"
    r"|(?:there (?:is|are) )?no such [a-z]+(?: [a-z])?(?: exists?)?|no limit exists"
)
_ENDLESS = re.compile(
    r"(?:there (?:are|exist) |it has |has )?(?:infinitely many|infinite(?: number of)?)"
    r"(?: [a-z]+){0,3}"
)
_NONZERO = re.compile(r"(?:all |any |every )?non ?zero (integer|real)s?(?: numbers?| values?)?")
_IS = r"(?:is |are |must be |should be )?(?:strictly )?"
_COMPARISONS = (  # worded relation, operator
    (
        (
            rf"{_IS}(?:less|smaller|fewer) than or equal to"
            r"|(?:is |are |must be )?(?:at most|no more than|not more than|not greater than)"
        ),
        "<=",
    ),
    (
        (
            rf"{_IS}(?:greater|more|larger|bigger) than or equal to"
            r"|(?:is |are |must be )?(?:at least|no less than|not less than)"
        ),
        ">=",
    ),
    (rf"{_IS}(?:less|smaller|fewer) than", "<"),
    (rf"{_IS}(?:greater|more|larger|bigger) than", ">"),
)
_SIGNS = (
    (r"(?:is|are) (?:always |strictly )?negative", "<"),
    (r"(?:is|are) (?:always |strictly )?positive", ">"),
    (r"(?:is|are) (?:always )?non-?negative", ">="),
    (r"(?:is|are) (?:always )?non-?positive", "<="),
)


def whole(text: str) -> Whole | None:
    """All numbers of a kind, or no solution, in words.

    >>> whole("all real numbers"), whole("no solutions"), whole("all real numbers except two")
    (Whole(name='reals'), Whole(name='emptyset'), None)
    """
    bare = plain(text)
    if _ALL_REALS.fullmatch(bare):
        return Whole("reals")
    if m := _WHOLES.fullmatch(bare):
        sign = (m[1] or "").replace(" ", "")
        if m[3] and not m[1]:
            sign = "nonnegative"
        if m[2] or sign == "positive":
            return Whole("naturals")
        return Whole(f"{sign} integers".strip())
    if m := _NONZERO.fullmatch(bare):
        return Whole("nonzero " + ("integers" if m[1] == "integer" else "reals"))
    if _ENDLESS.fullmatch(bare):
        return Whole("infinite")
    return Whole("emptyset") if _NOTHING.fullmatch(bare) else None


def sentence(text: str) -> Relation | None:
    """A comparison in words: "The sum is less than zero." is (words) < 0.

    >>> sentence("The sum is less than zero").ops, sentence("x is at least 3").ops
    (('<',), ('>=',))
    >>> sentence("less is more")
    """
    for pattern, op in _COMPARISONS:
        m = re.fullmatch(
            rf"\s*(.*?)\s*\b(?:{pattern})\s+(-?\d+(?:\.\d+)?|[a-z]+(?:[- ][a-z]+)?)\s*\.?\s*",
            text,
            re.I | re.S,
        )
        if m:
            value = Fraction(m[2]) if re.match(r"-?\d", m[2]) else number_word(m[2])
            if value is not None:
                return Relation((_subject(m[1]), number(value)), (op,))
    for pattern, op in _SIGNS:
        m = re.fullmatch(rf"\s*(.+?)\s+{pattern}\s*\.?\s*", text, re.I | re.S)
        if m:
            return Relation((_subject(m[1]), number(0)), (op,))
    return None


def _subject(text: str) -> Node | Words:
    return symbol(text) if re.fullmatch(r"[A-Za-z]", text) else Words(text)
