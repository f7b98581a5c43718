"""What several judgements of one response amount to. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf


def majority(votes: Sequence[int | None]) -> int | None:
    """The most frequent position; ties go to the earliest, and "no error" is later than every
    position.

    >>> majority([5, 5, 2, 2]), majority([None, None, 4, 1]), majority([None, 4, None, 4])
    (2, None, 4)
    """
    counts = Counter(votes)
    top = max(counts.values())
    return min((v for v, n in counts.items() if n == top), key=lambda v: inf if v is None else v)
