"""Before the start: do the data have the columns the method reads?

A method that finds none of what it builds on trains as something else (SFT on nothing, LUFFY as
GRPO), under its own name. So a run on such data is refused, or marked.
"""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.methods.base import Method, MethodConfig
from sage_bench.methods.columns import Column
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError

ENOUGH = 0.5  # share of the rows that must have a column


def missing_columns(
    method: type[Method], config: MethodConfig, problems: Sequence[Problem]
) -> list[str]:
    """In words: the columns fewer than half of the rows have, and what the method does without."""
    found = []
    for column in method.columns:
        # a method declares every column it may read; switches say which it does read
        if not applies(column, config):
            continue
        names = names_of(column, config)
        # columns that belong together: a row with any of them is of use
        have = sum(any(has(problem, name) for name in names) for problem in problems)
        if have >= ENOUGH * len(problems):
            continue
        listed = ", ".join(f"`{name}`" for name in names)
        without = column.without or "the method trains as if it had none"
        found.append(
            f"{listed} ({column.about}): {have} of {len(problems)} rows have it; otherwise"
            f" {without}"
        )
    return found


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


def has(problem: Problem, name: str) -> bool:
    value = problem.solution if name == "solution" else problem.extra.get(name)
    # a cell that pandas found empty is a float that does not equal itself
    return bool(value) and value == value


def check_columns(
    method: type[Method],
    config: MethodConfig,
    problems: Sequence[Problem],
    *,
    source: str,
    allowed: bool,
) -> list[str]:
    """What is missing, where that is allowed. Raises `UsageError` where it is not."""
    missing = missing_columns(method, config, problems)
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
