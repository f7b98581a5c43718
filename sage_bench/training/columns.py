"""Before the start: do the data have the columns the method reads?

A method that finds none of what it builds on trains as something else (SFT on nothing, LUFFY as
GRPO), under its own name. So a run on such data is refused, or marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sage_bench.methods.base import Method, MethodConfig
from sage_bench.methods.columns import Column
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError

ENOUGH = 0.5  # share of the rows that must have a column
KINDS: dict[str, type | tuple[type, ...]] = {"text": str, "list": (list, tuple)}


def missing_columns(
    method: type[Method], config: MethodConfig, problems: Sequence[Problem]
) -> tuple[list[str], list[str]]:
    """In words: (columns that fewer than half of the rows have, with what the method does without;
    columns that some rows lack)."""
    missing, partly = [], []
    for column in method.columns:
        # a method declares every column it may read; switches say which it does read
        if not applies(column, config):
            continue
        names = names_of(column, config)
        # columns that belong together: a row with any of them is of use
        have = sum(any(has(p, name, column.kind) for name in names) for p in problems)
        if have == len(problems):
            continue
        listed = ", ".join(f"`{name}`" for name in names)
        without = column.without or "the method trains as if it had none"
        counted = f"{have} of {len(problems)} rows ({have / len(problems):.0%}) have it"
        if have >= ENOUGH * len(problems):
            partly.append(f"{listed}: {counted}; {without}")
            continue
        text = f"{listed} ({column.about}): {counted}"
        other = sum(any(is_other_kind(p, name, column.kind) for name in names) for p in problems)
        if other:
            text += f" ({other} have it, but not as a {column.kind})"
        text += f"; otherwise {without}"
        if column.becomes:
            text += f", and the run is {column.becomes} under the name of {method.__name__}"
        missing.append(text)
    return missing, partly


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
    missing, partly = missing_columns(method, config, problems)
    for text in partly:
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
