"""Cutting a response into steps, and partial credit from where the first wrong one stands. Pure
functions (docs/design/sgpo.md 1 to 5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import exp

MATH = re.compile(r"\$\$.*?\$\$|\\\[.*?\\\]|\$[^$\n]*\$|\\\(.*?\\\)", re.DOTALL)
ABBREVIATIONS = frozenset(
    [
        "e.g",
        "i.e",
        "etc",
        "fig",
        "figs",
        "eq",
        "eqs",
        "cf",
        "vs",
        "al",
        "approx",
        "resp",
        "sec",
        "thm",
        "def",
        "prop",
        "no",
        "nos",
        "pp",
        "dr",
        "mr",
        "mrs",
        "st",
    ]
)
_END = re.compile(r"[.!?。！？]+[)\"'\u201d\u2019\]]*(?=\s|$)|[。！？]")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\(?\d{1,3}\.$")
MERGE_BELOW = 3  # word characters; shorter pieces belong to the one before


def split_steps(text: str, most: int | None = None, pattern: str | None = None) -> list[str]:
    r"""Sentences and lines of a response.

    Cuts after runs of line breaks and after sentence ends, never inside mathematics, a decimal, an
    abbreviation or a list number; pieces of fewer than three word characters join their
    predecessor. most: merge neighbours evenly down to this many (a looping response has thousands).
    pattern: cut after every match of this expression instead, for texts that are no prose.

    >>> split_steps("1. Let x = 3.5, e.g. Then $2x = 7.0$. So\nx^2 = 12.25!")
    ['1. Let x = 3.5, e.g. Then $2x = 7.0$. So', 'x^2 = 12.25!']
    >>> split_steps("3*9=7 7+6=3 so 73", pattern=r"=\d")
    ['3*9=7', '7+6=3', 'so 73']
    """
    if pattern is not None:
        ends = [m.end() for m in re.finditer(pattern, text)]
        cut = [text[a:b].strip() for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
        return at_most([piece for piece in cut if piece], most)
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    inside = [m.span() for m in MATH.finditer(text)]
    cuts = {m.end() for m in re.finditer(r"\n+", text)}
    for m in _END.finditer(text):
        before = text[: m.start() + 1]
        word = re.search(r"([A-Za-z.]+)\.$", before)
        short = word is not None and m[0] == "." and word[1].lower().strip(".") in ABBREVIATIONS
        if not short and not _LIST_NUMBER.search(before):
            cuts.add(m.end())
    places = [c for c in sorted(cuts) if not any(a < c < b for a, b in inside)]
    pieces = [text[a:b].strip() for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    steps: list[str] = []
    for piece in (p for p in pieces if p):
        if steps and len(re.findall(r"\w", piece)) < MERGE_BELOW:
            steps[-1] += " " + piece
        else:
            steps.append(piece)
    return at_most(steps, most)


def at_most(steps: list[str], most: int | None) -> list[str]:
    return merge(steps, most) if most and len(steps) > most else steps


def merge(steps: Sequence[str], most: int) -> list[str]:
    """Join neighbours into `most` groups of nearly equal number.

    >>> merge(["a", "b", "c", "d", "e"], 2)
    ['a b', 'c d e']
    """
    bounds = [round(i * len(steps) / most) for i in range(most + 1)]
    return [" ".join(steps[a:b]) for a, b in pairwise(bounds)]


def trajectory_score(steps: int, first_error: int | None) -> float:
    """Reasoning Trajectory Score (k - 1) / n: the share of steps before the first wrong one
    (1-based), 1 when none is wrong, 0 for an empty response (SGPO eq. 1). Raises `ValueError` when
    k is outside 1..n.

    >>> trajectory_score(5, 3), trajectory_score(5, None), trajectory_score(0, None)
    (0.4, 1.0, 0.0)
    """
    if steps == 0:
        return 0.0
    if first_error is None:
        return 1.0
    if not 1 <= first_error <= steps:
        raise ValueError(f"first wrong step {first_error} is not one of {steps}")
    return (first_error - 1) / steps


def length_score(lengths: Sequence[int], first_error: int | None) -> float:
    """The same, weighing steps by their length in tokens.

    >>> length_score([4, 10, 6, 20, 10], 4)
    0.4
    """
    total = sum(lengths)
    if not total:
        return 0.0
    return 1.0 if first_error is None else sum(lengths[: first_error - 1]) / total


def logistic_reward(score: float, beta: float, gamma: float) -> float:
    """1 / (1 + exp(-beta (score - gamma))), the reward of a wrong response (SGPO eq. 2, sign of the
    final version).

    >>> logistic_reward(0.5, 10, 0.5), round(logistic_reward(1.0, 10, 0.5), 4)
    (0.5, 0.9933)
    """
    return 1 / (1 + exp(-beta * (score - gamma)))
