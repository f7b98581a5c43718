"""What completions.jsonl keeps of a step: prompts, hints and completions, to be read by people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_bench.methods.base import Context, Method
from sage_bench.methods.driver import Collected
from sage_bench.methods.guard import Guard
from sage_bench.types import Group


def shown(
    method: Method, context: Context, step: int, items: Sequence[Collected], most: int
) -> list[dict[str, Any]]:
    """Texts of some groups of a step: those of which the method has more to say first, since they
    may be rare."""
    described: list[dict[str, Any]] = []
    plain: list[dict[str, Any]] = []
    for item in items:
        if len(described) == most:
            break
        facts = descriptions(method, item.group)
        if facts or len(plain) < most:
            (described if facts else plain).append(texts(context, step, item) | facts)
    return (described + plain)[:most]


def descriptions(method: Method, group: Group) -> dict[str, list[Any]]:
    """What the method says of each completion, as one list a name."""
    guard = Guard(method)
    facts = []
    for i in range(len(group.completions)):
        with guard.calling("describe_completion", group.problem):
            found = method.describe_completion(group, i)
        facts.append(guard.plain("describe_completion", found, group.problem))
    names = dict.fromkeys(name for found in facts for name in found)
    return {name: [found.get(name) for found in facts] for name in names}


def texts(context: Context, step: int, item: Collected) -> dict[str, Any]:
    """Prompt, hint and completions of one group, to be read by people."""
    group = item.group
    return {
        "step": step,
        "uid": group.problem.uid,
        "level": group.level,
        "prompt": context.renderer.tokenizer.decode(list(group.prompt)),
        "hint": group.notes.get("hint"),
        "answer": group.problem.answer,
        "completions": [
            {"text": context.text(c.tokens), "finish": c.finish, "reward": float(r)}
            for c, r in zip(group.completions, group.rewards, strict=False)
        ],
    }
