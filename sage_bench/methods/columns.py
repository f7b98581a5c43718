"""Columns of the data that a method reads besides question and answer, declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Column:
    """A column, what it is for, and what happens without it.

    names: of the column, or of columns that belong together. about: what is in it. when:
    `switch=value` (or `switch=value|value`) under which it is read; empty = always. named_by: the
    switch that holds its name. without: what the method does for a problem that lacks it. becomes:
    what the method is where all problems lack it ("plain GRPO"). required: no problem can be used
    without it. kind: a text, or a list of texts.

    >>> print(Column("trace", "a teacher's response", without="a problem without one is skipped"))
    `trace`: a teacher's response (a problem without one is skipped)
    >>> print(Column(("a", "b"), "lists of items", when="source=data", named_by="a_column"))
    `a`, `b` (`a_column` names it) with `source=data`: lists of items
    """

    names: str | tuple[str, ...]
    about: str
    when: str = ""
    named_by: str = ""
    without: str = ""
    becomes: str = ""
    required: bool = False
    kind: Literal["text", "list"] = "text"

    @property
    def each(self) -> tuple[str, ...]:
        return (self.names,) if isinstance(self.names, str) else self.names

    def __str__(self) -> str:
        text = ", ".join(f"`{name}`" for name in self.each)
        if self.named_by:
            text += f" (`{self.named_by}` names it)"
        if self.when:
            text += f" with `{self.when}`"
        text += f": {self.about}"
        return f"{text} ({self.without})" if self.without else text
