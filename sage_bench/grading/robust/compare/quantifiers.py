r"""Statements with quantifiers: there is one is not for all, and their order counts."""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBERS = r"(?:real |positive )?(?:numbers? |integers? )?"
_ALL = rf"\\forall(?![a-z])|«\s*(?:for all|for every|for any|for each|for)\s*{_NUMBERS}»"
_NONE = r"\\nexists(?![a-z])|«\s*there (?:is|exists) no\s*»"
_SOME = r"\\exists(?![a-z])|«\s*there (?:exists?|is)(?: an?| some)?\s*»|«\s*for some\s*»"
_KINDS = tuple(
    (re.compile(p), kind) for p, kind in ((_ALL, "all"), (_NONE, "none"), (_SOME, "some"))
)
_VARIABLE = re.compile(r"\s*!?\s*([a-zA-Z](?:\s*,\s*[a-zA-Z])*)(?![a-zA-Z(])\s*")
_DOMAIN = re.compile(r"\\in\s*(\\[a-z]+(?:\s*[\^_]\s*\{?[+*]\}?)?)\s*")
_GAP = re.compile(r"\s*(?:«\s*(?:such that|we have|it holds that|with)\s*»|[:,])?\s*")
_OF_SOME = re.compile(
    r"«[^»]*\b(?:for some|for at least one|for infinitely many)\s*»\s*([a-z])(?![a-zA-Z])"
)


class Statement(NamedTuple):
    """prefix: (kind, domain or empty) of each quantifier before the claim."""

    prefix: tuple[tuple[str, str], ...]
    claim: str


def statement(cleaned: str) -> Statement:
    r"""The quantifiers a cleaned text begins with, and what it claims of them.

    >>> statement(r"\forall x \in \reals , x^2 > -1")
    Statement(prefix=(('all', '\\reals'),), claim='x^2 > -1')
    """
    prefix: list[tuple[str, str]] = []
    at = 0
    while (found := _quantifier(cleaned, at)) is not None:
        kind, domain, at = found
        prefix.append((kind, domain))
    return Statement(tuple(prefix), cleaned[at:])


def _quantifier(text: str, at: int) -> tuple[str, str, int] | None:
    """(kind, domain, index behind it) of a quantifier at this place."""
    for pattern, kind in _KINDS:
        opening = pattern.match(text, at)
        variable = _VARIABLE.match(text, opening.end()) if opening else None
        if variable:
            domain = _DOMAIN.match(text, variable.end())
            gap = _GAP.match(text, (domain or variable).end())
            assert gap  # it may be empty
            return kind, domain[1].replace(" ", "") if domain else "", gap.end()
    return None


def same_prefix(one: Statement, two: Statement) -> bool:
    """The same quantifiers in the same order; a domain that one side leaves out is not missed."""
    if not one.prefix or not two.prefix:
        return all(kind == "all" for kind, _ in (*one.prefix, *two.prefix))
    if len(one.prefix) != len(two.prefix):
        return False
    for (kind, domain), (other, theirs) in zip(one.prefix, two.prefix, strict=True):
        if kind != other or (domain and theirs and domain != theirs):
            return False
    return True


def claims_of_some(cleaned: str) -> bool:
    """`f(n) = n + 1 for some n`: said of some arguments of the function only."""
    return any(f"({m[1]})" in cleaned.replace(" ", "") for m in _OF_SOME.finditer(cleaned))
