r"""Reading numeric expressions, typeset or plain, into exact values with the slack that rounding of
their parts leaves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial, isqrt, pi, sqrt
from typing import NamedTuple

_TEXT = re.compile(
    r"\\(?:text|mathrm|textrm|operatorname|mbox|textbf|mathbf|textit|emph)\s*\{([^{}]*)\}"
)
_REPLACE = [  # typesetting to plain signs; the order matters
    (re.compile(p), by)
    for p, by in (
        (r"<<[^<>]*>>", " "),
        (r"(?s)\\begin\{(\w*matrix|array|cases|tabular)\}.*?\\end\{\1\}", " # "),
        (
            r"\\\\(?:\[[^\]]*\])?|\\(?:begin|end)\{[^{}]*\}(?:\{[^{}]*\})?|\\[\[\]]|\$\$|\\\)\s*\\\(|\$\s+\$(?!\d)",
            "\n",
        ),
        (
            (
                r"\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits|quad|qquad)(?![a-zA-Z])|\\[,!;:"
                r" ]|~|&"
            ),
            " ",
        ),
        (r"(=[\s$]*)\\(?:boxed|fbox)\s*(?=\{)", r"\1"),
        (r"\\(?:boxed|fbox)\s*(?=\{)", "\n"),
        (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ|°|\\degree", " "),
        (r"\\\$|\$|\\[()]|£|€", " "),
        (r"(?<=\d)\{,\}(?=\d)", ","),
        (r"\\\{|\\\}|\\[lr]brace", "#"),
        (r"\\[dtc]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\[dt]?binom", r"\\binom"),
        (r"\\times|\\cdot(?!s)|×|·|∗|⋅", "*"),
        (r"\\div|÷", "/"),
        ("[−–]", "-"),
        (r"\\%|(?<=\d)\s+percent\b", "%"),
        (r"(?<=\d)\*\*(?=\d)", "^"),
        (r"\*\*|__|`", " "),
        ("²", "^2"),
        ("³", "^3"),
        ("½", r"\\frac{1}{2}"),
        (r"√(?=[({])", r"\\sqrt"),
        (r"√(\d+)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*\[", r"\\nthroot["),
        (r"(?<=[\d)])\s+times\s+(?=[\d(])", "*"),
        (r"(?<=[\d)])\s+plus\s+(?=[\d(])", "+"),
        (r"(?<=[\d)])\s+minus\s+(?=[\d(])", "-"),
        (r"(?<=[\d)])\s+divided by\s+(?=[\d(])", "/"),
        (r"(?<=[\d)])(\s*)[xX](?=\s*\$?\s*\d)", r"\1*"),
        (r"%\s+of\s+(?:the\s+)?(?=\$?\s*\d)", "% * "),
        (r"\bequals?\b(?:\s+to\b)?|\bis equal to\b|:=|==", "="),
        (r"\n\s*(?==(?!>))", " "),
    )
]
_TOKEN = re.compile(
    r"(?P<num>\d{1,3}(?:,\d{3})+(?!,?\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<dots>\.\.\.|…|\\(?:l|c)?dots)|(?P<stop>\n|=>|->|<=|>=|!=|[;:?,<>≈≤≥≠→⇒∴∵\"“”]|\\(?:approx|sim|simeq|neq?|leq?|geq?|lt|gt|to|implies|Rightarrow|rightarrow|Longrightarrow|iff|Leftrightarrow"
    r"|therefore|because)(?![a-zA-Z])|\.(?!\d))"
    r"|(?P<eq>=)|(?P<op>[-+*/^])|(?P<open>[({\[])|(?P<close>[)}\]])|(?P<percent>%)|(?P<bang>!)|(?P<cmd>\\[a-zA-Z]+)|(?P<word>[^\W\d_]+(?:['’][a-z]+)?)|(?P<junk>\S)"
)
_PLAIN = re.compile(r"(?:[\d +/=().-]|\*(?!\*))*")  # nothing to replace
# words in brackets: "4 pounds (French)"
_COMMENT = re.compile(r"(?<![\w\\}^_])\s\((?:[^\W\d_]{2,}[\s,]*)+\)")
_UNITS = "cm mm km kg ml ft in lb oz hr mi yd mg mph kmh rpm sq cu"
_SHORT_UNITS = frozenset(_UNITS.split())
_WORDS = (
    "and or of so then is are was were has have that which we for if when since because but thus"
    " hence therefore more less than plus minus times"
)
_NO_UNIT = frozenset(_WORDS.split())
MOST_BITS = 4096  # of a power


class Unreadable(ValueError):
    """The tokens are no numeric expression."""


class Token(NamedTuple):
    """kind: num op ( ) eq stop percent bang cmd word glued (letters without a blank before them)
    junk. spaced: a blank stands before it."""

    kind: str
    text: str
    spaced: bool = True


@dataclass(frozen=True, slots=True)
class Value:
    """A number, and how far off the rounding of what it was computed from may have put it.
    decimals: digits after the point where it is a bare number, None where it is computed."""

    value: Fraction
    slack: Fraction = Fraction(0)
    decimals: int | None = None


def tokenize(text: str) -> list[Token]:
    r"""Kinds and texts with the typesetting removed; braces become parentheses, words in text boxes
    plain words.

    >>> [t.text for t in tokenize(r"\(2 \text{ books} \times \$3{,}000\)")]
    ['2', 'books', '*', '3,000']
    """
    if not _PLAIN.fullmatch(text):
        text = _COMMENT.sub(" ", _TEXT.sub(_words, text))
        for pattern, by in _REPLACE:
            text = pattern.sub(by, text)
        text = _COMMENT.sub(" ", text)
    out: list[Token] = []
    end = 0
    for m in _TOKEN.finditer(text):
        kind, spaced = str(m.lastgroup), m.start() > end or not out
        end = m.end()
        if (
            kind == "word"
            and not spaced
            and out[-1].kind in {"num", ")", "word", "glued", "cmd"}
            and m[0] not in _SHORT_UNITS
        ):
            kind = "glued"
        bracket = {"open": "(", "close": ")"}.get(kind)
        out.append(Token(bracket or kind, bracket or m[0], spaced))
    return out


def _words(m: re.Match[str]) -> str:
    """What a text box holds: words without the numbers among them (`3-card hands` is no 3), or a
    number as it is."""
    words = re.search(r"[^\W\d_]", m[1])
    return " " + re.sub(r"[^\w\s%()/]|\d" if words else r"[^\w\s%()/.,]", " ", m[1]) + " "


def is_calculation(tokens: Sequence[Token]) -> bool:
    """More than a bare number with a sign and a unit."""
    return (
        any(t.kind in {"cmd", "bang"} or (t.kind == "op" and i > 0) for i, t in enumerate(tokens))
        or sum(t.kind == "num" for t in tokens) > 1
    )


class Expression:
    """Recursive descent over tokens: + - * / ^ and brackets, `\\frac \\sqrt \\binom \\pi !`,
    products without a sign, units after numbers.

    percent: read n% as n/100 instead of n. Raises `Unreadable`, also for what people read in two
    ways (6/2(1+2), 2 1/2, 12 (3 + 9)).
    """

    def __init__(self, tokens: Sequence[Token], *, percent: bool = False):
        self.tokens, self.percent, self.at = tokens, percent, 0

    def whole(self) -> Value:
        value = self.expression()
        if self.at != len(self.tokens):
            raise Unreadable
        return value

    def peek(self, ahead: int = 0) -> Token:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else Token("end", "")

    def sign(self, *signs: str) -> str | None:
        token = self.peek()
        return token.text if token.kind == "op" and token.text in signs else None

    def expression(self) -> Value:
        left = self.term()
        while sign := self.sign("+", "-"):
            place = self.at
            self.at += 1
            try:
                right = self.term()
            except Unreadable:
                self.at = place  # a dash before words, say: the expression ended before it
                return left
            left = Value(
                left.value + right.value if sign == "+" else left.value - right.value,
                left.slack + right.slack,
            )
        return left

    def term(self) -> Value:
        left, divided = self.factor(), False
        while True:
            place = self.at
            sign = self.sign("*", "/")
            if sign is None and not self.juxtaposed(divided):
                return left
            if sign:
                self.at += 1
            try:
                right = self.factor()
            except Unreadable:
                if sign is None:
                    raise
                self.at = place
                return left
            left, divided = (
                multiply(left, right) if sign != "/" else divide(left, right),
                divided or sign == "/",
            )

    def juxtaposed(self, divided: bool) -> bool:
        """A factor follows without a sign."""
        token, before = self.peek(), self.tokens[self.at - 1]
        if not (
            token.kind == "("
            or (token.kind == "cmd" and token.text in {"\\sqrt", "\\frac", "\\pi", "\\binom"})
        ):
            return False
        mixed = token.text == "\\frac" and before.kind == "num"  # 2 1/2
        if (
            mixed
            or divided
            or before.kind == "word"
            or (token.kind == "(" and token.spaced and before.kind == "num")
        ):
            raise Unreadable
        return True

    def factor(self) -> Value:
        sign = self.sign("+", "-")
        if sign:
            self.at += 1
            inner = self.factor() if self.sign("+", "-") is None else self.no()
            return Value(-inner.value if sign == "-" else inner.value, inner.slack, inner.decimals)
        base = self.postfix()
        if not self.sign("^"):
            return base
        self.at += 1
        exponent = self.factor().value
        if (
            exponent.denominator != 1
            or abs(exponent)
            * max(1, base.value.numerator.bit_length(), base.value.denominator.bit_length())
            > MOST_BITS
            or (exponent < 0 and not base.value)
        ):
            raise Unreadable
        n = int(exponent)
        slack = abs(n * base.value ** (n - 1)) * base.slack if base.slack else Fraction(0)
        return Value(base.value**n, slack)

    def no(self) -> Value:
        raise Unreadable

    def postfix(self) -> Value:
        value = self.primary()
        while self.peek().kind in {"bang", "percent"}:
            if self.peek().kind == "bang":
                if value.value.denominator != 1 or not 0 <= value.value <= 200:
                    raise Unreadable
                value = Value(Fraction(factorial(int(value.value))))
            elif self.percent:
                value = Value(
                    value.value / 100,
                    value.slack / 100,
                    None if value.decimals is None else value.decimals + 2,
                )
            self.at += 1
        self.skip_unit()
        return value

    def skip_unit(self) -> None:
        """Up to four words after a number, where the calculation goes on or ends behind them:
        `pounds`, `dollars per hour`, `cm^2`, `miles/hour`."""
        n = 0
        while n < 8 and (
            (token := self.peek(n)).kind == "word"
            or (token.text == "/" and self.peek(n + 1).kind == "word")
        ):
            if token.kind == "word" and (
                token.text.lower() in _NO_UNIT
                or (len(token.text) < 3 and token.text.lower() not in _SHORT_UNITS)
                or (
                    not token.spaced
                    and token.text not in _SHORT_UNITS
                    and self.peek(n - 1).text != "/"
                )
            ):
                return
            n += 1
        if n and self.peek(n).text == "^" and self.peek(n + 1).kind == "num":
            n += 2
        if n and n <= 6 and self.peek(n).kind in {"op", ")", "end"}:
            self.at += n

    def primary(self) -> Value:
        token = self.peek()
        self.at += 1
        if token.kind == "num":
            digits = token.text.replace(",", "")
            decimals = len(digits.partition(".")[2])
            return Value(
                Fraction(digits),
                Fraction(1, 2 * 10**decimals) if decimals >= 2 else Fraction(0),
                decimals,
            )
        if token.kind == "(":
            inner = self.expression()
            if self.peek().kind != ")":
                raise Unreadable
            self.at += 1
            return Value(inner.value, inner.slack, inner.decimals)
        if token.kind == "cmd":
            return self.command(token.text)
        raise Unreadable

    def command(self, name: str) -> Value:
        if name == "\\pi" and not (
            self.at == 1 and self.peek().kind == "("
        ):  # "\\pi(2) = 5" is a permutation
            return Value(Fraction(pi), Fraction(1, 10**12))
        if name == "\\sqrt" and self.peek().text == "(":
            inside = self.primary()
            if inside.value < 0:
                raise Unreadable
            return root(inside)
        if name in {"\\frac", "\\binom"} and self.peek().text == "(":
            top = self.primary()
            if self.peek().text != "(":
                raise Unreadable
            bottom = self.primary()
            if name == "\\frac":
                return divide(top, bottom)
            if (
                top.value.denominator == bottom.value.denominator == 1
                and 0 <= bottom.value <= top.value <= 300
            ):
                return Value(Fraction(comb(int(top.value), int(bottom.value))))
        raise Unreadable


def multiply(a: Value, b: Value) -> Value:
    return Value(a.value * b.value, abs(a.value) * b.slack + abs(b.value) * a.slack)


def divide(a: Value, b: Value) -> Value:
    if not b.value:
        raise Unreadable
    return Value(a.value / b.value, (a.slack + abs(a.value / b.value) * b.slack) / abs(b.value))


def root(x: Value) -> Value:
    """Exact for squares of rationals; otherwise to twelve digits."""
    top, bottom = isqrt(x.value.numerator), isqrt(x.value.denominator)
    if top * top == x.value.numerator and bottom * bottom == x.value.denominator:
        return Value(Fraction(top, bottom), x.slack)
    approximate = Fraction(sqrt(x.value))
    return Value(approximate, approximate / 10**12 + x.slack)
