"""What gives a solution away in a hint that should stay abstract. Pure functions of text."""

from __future__ import annotations

import re


def new_numbers(hint: str, question: str) -> list[str]:
    """Numbers of the hint that are not in the question: intermediate results, most likely.

    >>> new_numbers("use the 3 sides, then 12", "3 sides")
    ['12']
    """
    asked = set(re.findall(r"\d+(?:\.\d+)?", question))
    return [n for n in re.findall(r"\d+(?:\.\d+)?", hint) if n not in asked]


def copies(hint: str, solution: str, n: int = 4) -> float:
    """Share of the hint's runs of n words that also stand in the solution.

    >>> copies("square both sides of it", "first square both sides of it, then")
    0.5
    """
    runs = [tuple(w[i : i + n]) for w in [hint.lower().split()] for i in range(len(w) - n + 1)]
    words = solution.lower().split()
    known = {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
    return sum(r in known for r in runs) / len(runs) if runs else 0.0
