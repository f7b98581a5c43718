"""What each judge is, from its own metadata, and docs/methods.md as a whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sage_bench.judges.registry import JUDGES
from sage_bench.methods import describe
from sage_bench.methods.registry import BACKENDS

OURS = "sage_bench.judges."


def judge(name: str) -> dict[str, Any]:
    """What a judge says of itself, and its options with their defaults."""
    made: Callable[..., Any] = JUDGES.get(name)
    parameters = inspect.signature(made).parameters.values()
    named = [
        f"{p.name}={describe.shown(p.default)}" if p.default is not p.empty else p.name
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    ]
    more = "endpoint options" if any(p.kind is p.VAR_KEYWORD for p in parameters) else ""
    return {
        "name": name,
        "about": describe.about(made),
        "options": [*named, *([more] if more else [])],
        "module": made.__module__,
        "place": JUDGES.place(name),
    }


def judges() -> list[dict[str, Any]]:
    return [judge(name) for name in JUDGES.names()]


def markdown(all_registered: bool = False) -> str:
    """docs/methods.md: what is ours, or everything that is registered."""
    return describe.markdown(all_registered) + section(all_registered)


def section(all_registered: bool = False) -> str:
    """The section on judges."""
    askers = [name for name, method in BACKENDS.items() if "judge" in method.Config.model_fields]
    asked_by = ", ".join(f"`{name}`" for name in askers)
    lines = [
        "## Judges",
        "",
        f"Who finds the first wrong step of a response, for {asked_by}: `method.judge=NAME"
        " method.judge_options={...}`.",
        "",
        "| judge | what it does | options |",
        "|---|---|---|",
    ]
    for row in judges():
        if all_registered or row["module"].startswith(OURS):
            options = ", ".join(f"`{option}`" for option in row["options"]) or "none"
            lines.append(f"| `{row['name']}` | {describe.cell(row['about'])} | {options} |")
    return "\n".join(lines) + "\n"
