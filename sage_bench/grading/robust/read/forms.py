"""What an answer can be."""

from __future__ import annotations

from dataclasses import dataclass

from sage_bench.grading.robust.read.nodes import Node
from sage_bench.grading.robust.text.units import Unit


@dataclass(frozen=True)
class Value:
    """An expression, perhaps with a unit."""

    node: Node
    unit: Unit | None = None


@dataclass(frozen=True)
class Words:
    """Text as written, without markup."""

    text: str


@dataclass(frozen=True)
class Named:
    """`name = value`.

    parameters: ("x",) of `f(x) = ...`. in_words: the name is text ("Maximum", "Sequence 1").
    """

    name: str
    value: Form
    parameters: tuple[str, ...] = ()
    in_words: bool = False


@dataclass(frozen=True)
class Many:
    """Several things.

    opening and closing: their brackets, both empty for a bare list; a set has `{`; round and
    square ones are ordered. joined: "and" or "or" where a word stands between the items.
    """

    items: tuple[Form, ...]
    opening: str = ""
    closing: str = ""
    joined: str = ""

    @property
    def ordered(self) -> bool:
        return self.opening in {"(", "["}


@dataclass(frozen=True)
class Relation:
    """`a < b <= c`, `x^2 + y^2 = 1`.

    ops stand between the sides: = != < > <= >= ~ mod. A side in words stands for any expression.
    """

    sides: tuple[Node | Words, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True)
class Combined:
    """Sets or conditions joined. how: union, intersection, difference, and, or."""

    how: str
    parts: tuple[Form, ...]


@dataclass(frozen=True)
class Whole:
    """The real numbers and the like."""

    name: str


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Form, ...], ...]


@dataclass(frozen=True)
class Ratio:
    parts: tuple[Form, ...]


@dataclass(frozen=True)
class Clock:
    """A time of day in seconds.

    half: am, pm or None. certain: it cannot be meant as a ratio (12:30 would be 2:5).
    """

    seconds: int
    half: str | None
    certain: bool = False


@dataclass(frozen=True)
class Case:
    """condition: None for all that the other cases leave over."""

    value: Form
    condition: Form | None


@dataclass(frozen=True)
class Cases:
    """A value that depends on the case."""

    cases: tuple[Case, ...]


Form = Cases | Value | Words | Named | Many | Relation | Combined | Whole | Matrix | Ratio | Clock


@dataclass(frozen=True)
class Reading:
    """One way to read a text.

    integers: symbols stated to be any whole number ("k ∈ ℤ"). condition: the domain that was stated
    ("x > 0"). domains: (symbol, kind of number) of all that were stated.
    arbitrary: symbols stated to be any constant. place: where the value is taken ("at x = 3").
    extreme: the answer speaks of a maximum, a minimum or the like.
    """

    form: Form
    integers: frozenset[str] = frozenset()
    condition: Form | None = None
    domains: tuple[tuple[str, str], ...] = ()
    arbitrary: frozenset[str] = frozenset()
    place: Named | None = None
    extreme: bool = False
