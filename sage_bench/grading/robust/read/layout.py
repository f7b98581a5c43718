"""How tokens are laid out: brackets, gaps between answers, conditions at the end."""

from __future__ import annotations

import re
from itertools import pairwise

from sage_bench.grading.robust.read.nodes import Conditional
from sage_bench.grading.robust.text.rules import WIDE
from sage_bench.grading.robust.text.tokens import Token, depth_of, outermost, split

SETS = {"\\reals", "\\integers", "\\naturals", "\\rationals", "\\complexes", "\\emptyset"}
_CONDITIONS = set(
    "for where with when if such given whenever provided assuming whose as because since on over in"
    " which at attained achieved reached occurs occurring".split()
)
_BRANCHES = {"if", "when", "otherwise", "unless"}
_DEFINING = {"that", "where", "with", "satisfying"}
_HARMLESS = {"for", "in", "on", "over", "as", ""}  # words before a condition that only adds to it
_WHOLE_NUMBERS = re.compile(r"integer|natural|whole|prime|odd|even|rational|digit", re.I)


def is_bracketed(tokens: list[Token]) -> bool:
    """Does the first bracket close with the last token?"""
    if len(tokens) < 2 or tokens[0].kind != "open" or tokens[-1].kind != "close":
        return False
    return all(depth > 0 for depth in depth_of(tokens)[1:-1])


_LABEL = re.compile(r"[A-Z](?:_\{?\w+\}?)?'*:?")


def tuple_start(tokens: list[Token]) -> int:
    """Where the first bracket opens; 0 where there is none."""
    return next((i for i, t in enumerate(tokens) if t.kind == "open" and t.text == "("), 0)


def label_of(tokens: list[Token]) -> str | None:
    """The `P` of a point `P(3, -2)`; None for anything else.

    `C(5, 2)` is a number of choices, `P(A, B)` a probability.
    """
    start = tuple_start(tokens)
    if not 0 < start <= 5 or tokens[0].kind != "sym" or not is_bracketed(tokens[start:]):
        return None
    label = "".join(t.text for t in tokens[:start])
    inner = split(tokens[start + 1 : -1], lambda t: t.text == ",")
    capitals = any(len(part) == 1 and part[0].text.isupper() for part in inner)
    choices = label == "C" and len(inner) == 2 and _may_choose(*inner)
    if not _LABEL.fullmatch(label) or len(inner) not in {2, 3} or capitals or choices:
        return None
    return label.rstrip(":")


def _may_choose(n: list[Token], k: list[Token]) -> bool:
    """Can k be chosen from n: not 4 from 3, nor any from a negative number?"""
    if [t.kind for t in (*n, *k)] == ["num", "num"]:
        return float(n[0].text) >= float(k[0].text)
    return all(t.text != "-" for t in (*n[:1], *k[:1]))


def is_membership(part: list[Token]) -> bool:
    """`k ∈ ℤ` beside an answer is a condition."""
    if len(part) < 3:
        return False
    return part[0].kind == "sym" and part[1].text == "\\in" and part[2].text in SETS


def with_divisions(tokens: list[Token]) -> list[Token]:
    """A single `|` outside brackets says that its left side divides its right one."""
    marks = [i for i, t in outermost(tokens) if t.text == "|"]
    ends = [i for i, t in outermost(tokens) if t.kind == "sep"] + [len(tokens)]
    out = list(tokens)
    begin = 0
    for end in ends:
        inside = [i for i in marks if begin <= i < end]
        if len(inside) == 1 and begin < inside[0] < end - 1:
            out[inside[0]] = Token("rel", "\\divides")
        elif len(inside) % 2:
            return tokens
        begin = end + 1
    return out


def finished_parts(part: list[Token]) -> list[list[Token]]:
    """Cut at wide spaces between finished things (`(1,2)  (3,4)`, `x = 1   y = 2`), and between
    tuples side by side."""
    pieces = [p for p in split(part, lambda t: t.text == WIDE) if p]
    finished = all(any(t.kind == "rel" for t in p) or p[0].kind == "open" for p in pieces)
    if len(pieces) > 1 and not finished:
        pieces = [[t for t in part if t.text != WIDE]]
    return [chunk for piece in pieces for chunk in _tuples(piece)]


def _tuples(piece: list[Token]) -> list[list[Token]]:
    """`(1,2)(3,4)` as two pieces; anything else as it is."""
    ends = [i for i, t in outermost(piece) if t.kind == "close"]
    if len(ends) < 2 or ends[-1] != len(piece) - 1:
        return [piece]
    chunks = [piece[a:b] for a, b in pairwise([0, *(e + 1 for e in ends)])]
    return chunks if all(_is_tuple(c) for c in chunks) else [piece]


def _is_tuple(chunk: list[Token]) -> bool:
    if not chunk or chunk[0].kind != "open" or chunk[0].text not in "([":
        return False
    return any(t.text == "," for t in chunk)


def without_condition(tokens: list[Token]) -> list[Token]:
    """What stands before "where ...", "for all ...", "∀ ...".

    Raises `Conditional` where the answer depends on the case.
    """
    for i, (t, depth) in enumerate(zip(tokens, depth_of(tokens), strict=True)):
        first = t.text.split()[0].lower() if t.kind == "word" else ""
        if _is_a_case(first, tokens[i:]):
            raise Conditional("an answer in cases")
        if t.text == "in" and (i == len(tokens) - 1 or tokens[i + 1].text in {"^", "/"}):
            break  # inches
        before = tokens[:i]
        bound = re.match(r"at (?:most|least)\b", t.text.lower())  # says how much, not where
        if re.match(r"(?:is|are|which is) (?:attained|achieved|reached)\b", t.text.lower()):
            first = "attained"
        opens_condition = (first in _CONDITIONS and not bound) or t.text == "\\forall"
        if depth or not opens_condition or all(u.kind == "word" for u in before):
            continue
        if _is_description(before, t, tokens[i + 1 :]):
            return tokens[i + 1 :]  # "all real x such that x > 0"
        if first not in _HARMLESS and all(
            u.kind in {"sym", "open", "close", "sep"} for u in before
        ):
            raise Conditional("everything is in the condition")
        tokens = before
        break
    return _without_separators(tokens)


def _without_separators(tokens: list[Token]) -> list[Token]:
    """Without commas and the like at either end."""
    while tokens and tokens[-1].kind == "sep":
        tokens = tokens[:-1]
    while tokens and tokens[0].kind == "sep":
        tokens = tokens[1:]
    return tokens


def _is_a_case(first: str, rest: list[Token]) -> bool:
    """Does a case begin here: "if ...", or a branch beside which other things are said?"""
    if first == "if":
        return True
    if first in _BRANCHES:
        return any(u.kind == "sep" for u in rest)
    return first == "for" and _has_another_case(rest)


def _has_another_case(tokens: list[Token]) -> bool:
    """`... for odd n, n + 1 for even n`: another value with its condition behind the first."""
    _, *others = split(tokens, lambda t: t.kind == "sep")
    return any(p and p[0].kind != "word" and any(map(_opens_case, p[1:])) for p in others)


def _opens_case(t: Token) -> bool:
    return t.kind == "word" and t.text.split()[0].lower() in {"for", *_BRANCHES}


def _is_description(before: list[Token], word: Token, after: list[Token]) -> bool:
    """ "all real x such that ...": what comes after describes the symbol before."""
    last = word.text.lower().split()[-1] if word.kind == "word" else ""
    if last not in _DEFINING or before[-1].kind != "sym" or before[-1] not in after:
        return False
    if any(u.kind != "word" for u in before[:-1]):
        return False
    return not any(_WHOLE_NUMBERS.search(u.text) for u in before)


def domain_start(tokens: list[Token]) -> int:
    """Where `(x > 0)` begins in `y = 2x (x > 0)`; 0 where no condition stands in brackets at the
    end, or where it is what a probability is of."""
    if len(tokens) < 4 or tokens[-1].text != ")":
        return 0
    start = max((i for i, t in outermost(tokens) if t.kind == "open"), default=0)
    inner = tokens[start + 1 : -1]
    if start == 0 or tokens[start].text != "(":
        return 0
    before = tokens[start - 1]
    if before.kind in {"op", "rel", "sep", "cmd"} or before.text in {"P", "E", "D"}:
        return 0
    return start if any(t.kind == "rel" for _, t in outermost(inner)) else 0
