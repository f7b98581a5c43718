r"""Stated arithmetic: which numeric equations a text states, and whether they hold. Pure functions
on exact rationals.

Made to be believed when it says "false": an equation is checked only where both of its sides are
numeric from end to end (`Expression` says what a number may look like). It is left alone where
there are variables, unknown commands, approximation signs, residues or number bases, or where its
sentence supposes, questions or denies it. Results that are rounded are not false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from sage_bench.judges.expression import (
    Expression,
    Token,
    Unreadable,
    Value,
    is_calculation,
    tokenize,
)

OTHER_ARITHMETIC = re.compile(
    r"\bmod(?:ulo|ular|ulus)?\b|\\[pb]?mod\b|\\equiv|≡|\bcongruen|\bin base\b|\bbase[-"
    r" $\\({]*\d|\bbase[- ](?:two|seven|eight|ten|sixteen|[a-z]\b)|\bbinary\b"
    r"|\bhexadecimal\b|\boctal\b|\d\s*_\s*[{\d]|\bfinite field\b|\bthe"
    r" operation\b|\\star\b|\\oplus|\\ast\b|(?<!\^)(?<!\^\{)\\circ\b",
    re.IGNORECASE,
)
_TENTATIVE = re.compile(
    r"\b(?:not?|cannot|never|false|wrong|incorrect\w*|contradict\w*|impossible|instead|should|invalid|mistake|error|guess|try|trying|test\w*"
    r"|approx\w*|about|around|roughly|nearly|almost|round\w*|estimat\w*|nearest|closest?)\b|n['’]t\b|\?|≠|\\neq?\b|!="
    # up to the comma: "If 7 are left, then 7 * 2 = 15" is meant
    r"|\b(?:if|whether|suppose|assum\w+|unless)\b(?:(?!,|\bthen\b)[^=])*=",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.?;])\s+|(?<=[a-z][a-z]!)\s+|\n(?!\s*&?\s*=)")
_SIMPLE = re.compile(r" *(\d{1,15}) *([-+*/]) *(\d{1,15}) *= *(\d{1,15}) *")
_LINE = re.compile(r"(?:\s*\d{1,15}[-+*]\d{1,15}=\d{1,15}(?=\s|$)){2,}\s*(?:\\boxed\{\d*\})?\s*")
_MEASURE = re.compile(
    r"(?:hour|minute|second|day|week|month|year|hr|min|sec|cent|dollar|penn|dime|nickel|quarter|inch|f[eo]+t|ft|yard|mile|[ckm]?met(?:er|re)|centimet|kilomet|millimet"
    r"|[ckm]m|gram|kilo|kg|pound|lb|ounce|oz|ton|lit(?:er|re)|m?l|gallon|quart|pint|cup|spoon|degree|radian|hz|volt|joule|newton|watt|pair|dozen|thousand|million|billion)",
    re.IGNORECASE,
)
_CONVERSIONS = frozenset(
    map(
        Fraction,
        (
            2,
            3,
            4,
            5,
            7,
            8,
            10,
            12,
            16,
            20,
            24,
            25,
            30,
            36,
            52,
            60,
            100,
            365,
            1000,
            1440,
            3600,
            5280,
            10**6,
            10**9,
        ),
    )
)
_WORDS_BEFORE = (
    "times plus minus by over than from to and with squared cubed half third quarter twice double"
    " triple"
)
_WORDS_AFTER = (
    "times plus minus million thousand hundred billion trillion dozen mod squared cubed choose"
    " factorial r remainder"
)
_BEGAN_EARLIER = frozenset(_WORDS_BEFORE.split())
_GOES_ON = frozenset(_WORDS_AFTER.split())


@dataclass(frozen=True, slots=True)
class Equation:
    """left and right without blanks and units; result: value of the right side; holds: ordinary
    arithmetic agrees (rounding allowed)."""

    left: str
    right: str
    result: Fraction
    holds: bool


@lru_cache(maxsize=1 << 14)  # the samples of a group repeat each other's steps
def equations(text: str) -> tuple[Equation, ...]:
    r"""The numeric equations a text states, in order. A chain `a = b = c` gives each pair; two bare
    numbers are no calculation.

    >>> text = r"so 3 x 4 = 13 apples, and $\frac{10}{3} \cdot 3 = 10$"
    >>> [(e.left, e.right, e.holds) for e in equations(text)]
    [('3*4', '13', False), ('\\frac(10)(3)*3', '10', True)]
    >>> text = "10/3 = 3.33, 100/7=14, 20% of $50 = $10, 2 hours = 120 minutes, 1,200 + 34 = 1,234"
    >>> [e.holds for e in equations(text)]
    [True, True, True, True]
    >>> equations(r"2x + 3 = 7; f(3) = 10; 3 + 4 \approx 8; if 2 + 2 = 5 then ...")
    ()
    >>> equations(r"7 + 5 = 2 (mod 10); $-x - 3*4 = 5$")
    ()
    """
    if simple := _SIMPLE.fullmatch(text):  # what a step of the tiny world is
        a, sign, b, result = simple.groups()
        if sign != "/" or int(b):
            value = (
                Fraction(int(a), int(b))
                if sign == "/"
                else Fraction(
                    {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(a), int(b))
                )
            )
            return (
                Equation(
                    f"{a}{sign}{b}",
                    result,
                    Fraction(int(result)),
                    agree(Value(value), Value(Fraction(int(result)), decimals=0)),
                ),
            )
    if _LINE.fullmatch(text):  # and what its solutions are
        return tuple(e for word in text.split() if "=" in word for e in equations(word))
    found: list[Equation] = []
    inner = " ; ".join(re.findall(r"<<([^<>]*)>>", text))  # calculator marks of GSM8K
    sentences = [s for s in _SENTENCE.split(f"{text} ; {inner}" if inner else text) if s.strip()]
    for i, sentence in enumerate(sentences):
        if "=" not in sentence and "equal" not in sentence:
            continue
        before = sentences[i - 1] if i and sentences[i - 1].rstrip().endswith(":") else ""
        # the verdict on lines of equations stands below them
        after = next((s for s in sentences[i + 1 : i + 5] if "=" not in s), "")
        around = f"{before} {sentence} {after[:40]}"
        doubtful = _TENTATIVE.search(around) or OTHER_ARITHMETIC.search(around)
        found += [e for e in _stated(sentence) if e.holds or not doubtful]
    return tuple(found)


def _stated(sentence: str) -> Iterator[Equation]:
    for chain in _chains(tokenize(sentence)):
        for i, (a, b) in enumerate(pairwise(chain)):
            left, right = _suffix(a), _prefix(b)
            if left and right and (is_calculation(left) or is_calculation(right)):
                lefts, rights = readings(left, bullet=i == 0), readings(right)
                if lefts and rights:
                    holds = any(agree(x, y) for x in lefts for y in rights)
                    if holds or not _other_units(
                        left, right, [*a, *b], lefts[0].value, rights[0].value
                    ):
                        yield Equation(_spell(left), _spell(right), rights[0].value, holds)


def _chains(tokens: Sequence[Token]) -> Iterator[list[list[Token]]]:
    """Runs of sides that equality signs join, between full stops and other relations."""
    sides: list[list[Token]] = [[]]
    for token in [*tokens, Token("stop", "")]:
        if token.kind == "stop":
            if len(sides) > 1:
                yield sides
            sides = [[]]
        elif token.kind == "eq":
            sides.append([])
        else:
            sides[-1].append(token)


def _suffix(side: Sequence[Token]) -> list[Token] | None:
    """The expression a side ends in: the longest suffix that is one, if what stands before it
    cannot belong to it."""
    for start in range(max(0, len(side) - 80), len(side)):
        if (
            side[start].kind in {"num", "(", "op", "cmd"}
            and _end(side[start:]) == len(side) - start
        ):
            found = list(side[start:])
            return (
                found
                if not start
                or (
                    is_calculation(found)
                    and _clean_before(side[:start], side[start], side[start + 1 :])
                )
                else None
            )
    return None


def _clean_before(before: Sequence[Token], first: Token, rest: Sequence[Token]) -> bool:
    last, word = before[-1], before[-1].text.lower()
    if last.kind == "(":  # "(3*4 = 12)", but not "f(3*4 = 12)"
        return len(before) == 1 or (before[-2].kind == "word" and last.spaced)
    if last.kind == "num" and first.kind == "num":
        return len(before) == 1 and _apart(last, first, rest)
    if last.kind != "word" or first.kind == "op" or not first.spaced:
        return False
    if word == "of":  # "half of 3*4", "20 of 3*4" began earlier; "the sum of 3+4" did not
        return (
            len(before) > 1
            and before[-2].kind == "word"
            and before[-2].text.lower()
            not in _BEGAN_EARLIER | {"fifth", "fourth", "tenth", "percent"}
        )
    if word == "and" and len(before) == 1:
        return True
    return word not in _BEGAN_EARLIER and (len(word) > 1 or word in "ai")


def _apart(last: Token, first: Token, rest: Sequence[Token]) -> bool:
    """Two numbers with a blank between are two (`3*9=7 7+6=3`), unless they are `2 1/2` or `1
    000`."""
    return (
        first.spaced
        and not (rest and rest[0].text == "/")
        and not (len(first.text) == 3 and first.text.isdigit() and len(last.text) <= 3)
    )


def _prefix(side: Sequence[Token]) -> list[Token] | None:
    """The expression a side begins with, if what follows cannot belong to it."""
    end = _end(side)
    if not end:
        return None
    words = next((i for i in range(end, len(side)) if side[i].kind != "word"), len(side))
    if words > end and words < len(side) and side[words].kind == "op":
        return None  # "459 blinks / x minutes"
    after = side[end] if end < len(side) else None
    if (
        after is not None
        and after.kind == "num"
        and side[end - 1].kind == "num"
        and _apart(side[end - 1], after, side[end + 1 :])
    ):
        return list(side[:end])
    clean = (
        after is None
        or after.kind == ")"
        or (
            after.kind == "word"
            and after.text.lower() not in _GOES_ON
            and (len(after.text) > 1 or after.text == "a")
        )
    )
    return list(side[:end]) if clean else None


def _end(tokens: Sequence[Token]) -> int:
    """How many tokens the expression takes, 0 where there is none."""
    try:
        reader = Expression(tokens)
        reader.expression()
    except Unreadable:
        return 0
    return reader.at


def readings(tokens: Sequence[Token], *, bullet: bool = False) -> list[Value]:
    """What the expression may be worth: 20% as 20 and as 0.2, a final `!` as factorial and as none,
    a leading dash as sign and as bullet."""
    out: list[Value] = []
    versions = [tokens]
    if tokens[-1].kind == "bang":
        versions.append(tokens[:-1])
    if bullet and tokens[0].kind == "op" and len(tokens) > 1:
        versions.append(tokens[1:])
    for version in versions:
        for percent in (False, True) if any(t.kind == "percent" for t in version) else (False,):
            try:
                out.append(Expression(version, percent=percent).whole())
            except Unreadable:
                continue  # this reading is none; the others may be
    return out


def agree(a: Value, b: Value) -> bool:
    """Whether `a = b` may be written: equal up to the rounding of their parts, or one is the other
    rounded or cut to its own digits.

    >>> third, three = Value(Fraction(10, 3)), Value(Fraction(3), decimals=0)
    >>> twelve, thirteen = Value(Fraction(12)), Value(Fraction(13), decimals=0)
    >>> cut = Value(Fraction("3.33"), decimals=2)
    >>> agree(third, cut), agree(third, three), agree(twelve, thirteen)
    (True, True, False)
    """
    off = abs(a.value - b.value)
    if off <= a.slack + b.slack:
        return True
    for exact, shown in ((a, b), (b, a)):
        if shown.decimals is not None:
            unit = Fraction(1, 10**shown.decimals)
            if (exact.value / unit).denominator != 1 and off < unit + exact.slack:
                return True
    return False


def _other_units(
    left: Sequence[Token], right: Sequence[Token], around: Sequence[Token], a: Fraction, b: Fraction
) -> bool:
    """The sides may be one quantity in two units, or count different things (`3 pencils + 1 eraser
    = 124 cents`)."""
    mine, others = (
        {t.text.lower().rstrip("s") for t in side if t.kind == "word"} for side in (left, right)
    )
    if mine and others and not mine & others:
        return True
    measured = any(t.kind == "word" and _MEASURE.match(t.text) for t in around)
    return measured and bool(a) and bool(b) and max(a / b, b / a) in _CONVERSIONS


def _spell(tokens: Sequence[Token]) -> str:
    return "".join(t.text for t in tokens if t.kind != "word")
