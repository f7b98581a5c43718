"""Before the start: do the data have the columns the method reads?

A method that finds none of what it builds on trains as something else (SFT on nothing, LUFFY as
GRPO), under its own name. So a run on such data is refused, or marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sage_bench.methods.base import Method, MethodConfig
from sage_bench.methods.columns import Column
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError

ENOUGH = 0.5  # share of the rows that must have a column
WITHOUT = "the method trains as if it had none"
KINDS: dict[str, type | tuple[type, ...]] = {"text": str, "list": (list, tuple)}


def missing_columns(
    method: type[Method], config: MethodConfig, problems: Sequence[Problem]
) -> list[str]:
    """In words: the columns fewer than half of the rows have, and what the method does without."""
    missing = []
    for column, names, have in counted(method, config, problems):
        if have >= ENOUGH * len(problems):
            continue
        text = f"{listed(names)} ({column.about}): {share(have, problems)}"
        other = sum(any(is_other_kind(p, name, column.kind) for name in names) for p in problems)
        if other:
            text += f" ({other} have it, but not as a {column.kind})"
        text += f"; otherwise {column.without or WITHOUT}"
        if column.becomes:
            text += f", and {method.__name__} would be {column.becomes}"
        missing.append(text)
    return missing


def partly_missing(
    method: type[Method], config: MethodConfig, problems: Sequence[Problem]
) -> list[str]:
    """In words: the columns that some rows lack, fewer than half of them."""
    return [
        f"{listed(names)}: {share(have, problems)}; {column.without or WITHOUT}"
        for column, names, have in counted(method, config, problems)
        if ENOUGH * len(problems) <= have < len(problems)
    ]


def counted(
    method: type[Method], config: MethodConfig, problems: Sequence[Problem]
) -> Iterator[tuple[Column, tuple[str, ...], int]]:
    """Each column the method reads as it is switched, its names, and how many rows have it."""
    for column in method.columns:
        # a method declares every column it may read; switches say which it does read
        if applies(column, config):
            names = names_of(column, config)
            # columns that belong together: a row with any of them is of use
            have = sum(any(has(p, name, column.kind) for name in names) for p in problems)
            yield column, names, have


def listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def share(have: int, problems: Sequence[Problem]) -> str:
    return f"{have} of {len(problems)} rows ({have / max(len(problems), 1):.0%}) have it"


def applies(column: Column, config: MethodConfig) -> bool:
    """Whether the switches are such that the column is read (`when`: `switch=value` or
    `switch=value|value`)."""
    if not column.when:
        return True
    switch, _, values = column.when.partition("=")
    return str(getattr(config, switch)) in values.split("|")


def names_of(column: Column, config: MethodConfig) -> tuple[str, ...]:
    """What the columns are called: by the switch that names them, or as declared."""
    if not column.named_by:
        return column.each
    return (str(getattr(config, column.named_by)),)


def value_of(problem: Problem, name: str) -> Any:
    return problem.solution if name == "solution" else problem.extra.get(name)


def has(problem: Problem, name: str, kind: str) -> bool:
    """Whether a row has something in a column, of the kind that the method reads."""
    value = value_of(problem, name)
    return bool(value) and isinstance(value, KINDS[kind])


def is_other_kind(problem: Problem, name: str, kind: str) -> bool:
    """Whether a row has something there that the method would take apart wrongly: a list where it
    reads a text, a text where it reads the items of a list."""
    value = value_of(problem, name)
    other = KINDS["list" if kind == "text" else "text"]
    return bool(value) and isinstance(value, other)


def check_columns(
    method: type[Method],
    config: MethodConfig,
    problems: Sequence[Problem],
    *,
    source: str,
    allowed: bool,
    say: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """What is missing, where that is allowed. say: is told what only some rows lack. Raises
    `UsageError` where too many lack it and that is not allowed."""
    missing = missing_columns(method, config, problems)
    for text in partly_missing(method, config, problems):
        say(f"{source}: {text}")
    if missing and not allowed:
        raise UsageError(
            f"the data lack what `{method.__name__}` reads: {'; '.join(missing)}",
            where=source,
            remedy=(
                "give data with these columns (data.columns maps other names), or"
                " train.allow_degraded=true (`--allow-degraded`) to train all the same, marked in"
                " manifest and tables"
            ),
        )
    return missing
