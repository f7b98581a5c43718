r"""Answers in cases: `\begin{cases} ... \end{cases}`, and "2 if a > 0, -2 if a < 0"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from sage_bench.grading.robust.read.forms import Case, Cases, Form, Words
from sage_bench.grading.robust.read.names import name_of
from sage_bench.grading.robust.read.nodes import Unreadable
from sage_bench.grading.robust.text.tokens import Token, outermost, split, text_of

Read = Callable[[list[Token]], Form]
_OPENS = re.compile(
    r"(?:if|for|when|where|whenever|provided)\b(?!\s*(?:all|every|any|each)\b)\s*", re.I
)
_REST = re.compile(r"(?:otherwise|else|elsewhere|in all other cases)\.?", re.I)


def cases(tokens: list[Token], read: Read) -> Form | None:
    """The cases the tokens tell, perhaps of a named function; None where they tell none.

    read: what reads a value or a condition. Raises `Unreadable` where a case cannot be read.
    """
    texts = [t.text for t in tokens]
    if "\\begin" in texts and "cases" in texts:
        return _environment(tokens, texts, read)
    parts = [p for p in split(tokens, lambda t: t.kind == "sep") if p]
    if len(parts) < 2:
        return None
    found = [_worded(part, read) for part in parts]
    return Cases(tuple(c for c in found if c)) if all(found) else None


def _environment(tokens: list[Token], texts: list[str], read: Read) -> Form | None:
    begin = texts.index("\\begin")
    end = texts.index("\\end") if "\\end" in texts else 0
    after = [t for t in tokens[end + 4 :] if t.text not in "{}.,"]
    if end <= begin or texts[begin + 2] != "cases" or after:
        return None
    lines = [line for line in split(tokens[begin + 4 : end], lambda t: t.text == "\\\\") if line]
    found = Cases(tuple(_row(line, read) for line in lines))
    before = tokens[:begin]
    if not before:
        return found
    name = name_of(before[:-1]) if before[-1].text == "=" else None
    return replace(name, value=found) if name else None


def _row(line: list[Token], read: Read) -> Case:
    cells = split(line, lambda t: t.text == "&")
    if len(cells) == 1:
        case = _worded(line, read)
        if case is None:
            raise Unreadable("a case without its condition")
        return case
    value, *condition = cells
    return Case(read(_without_commas(value)), _condition([t for c in condition for t in c], read))


def _worded(part: list[Token], read: Read) -> Case | None:
    """ "2 if a > 0"; None where there is no value before the condition."""
    for i, t in outermost(part):
        if t.kind == "word" and i and (_OPENS.match(t.text) or _REST.fullmatch(t.text)):
            if part[0].kind == "word":
                return None
            return Case(read(_without_commas(part[:i])), _condition(part[i:], read))
    return None


def _condition(tokens: list[Token], read: Read) -> Form | None:
    """What a case is for; None for all that the other cases leave over."""
    tokens = _without_commas(tokens)
    if tokens and tokens[0].kind == "word":
        text = _OPENS.sub("", tokens[0].text, count=1)
        tokens = [tokens[0]._replace(text=text), *tokens[1:]] if text else tokens[1:]
    if not tokens or _REST.fullmatch(text_of(tokens)):
        return None
    if not any(t.kind == "word" for t in tokens):
        return read(tokens)
    return Words(re.sub(r"\b(?:is|are)\b", " ", text_of(tokens)))


def _without_commas(tokens: list[Token]) -> list[Token]:
    while tokens and (tokens[-1].kind == "sep" or tokens[-1].text == "."):
        tokens = tokens[:-1]
    while tokens and tokens[0].kind == "sep":
        tokens = tokens[1:]
    return tokens
