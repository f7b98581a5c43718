"""Where in a completion's tokens the reasoning ends and the final answer stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sage_bench.types import TokenIds

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """reasoning: tokens before the final box. bridge: from there to the answer (`\\boxed{`).
    target: the answer's tokens."""

    reasoning: TokenIds
    bridge: TokenIds
    target: TokenIds


def answer_span(tokens: TokenIds, text: Callable[[TokenIds], str]) -> AnswerSpan | None:
    """The last closed, non-empty box of a completion, in tokens; None without one. text: tokens to
    text.

    A token that straddles a border belongs to what follows the border, so that the answer is always
    whole.

    >>> words = ["", "so ", "x=7. ", "\\\\boxed", "{7", "}"]
    >>> answer_span((1, 2, 3, 4, 5), lambda ids: "".join(words[i] for i in ids))
    AnswerSpan(reasoning=(1, 2), bridge=(3,), target=(4,))
    """
    whole = text(tokens)
    for start in reversed(list(_BOX.finditer(whole))):
        end = _closing(whole, start.end() - 1)
        if end is not None and end > start.end():
            first, answer, after = (
                _token_at(tokens, text, c) for c in (start.start(), start.end(), end)
            )
            after = max(after, answer + 1)
            return AnswerSpan(tokens[:first], tokens[first:answer], tokens[answer:after])
    return None


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "{}" and text[i - 1] != "\\":
            depth += 1 if text[i] == "{" else -1
            if depth == 0:
                return i
    return None


def _token_at(tokens: TokenIds, text: Callable[[TokenIds], str], character: int) -> int:
    """Index of the token that holds a character of the decoded text (decoded prefixes only
    grow)."""
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if len(text(tokens[: middle + 1])) <= character:
            low = middle + 1
        else:
            high = middle
    return low
