"""Where a value is taken: the `x = 3` of "the minimum is 1 at x = 3"."""

from __future__ import annotations

import re

from sage_bench.grading.robust.text.tokens import Token, outermost

_AT = re.compile(r"(?:.*\s)?(?:at|when|where|for)", re.I | re.S)
_EXTREME = re.compile(
    r"\b(?:max(?:imum|imal)?|min(?:imum|imal)?|largest|smallest|greatest|least|biggest|highest"
    r"|lowest|attained|reached|achieved|occurs)\b",
    re.I,
)


def place_in(tokens: list[Token]) -> list[Token] | None:
    """The equation behind "at", "when", "for", with the value before it; None where there is none.

    >>> from sage_bench.grading.robust.text.tokens import text_of, tokenize
    >>> text_of(place_in(tokenize("«The minimum is» 1 «at» x=3")))
    'x=3'
    >>> place_in(tokenize("«minimum at» x=3")), place_in(tokenize("x^2 «for» x>0"))
    (None, None)
    """
    outside = outermost(tokens)
    for i, t in outside:
        has_value = any(u.kind != "word" for u in tokens[:i])
        if t.kind != "word" or not has_value or not _AT.fullmatch(t.text):
            continue
        ends = [j for j, u in outside if j > i and u.kind in {"word", "sep"}]
        equation = tokens[i + 1 : min(ends, default=len(tokens))]
        if [u.kind for u in equation[:2]] == ["sym", "rel"] and equation[1].text == "=":
            return equation
    return None


def tells_extreme(tokens: list[Token]) -> bool:
    """Is a maximum, a minimum or the like spoken of?"""
    return any(t.kind == "word" and _EXTREME.search(t.text) for t in tokens)
