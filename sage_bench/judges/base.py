"""What every judge is, and reading what a language model answers as one."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from typing import Any

from sage_bench.generation.prompts import Messages, register_prompt
from sage_bench.methods.base import Context
from sage_bench.types import Answer, Problem, Request
from sage_bench.utils.latex_json import protect_latex

# what both system messages say, with a reference solution and without
TASK = "You grade the steps of a solution to a mathematical question. You get the question, "
FIRST_WRONG = """\
and find the first one that is wrong.
A step is wrong when it computes wrongly, infers what does not follow, misreads the question or \
contradicts itself. It is not wrong because it takes another valid route, repeats something, is \
badly written, or tries something it later takes back.
An unfinished response without a wrong step has no wrong step."""
REPLY = """
Reply with one JSON object and nothing else:
{"steps": [{"i": 1, "ok": true}], "first_error": null, "why": "..."}
first_error is the number of the first wrong step, or null; why says in one sentence how it leads \
to the wrong answer."""
JUDGE_SYSTEM = register_prompt(
    "judge_system",
    TASK
    + "a reference solution, and a student's response cut into numbered steps. Go through the"
    + " steps in order "
    + FIRST_WRONG
    + " You need not solve the question yourself."
    + REPLY,
    "system message of the step judge",
)
JUDGE_USER = register_prompt(
    "judge_user",
    "Question:\n{question}\n\nReference solution:\n{solution}\n\nResponse:\n{steps}",
    "user message of the step judge; {steps} are numbered lines",
)

JUDGE_SYSTEM_ALONE = register_prompt(
    "judge_system_alone",
    TASK
    + "and a student's response cut into numbered steps. Go through the steps in order "
    + FIRST_WRONG
    + REPLY,
    "system message of the step judge where the reference solution is withheld",
)
JUDGE_USER_ALONE = register_prompt(
    "judge_user_alone",
    "Question:\n{question}\n\nResponse:\n{steps}",
    "user message of the step judge where the reference solution is withheld",
)

# valid judgements of one response: the first wrong step (1-based), or None for no error
Votes = list["int | None"]


class NotAsked(Votes):
    """No votes, and none to be had: the judge cannot be asked about this response (too long)."""


MOST_BRACES = 2000  # tried as the beginning of an object
Judging = Generator[list[Request], list[Answer], list[Votes]]


class Judge:
    """Base of all judges: implement `judge`. Registered with `@register_judge("name")`; made with
    the options of `method.judge_options`.

    needs: engine capabilities, checked before anything is judged; {"sample"} for a judge that asks
    the policy. max_tokens: longest text it has the policy write, for which its prompts leave room.
    """

    needs: frozenset[str] = frozenset()
    max_tokens: int = 0

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        """A generator over the steps of some responses to one problem; returns the valid votes of
        each, an empty list where no judgement could be had (`NotAsked` where none ever can). Never
        a default in place of a judgement."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what the judge started (processes of a sampler). Called where its work has an end:
        in training it ends with the process."""


def read_judgement(text: str, steps: int) -> tuple[bool, int | None]:
    """(valid, first wrong step) from a judge's reply; the object may stand anywhere in the text,
    and the last one counts (a model that thinks aloud may repeat the form it was given). A reply
    that breaks off within a later object is not valid.

    `first_error` counts; where it is missing, the first step marked not ok; a number outside
    1..steps is moved to the nearest end. Never raises.

    >>> read_judgement('Sure: {"steps": [], "first_error": 9, "why": "x"}', 3)
    (True, 3)
    >>> read_judgement('{"steps": [{"i": 2, "ok": false}]}', 3)
    (True, 2)
    >>> read_judgement("I cannot", 3)
    (False, None)
    >>> read_judgement('as {"first_error": null}: {"first_error": 2, "why": "bec', 3)
    (False, None)
    """
    safe, decoder = protect_latex(text), json.JSONDecoder(strict=False)
    verdict: dict[str, Any] | None = None
    end = 0
    for start in [m.start() for m in re.finditer("{", safe)][:MOST_BRACES]:
        if start < end:
            continue  # inside the object before
        try:
            value, stop = decoder.raw_decode(safe, start)
        except (ValueError, RecursionError):
            continue  # a brace in prose; the object may come later
        if "first_error" in value or "steps" in value:
            verdict, end = value, stop
    if verdict is None or '"first_error"' in safe[end:] or steps < 1:
        return False, None
    return _first_error(verdict, steps)


def _first_error(value: dict[str, Any], steps: int) -> tuple[bool, int | None]:
    if "first_error" not in value:
        valid, first = _first_marked(value["steps"])
        if not valid:
            return False, None
    else:
        first = value["first_error"]
    if isinstance(first, str):
        first = _number_in(first)
    if first is None:
        return True, None
    if isinstance(first, float) and first.is_integer():
        first = int(first)
    if isinstance(first, bool) or not isinstance(first, int):
        return False, None
    return True, min(max(first, 1), steps)


def _first_marked(steps: Any) -> tuple[bool, Any]:
    """(valid, number of the first step marked not ok) of a list of marks."""
    marks = [s for s in steps if isinstance(s, dict)] if isinstance(steps, list) else []
    if not marks or any(not isinstance(s.get("ok"), bool) for s in marks):
        return False, None
    wrong = [s.get("i") for s in marks if s["ok"] is False]
    if wrong and wrong[0] is None:
        return False, None
    return True, wrong[0] if wrong else None


def _number_in(text: str) -> int | str | None:
    """A number or null that a model wrote as a string; anything else stays a string."""
    if text.strip().lower() in {"null", "none"}:
        return None
    return int(text) if re.fullmatch(r"\s*-?[0-9]{1,9}\s*", text) else text


def reference_text(problem: Problem) -> str:
    """What a judge is shown as reference: the solution, or the bare answer where there is none, or
    that there is neither."""
    return problem.solution or (
        f"The answer is {problem.answer}." if problem.answer else "(none is known)"
    )


def judge_messages(
    messages: Messages, question: str, reference: str | None, steps: Sequence[str]
) -> tuple[str, str]:
    """(system, user) messages that ask for the first wrong step. reference: None withholds it."""
    numbered = "\n".join(f"[{i}] {step}" for i, step in enumerate(steps, 1))
    if reference is None:
        user = messages.fill(JUDGE_USER_ALONE, question=question.strip(), steps=numbered)
        return messages.fill(JUDGE_SYSTEM_ALONE), user
    user = messages.fill(
        JUDGE_USER, question=question.strip(), solution=reference.strip(), steps=numbered
    )
    return messages.fill(JUDGE_SYSTEM), user
