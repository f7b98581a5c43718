"""The processes of a run: one, or those of a distributed engine, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

T = TypeVar("T")
_NOTHING = object()


class Ranks:
    """One process alone; a distributed engine has a subclass.

    rank: number of this process; size: how many there are. Every call of `gather` is collective:
    all ranks make it, in the same order.
    """

    rank = 0
    size = 1
    explain: Callable[[], str]  # what is known of the others, for the error of a wait that failed

    def __init__(self) -> None:
        self.explain = str

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes the files of a run."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """What every rank gave, by rank. Values must pickle."""
        return [value]

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def of_first(self, value: T) -> T:
        """What rank 0 gave."""
        return self.gather(value)[0]

    def share(self, values: Sequence[T]) -> list[T]:
        """This rank's part: every `size`-th value, so that whole groups stay on one rank."""
        return list(values[self.rank :: self.size])

    def close(self) -> None:
        """Leave the others, together with them."""

    def joined(self, part: Sequence[T]) -> list[T]:
        """All parts that `share` made, in their first order."""
        return dealt_back(self.gather(list(part)))


def dealt_back(parts: Iterable[Sequence[T]]) -> list[T]:
    """Undo the dealing of values in turn.

    >>> dealt_back([["a", "c", "e"], ["b", "d"]])
    ['a', 'b', 'c', 'd', 'e']
    """
    turns: Iterable[tuple[Any, ...]] = zip_longest(*parts, fillvalue=_NOTHING)
    return [value for turn in turns for value in turn if value is not _NOTHING]


ALONE = Ranks()


def ranks_of(engine: Any) -> Ranks:
    """The processes an engine works in; an engine that says nothing works in one."""
    found: Ranks = getattr(engine, "ranks", ALONE)
    return found
