"""Tokens of a cleaned answer: numbers, symbols, commands, operators, brackets, separators,
relations, words."""

from __future__ import annotations

import re
from typing import NamedTuple

from sage_bench.grading.robust.text.commands import FUNCTIONS
from sage_bench.grading.robust.text.units import is_unit, read_unit

GREEK = set(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon"
    " phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar partial nabla".split()
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
}
OPENING, CLOSING = (
    {
        "(": ")",
        "[": "]",
        "{": "}",
        "\\{": "\\}",
        "\\langle": "\\rangle",
        "\\lfloor": "\\rfloor",
        "\\lceil": "\\rceil",
    },
    {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"},
)
_SHORT_WORDS = set(
    "is are be was has had can may the for all any if of to at by on in an as so no yes not odd day"
    " men man per its it or and via up down east west north south red blue green only each both one"
    " two six ten off out top toy box bag car bus dog cat egg cup boy girl age new old use did who"
    " how why when then than that this with dne an end row net sum mod am pm let max min nor his"
    " her our you we he she".split()
)
_NUMBER = re.compile(
    r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?|\d+(?:\.\d+)?[eE][+-]?\d+(?![A-Za-z\d])|\d*\.\d*\\(?:overline|bar|dot)\s*\{\d+\}|\d+\.\d+|\.\d+|\d+\.(?=\s*/)|\d+"
)
_PLAIN_NUMBER = re.compile(_NUMBER.pattern.split("|", 1)[1])
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![A-Za-z])|\^\{?\s*«?(?:st|nd|rd|th)»?\s*\}?(?![A-Za-z])")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|«[^»]*»|[A-Za-z]+|.", re.S)


class Token(NamedTuple):
    """kind: num, sym, cmd, word, op, open, close, sep, rel, colon. spaced: white space stood before
    it."""

    kind: str
    text: str
    spaced: bool = False


def tokenize(text: str, *, thousands: bool = True, textual: bool = False) -> list[Token]:
    r"""Tokens of a cleaned text. thousands: `1,234` is one number (else a list of two). textual: it
    comes from a text command.

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
        if m and not (m[0][0] == "." and m[0] == "."):
            out.append(Token("num", m[0].replace(",", ""), spaced))
            i, spaced = m.end(), False
            if ordinal := _ORDINAL.match(text, i):
                i = ordinal.end()
            continue
        m = _TOKEN.match(text, i)
        assert m
        word = m[0]
        if (
            word[0] == "«"
            and ("/" in word or len(word) == 3)
            and (unit := read_unit(word[1:-1].strip()))
            and unit.known
        ):
            out.append(Token("word", word[1:-1].strip(), True))
        elif word[0] == "«":
            out.extend(_spaced(tokenize(word[1:-1], thousands=thousands, textual=True), True))
        elif word[0].isalpha() and word[0].isascii():
            out.extend(_spaced(_letters(word, textual, _is_product(text, i, m.end())), spaced))
        else:
            out.append(Token(_kind(word), word, spaced))
        i, spaced = m.end(), False
    return _merged(out)


def _kind(text: str) -> str:
    if text in RELATIONS:
        return "rel"
    if text in OPENING:
        return "open"
    if text in CLOSING:
        return "close"
    if text in {",", ";", "\\\\", "\u2003"}:
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
    before, after = text[start - 1 : start], text[end : end + 1]
    return end - start == 2 and (
        before.isdigit()
        or before in {"{", "+", "-", "*", "/", "^"}
        or (before == "(" and after == ")")
    )


def _letters(run: str, textual: bool, product: bool = False) -> list[Token]:
    """A run of letters: a function, a connective, a unit, a word, or a product of symbols. product:
    rather symbols than a little word."""
    low = run.lower()
    if run in FUNCTIONS and not (textual and run in {"max", "min"}):
        return [Token("cmd", "\\" + run)]
    if low in {"pi"}:
        return [Token("cmd", "\\pi")]
    if run in {"oo", "infty"} or low in {"infinity", "inf"}:
        return [Token("cmd", "\\infty")]
    if low in {"and", "or"}:
        return [Token("sep", low)]
    if len(run) == 1:
        return [Token("word" if textual and low == "a" else "sym", run)]
    if (
        textual
        or is_unit(run)
        or (low in _SHORT_WORDS and not product)
        or (len(run) >= 4 and not (run.isupper() and len(run) < 6))
    ):
        function = next(
            (
                f
                for f in FUNCTIONS
                if low.startswith(f) and len(run) - len(f) == 1 and f not in {"max", "min", "det"}
            ),
            None,
        )
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", run)
        if function and not textual:
            return [Token("cmd", "\\" + function), Token("sym", run[-1])]
        if len(parts) > 1 and any(p in {"and", "or"} for p in parts):
            return [t for p in parts for t in _letters(p, textual)]
        return [Token("word", run)]
    if low[:2] in {"ln", "lg"} or low[:3] in FUNCTIONS:
        head = low[:2] if low[:2] in {"ln", "lg"} else low[:3]
        return [Token("cmd", "\\" + head), *(Token("sym", c) for c in run[len(head) :])]
    return [Token("sym", c) for c in run]


def _spaced(tokens: list[Token], spaced: bool) -> list[Token]:
    return [tokens[0]._replace(spaced=spaced), *tokens[1:]] if tokens else []


def _merged(tokens: list[Token]) -> list[Token]:
    """Neighbouring words become one phrase; single letters between words belong to it ("pick a
    card")."""
    out: list[Token] = []
    for i, t in enumerate(tokens):
        if (
            t.kind == "sym"
            and t.text in {"a", "A"}
            and i + 1 < len(tokens)
            and tokens[i + 1].kind == "word"
            and tokens[i + 1].spaced
            and not is_unit(tokens[i + 1].text)
        ):
            t = t._replace(kind="word")  # an article
        if t.kind == "word" and out and out[-1].kind == "word":
            out[-1] = out[-1]._replace(
                text=(
                    f"{out[-1].text} {t.text}"
                    if t.spaced or t.text[0].isalnum()
                    else out[-1].text + t.text
                )
            )
        else:
            out.append(t)
    return out


def depth_of(tokens: list[Token]) -> list[int]:
    """Nesting depth before each token (an opening bracket has the depth outside it). Any bracket
    closes any: `(3, 4]`."""
    depths, depth = [], 0
    for t in tokens:
        if t.kind == "close" or t.text == "\\end":
            depth = max(0, depth - 1)
        depths.append(depth)
        if t.kind == "open" or t.text == "\\begin":
            depth += 1
    return depths


def split(tokens: list[Token], is_separator: object) -> list[list[Token]]:
    """Cut at the separators that stand outside all brackets; `is_separator` takes a token."""
    parts: list[list[Token]] = [[]]
    for t, d in zip(tokens, depth_of(tokens), strict=True):
        if d == 0 and is_separator(t):  # type: ignore[operator]
            parts.append([])
        else:
            parts[-1].append(t)
    return parts


def text_of(tokens: list[Token]) -> str:
    """The tokens as text again, without spaces between mathematics."""
    apart = {"word", "sep"}
    return "".join(
        (" " if t.kind in apart or (i and tokens[i - 1].kind in apart) else "") + t.text
        for i, t in enumerate(tokens)
    ).strip()
