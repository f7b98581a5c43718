"""Tokens of a cleaned answer: numbers, symbols, commands, brackets, separators, words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sage_bench.grading.robust.text.commands import FUNCTIONS
from sage_bench.grading.robust.text.rules import WIDE
from sage_bench.grading.robust.text.units import is_unit, is_unit_product, read_unit

GREEK = set(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon"
    " phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar partial"
    " nabla".split()
)
RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
    "\\approx": "~",
    "\\in": "in",
    "\\equiv": "=",
    "\\implies": "=>",
    "\\to": "->",
    "\\sim": "~",
    "\\cong": "=",
    "\\divides": "|",
    "\\misses": "!|",
}
OPENING = {
    "(": ")",
    "[": "]",
    "{": "}",
    "\\{": "\\}",
    "\\langle": "\\rangle",
    "\\lfloor": "\\rfloor",
    "\\lceil": "\\rceil",
}
CLOSING = set(OPENING.values())
_SHORT_WORDS = set(
    "is are be was has had can may the for all any if of to at by on in an as so no yes not odd day"
    " men man per its it or and via up down east west north south red blue green only each both one"
    " two six ten off out top toy box bag car bus dog cat egg cup boy girl age new old use did who"
    " how why when then than that this with dne an end row net sum mod am pm let max min nor his"
    " her our you we he she".split()
)
_GROUPED = r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?"  # 1,234,567.8
_UNGROUPED = (
    r"\d+(?:\.\d+)?[eE][+-]?\d+(?![A-Za-z\d])"  # 4.5e33
    r"|\d*\.\d*\\(?:overline|bar|dot)\s*\{\d+\}"  # 0.1\overline{6}
    r"|\d+\.\d+|\.\d+|\d+\.(?=\s*/)|\d+"
)
_NUMBER = re.compile(rf"{_GROUPED}|{_UNGROUPED}")
_PLAIN_NUMBER = re.compile(_UNGROUPED)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![A-Za-z])|\^\{?\s*«?(?:st|nd|rd|th)»?\s*\}?(?![A-Za-z])")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|«[^»]*»|[A-Za-z]+|.", re.S)


# `sinhx`: a function and one letter, written together
_APPLIED_TO_A_LETTER = re.compile(
    "(?:" + "|".join(f for f in FUNCTIONS if f not in {"max", "min", "det"}) + ")[a-z]", re.I
)


class Token(NamedTuple):
    """kind: num, sym, cmd, word, op, open, close, sep, rel, colon.

    spaced: white space stood before it.
    """

    kind: str
    text: str
    spaced: bool = False


def tokenize(text: str, *, thousands: bool = True, textual: bool = False) -> list[Token]:
    r"""Tokens of a cleaned text.

    thousands: `1,234` is one number (else a list of two). textual: it comes from a text command.

    >>> [t.text for t in tokenize(r"2\pi r, «cm or» 1,234")]
    ['2', '\\pi', 'r', ',', 'cm', 'or', '1234']
    >>> [(t.kind, t.text) for t in tokenize("15th Day")], [t.kind for t in tokenize("abc")]
    ([('num', '15'), ('word', 'Day')], ['sym', 'sym', 'sym'])
    """
    out: list[Token] = []
    i, spaced = 0, False
    number = _NUMBER if thousands else _PLAIN_NUMBER
    while i < len(text):
        if text[i] == " ":
            i, spaced = i + 1, True
            continue
        m = number.match(text, i)
        if m:
            out.append(Token("num", m[0].replace(",", ""), spaced))
            i = m.end()
            if ordinal := _ORDINAL.match(text, i):
                i = ordinal.end()
        else:
            m = _TOKEN.match(text, i)
            assert m  # the last alternative is any character
            out.extend(_tokens_of(text, m, spaced, thousands=thousands, textual=textual))
            i = m.end()
        spaced = False
    return _merged(out)


def _tokens_of(
    text: str, m: re.Match[str], spaced: bool, *, thousands: bool, textual: bool
) -> list[Token]:
    """The tokens of one command, phrase, run of letters or sign."""
    found = m[0]
    if found[0] == "«":
        inner = found[1:-1]
        if "/" in found or len(found) == 3 or is_unit_product(inner):
            unit = read_unit(inner.strip())
            if unit and unit.known:
                return [Token("word", inner.strip(), True)]
        return _spaced(tokenize(inner, thousands=thousands, textual=True), True)
    if found[0].isalpha() and found[0].isascii():
        product = _is_product(text, m.start(), m.end())
        return _spaced(_letters(found, textual, product), spaced)
    return [Token(_kind(found), found, spaced)]


def _kind(text: str) -> str:
    if text in RELATIONS:
        return "rel"
    if text in OPENING:
        return "open"
    if text in CLOSING:
        return "close"
    if text in {",", ";", "\\\\", WIDE}:
        return "sep"
    if text == ":":
        return "colon"
    if text[0] == "\\" and text[1:] in GREEK:
        return "sym"
    if text[0] == "\\" and len(text) > 1 and text[1].isalpha():
        return "cmd"
    return "op" if text in "+-*/^_!'%&|.?" or text == "\\$" else "word"


def _is_product(text: str, start: int, end: int) -> bool:
    """Do two letters stand where only symbols do: `2it`, `e^{at}`, `f(at)`?"""
    if end - start != 2:
        return False
    before, after = text[start - 1 : start], text[end : end + 1]
    in_brackets = before == "(" and after == ")"
    return before.isdigit() or before in {"{", "+", "-", "*", "/", "^"} or in_brackets


def _letters(run: str, textual: bool, product: bool = False) -> list[Token]:
    """A run of letters: a function, a connective, a unit, a word, or a product of symbols.

    product: rather symbols than a little word.
    """
    low = run.lower()
    if run in FUNCTIONS and not (textual and run in {"max", "min"}):
        return [Token("cmd", "\\" + run)]
    if low == "pi":
        return [Token("cmd", "\\pi")]
    if run in {"oo", "infty"} or low in {"infinity", "inf"}:
        return [Token("cmd", "\\infty")]
    if low in {"and", "or"}:
        return [Token("sep", low)]
    if len(run) == 1:
        return [Token("word" if textual and low == "a" else "sym", run)]
    long = len(run) >= 4 and not (run.isupper() and len(run) < 6)
    if textual or is_unit(run) or (low in _SHORT_WORDS and not product) or long:
        return _word(run, textual)
    head = next((f for f in ("ln", "lg") if low.startswith(f)), None)
    if head is None and low[:3] in FUNCTIONS:
        head = low[:3]
    if head:  # `sinx`
        return [Token("cmd", "\\" + head), *(Token("sym", c) for c in run[len(head) :])]
    return [Token("sym", c) for c in run]


def _word(run: str, textual: bool) -> list[Token]:
    """One word, unless two are written together (`xory`, `sinhx`)."""
    if not textual and _APPLIED_TO_A_LETTER.fullmatch(run):
        return [Token("cmd", "\\" + run[:-1].lower()), Token("sym", run[-1])]
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", run)
    if len(parts) > 1 and any(p in {"and", "or"} for p in parts):
        return [t for p in parts for t in _letters(p, textual)]
    return [Token("word", run)]


def _spaced(tokens: list[Token], spaced: bool) -> list[Token]:
    return [tokens[0]._replace(spaced=spaced), *tokens[1:]] if tokens else []


def _merged(tokens: list[Token]) -> list[Token]:
    """Neighbouring words become one phrase, articles between them too ("pick a card")."""
    out: list[Token] = []
    for i, t in enumerate(tokens):
        if t.kind == "sym" and t.text in {"a", "A"} and _is_article(tokens[i + 1 : i + 2]):
            t = t._replace(kind="word")
        if t.kind == "word" and out and out[-1].kind == "word":
            before = out[-1]
            gap = " " if t.spaced or t.text[0].isalnum() else ""
            out[-1] = before._replace(text=f"{before.text}{gap}{t.text}")
        else:
            out.append(t)
    return out


def _is_article(following: list[Token]) -> bool:
    """Does a word follow that an `a` belongs to?"""
    return any(t.kind == "word" and t.spaced and not is_unit(t.text) for t in following)


def depth_of(tokens: Sequence[Token]) -> list[int]:
    """Nesting depth before each token (an opening bracket has the depth outside it).

    Any bracket closes any: `(3, 4]`.
    """
    depths, depth = [], 0
    for t in tokens:
        if t.kind == "close" or t.text == "\\end":
            depth = max(0, depth - 1)
        depths.append(depth)
        if t.kind == "open" or t.text == "\\begin":
            depth += 1
    return depths


def outermost(tokens: Sequence[Token]) -> list[tuple[int, Token]]:
    """(index, token) of those outside all brackets, the brackets included."""
    return [(i, tokens[i]) for i, depth in enumerate(depth_of(tokens)) if depth == 0]


def split(tokens: Sequence[Token], is_separator: Callable[[Token], bool]) -> list[list[Token]]:
    """Cut at the separators that stand outside all brackets."""
    parts: list[list[Token]] = [[]]
    for t, depth in zip(tokens, depth_of(tokens), strict=True):
        if depth == 0 and is_separator(t):
            parts.append([])
        else:
            parts[-1].append(t)
    return parts


def at_commas(tokens: Sequence[Token]) -> list[list[Token]]:
    return split(tokens, lambda t: t.text == ",")


def text_of(tokens: Sequence[Token]) -> str:
    """The tokens as text again, without spaces between mathematics."""
    out = []
    before = ""
    for i, t in enumerate(tokens):
        apart = t.kind in {"word", "sep"} or (i > 0 and before in {"word", "sep"})
        out.append(f" {t.text}" if apart else t.text)
        before = t.kind
    return "".join(out).strip()
