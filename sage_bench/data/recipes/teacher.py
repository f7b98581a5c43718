"""Hints and scaffolds written by a teacher model behind an endpoint; the cost is known first.

Replies are kept in a cache beside the data, so a run that was killed asks for nothing twice. A
reply that cannot be read, or holds the answer, is counted and left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.data.recipes.columns import Extra
from sage_bench.generation.endpoint import endpoint
from sage_bench.types import Problem

MOST_TOKENS = {"hints": 256, "scaffolds": 2048}
AT_ONCE = 256  # calls between two words on progress
SYSTEM = {
    "hints": (
        "You are a teacher. You get a question and its solution. Write one hint of at most three"
        " sentences that names the concept, the strategy or the pitfall that matters. Use no"
        " intermediate result, and never the answer. Reply with the hint and nothing else."
    ),
    "scaffolds": (
        "You are a teacher. You get a question and its solution. Reply with one JSON object and"
        ' nothing else: {"knowledge": [...], "planning": [...], "solution_parts": [...]}, three'
        " lists of four strings each. knowledge: facts, definitions, theorems or formulas that are"
        " needed. planning: high-level steps in order, without calculations. solution_parts:"
        " consecutive parts of the solution, in order; the answer stands in the last one only."
    ),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What asking a teacher costs at most. money: in the currency of the prices."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, about {self.prompt_tokens:,} prompt tokens and at most"
            f" {self.completion_tokens:,} completion tokens: at most {self.money:,.2f}"
        )


def payload(kind: str, problem: Problem, model: str) -> dict[str, Any]:
    """The request for one problem."""
    solution = problem.solution or problem.answer
    user = f"Question:\n{problem.question}\n\nSolution:\n{solution}"
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": SYSTEM[kind]},
            {"role": "user", "content": user},
        ],
        "temperature": 0.6,
        "max_tokens": MOST_TOKENS[kind],
    }


def cost(
    kind: str,
    problems: Sequence[Problem],
    count: Callable[[str], int],
    prices: tuple[float, float],
) -> Cost:
    """An upper bound, before anything is asked. prices: per million prompt and completion tokens.

    >>> kind, problems = "hints", [Problem("a", "1 + 1?", None, "2", {})]
    >>> print(cost(kind, problems, lambda text: 100, (1.0, 4.0)))
    1 calls, about 100 prompt tokens and at most 256 completion tokens: at most 0.00
    """
    prompts = 0
    for problem in problems:
        messages = payload(kind, problem, "")["messages"]
        prompts += count("\n".join(m["content"] for m in messages))
    completions = MOST_TOKENS[kind] * len(problems)
    money = (prompts * prices[0] + completions * prices[1]) / 1e6
    return Cost(len(problems), prompts, completions, money)


def write(
    kind: str,
    problems: Sequence[Problem],
    model: str,
    options: Mapping[str, Any],
    folder: Path,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Extra, dict[str, int]]:
    """The teacher's columns, and how many replies could not be used, by reason.

    options: of the endpoint (`sage_bench.generation.endpoint.Options`); its cache and ledger go to
    `folder`.
    """
    service = endpoint(options, name=f"teacher_{kind}")
    service.open(folder)
    found = Extra(kind, origin={"teacher": model, "url": options["base_url"]})
    failures: Counter[str] = Counter()
    for start in range(0, len(problems), AT_ONCE):
        part = problems[start : start + AT_ONCE]
        replies = service.answer([payload(kind, problem, model) for problem in part])
        for problem, reply in zip(part, replies, strict=True):
            values, reason = read(kind, reply, problem.answer)
            if reason:
                failures[reason] += 1
            else:
                found.add(problem.question, values)
        tell(start + len(part))
    return found, dict(failures)


def read(kind: str, reply: str | None, answer: str) -> tuple[dict[str, Any], str]:
    """(columns, "") of a reply, or ({}, why it cannot be used).

    >>> read("hints", "Think of parity.", "12")
    ({'meta_hint': 'Think of parity.'}, '')
    >>> read("hints", "It is 12.", "12")[1], read("scaffolds", "no", "12")[1]
    ('the answer stands in it', 'not the JSON object that was asked for')
    """
    if reply is None:
        return {}, "no reply"
    if kind == "hints":
        text = reply.strip()
        if not text:
            return {}, "empty"
        return ({}, "the answer stands in it") if holds(text, answer) else ({"meta_hint": text}, "")
    lists = _lists(reply)
    if lists is None:
        return {}, "not the JSON object that was asked for"
    # the last part of the solution may hold the answer: that is what the method's last level is
    early = [*lists["knowledge"], *lists["planning"], *lists["solution_parts"][:-1]]
    if any(holds(item, answer) for item in early):
        return {}, "the answer stands in it"
    return dict(lists), ""


def _lists(reply: str) -> dict[str, list[str]] | None:
    start, end = reply.find("{"), reply.rfind("}")
    try:
        value = json.loads(reply[start : end + 1])
        found = {k: value[k] for k in ("knowledge", "planning", "solution_parts")}
    except (ValueError, KeyError, TypeError):
        return None
    usable = all(
        isinstance(items, list) and items and all(isinstance(x, str) and x.strip() for x in items)
        for items in found.values()
    )
    return found if usable else None


def holds(text: str, answer: str) -> bool:
    """Whether a text states the answer as a word of its own.

    >>> holds("divide by 4", "4"), holds("1/4 of it", "14"), holds("in 40 steps", "4")
    (True, False, False)
    """
    return bool(re.search(rf"(?<![\w.]){re.escape(answer.strip())}(?!\w)", text))
