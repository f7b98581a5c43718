"""Exact numbers and harmless spelling, compared without a computer algebra system."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

_DROP = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;:]|\\ |~|\$|\s+")
_GAP = (  # a blank that is seen; between digits it parts two numbers unless it groups thousands
    r"(?:\\[,;:]|\\ |~|\s)+"
)
_GROUPED = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:{_GAP}\d{{3}})+(?![\d/])")
_APART = re.compile(rf"(?<=\d)(?<!frac\d)(?<!frac\s\d){_GAP}(?=\d)")  # `\frac 1 2` is one half
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_FRACTION = re.compile(r"([+-]?)\\frac\{([+-]?\d+)\}\{([+-]?\d+)\}|([+-]?\d+)/([+-]?\d+)")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
# characters of a number that is still worth exact arithmetic; Python refuses longer integers by
# default
LONGEST = 4000


def spelled(text: str) -> str:
    r"""One spelling for things that only differ in typesetting.

    >>> spelled(r" $\dfrac{1}{2}$. ") == spelled(r"\frac12") == r"\frac{1}{2}"
    True
    >>> spelled("12 345"), spelled("1 1/2"), spelled("1, 2"), spelled(r"\frac 1 2")
    ('12345', '1 1/2', '1,2', '\\frac{1}{2}')
    """
    text = _GROUPED.sub(lambda m: re.sub(_GAP, "", m[0]), text.strip())
    text = " ".join(_DROP.sub("", part) for part in _APART.split(text))
    text = re.sub(r"\\[dt]frac(?![a-z])", r"\\frac", text)
    text = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", text)
    return text.rstrip(".") if not re.fullmatch(r"[+-]?\d+\.", text) else text[:-1]


def number(text: str) -> Fraction | None:
    r"""The exact value of a plain integer, decimal or fraction (thousands commas allowed), or None.

    >>> number("1,234.50"), number(r"-\frac{3}{4}"), number("033")
    (Fraction(2469, 2), Fraction(-3, 4), Fraction(33, 1))
    >>> number("x"), number("1,23")
    (None, None)
    >>> number("12 345"), number("1 1/2"), number("32, 349")
    (Fraction(12345, 1), None, None)
    """
    listed = re.search(r"\d,\s+\d", text)  # "32, 349" is two numbers
    text = spelled(text) if len(text) <= LONGEST else ""
    if _THOUSANDS.fullmatch(text) and not listed:
        text = text.replace(",", "")
    if _DECIMAL.fullmatch(text):
        try:
            return Fraction(Decimal(text))
        except (InvalidOperation, ValueError):
            return None
    m = _FRACTION.fullmatch(text)
    if not m:
        return None
    sign, top, bottom = m[1] or "", m[2] or m[4], m[3] or m[5]
    if int(bottom) == 0:
        return None
    value = Fraction(int(top), int(bottom))
    return -value if sign == "-" else value
