"""Hints a policy writes itself from the reference solution: asking for them, reading them, refusing
the ones that give the answer away (SAGE, arXiv 2602.03143 section 3; docs/design/sage.md 1.4).

Reading is tolerant of form and strict about leaks. The released parser hands LaTeX to a JSON
reader; ours protects its backslashes first, then reads strictly, then falls back to looking for the
keys one by one, so that a cut-off or slightly wrong object still yields the levels that are whole.
The wording of the prompt is ours and keeps the contract of the paper: progressive levels, JSON,
never the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sage_bench.generation.prompts import (
    HINT_LEAD,
    Messages,
    Renderer,
    register_prompt,
    register_wording,
)
from sage_bench.methods.base import Context, Hints
from sage_bench.types import Problem, Sample, Sampling, TokenIds
from sage_bench.utils.latex_json import protect_latex

HINT_SYSTEM = register_prompt(
    "hint_system",
    """\
You are a tutor. You get a question and its solution, and write hints on three levels for a student who is stuck.
Level 1 names the key idea only. Level 2 shows the way to start. Level 3 leads through most of the way and leaves the \
end to the student.
Each level builds on the one before. Never state the final answer. Reply with one JSON object and nothing else:
{"level_1": "...", "level_2": "...", "level_3": "..."}""",  # noqa: E501
    "system message when the policy writes hints",
)
HINT_USER = register_prompt(
    "hint_user",
    "Question:\n{question}\n\nSolution:\n{solution}",
    "user message when the policy writes hints",
)
# the released code's wording of a hinted prompt (BaohaoLiao/SAGE @8722c1a)
register_wording("code", f"Question:\n{{question}}\n\n{HINT_LEAD}\n{{hint}}")

_KEY = re.compile(r"""["']?\b(?:level|hint)[ _-]?(\d+)["']?\s*:\s*""", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|' + r"'((?:[^'\\]|\\.)*)'", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HintParse:
    """levels: one entry a level, None where a level is missing or blank. status: "ok", "partial"
    (some level missing), "repaired" (read key by key) or "unparsable" (no level at all)."""

    levels: tuple[str | None, ...]
    status: str

    @property
    def usable(self) -> bool:
        return any(self.levels)


def parse_hints(text: str, levels: int = 3) -> HintParse:
    r"""The hint levels in a model's answer.

    Accepts fenced and bare JSON, prose before and after, line breaks inside strings, a list around
    the object, single quotes, unquoted keys, trailing commas, comments and objects cut off at the
    end.

    >>> said = '{"level_1": "use \\frac{a}{b}", "level_2": "b", "level_3": "c"}'
    >>> parse_hints(f"Sure! ```json\n{said}\n``` Good luck").levels
    ('use \\frac{a}{b}', 'b', 'c')
    >>> parse_hints('{"level_1": "a", "level_2": "b').levels
    ('a', None, None)
    >>> parse_hints("no hints today").status
    'unparsable'
    """
    safe = protect_latex(text)
    decoder = json.JSONDecoder(strict=False)
    for start in (m.start() for m in re.finditer(r"\{", safe)):
        try:
            value, _ = decoder.raw_decode(safe, start)
        except ValueError:
            # prose with a brace, or JSON that is not quite: the next brace, then key by key
            continue
        found = _levels_of(value, levels)
        if any(found):
            return HintParse(found, "ok" if all(found) else "partial")
    by_key: dict[int, str] = {}
    for key in _KEY.finditer(safe):
        string = _STRING.match(safe, key.end())
        if string:
            raw = (
                string[1]
                if string[1] is not None
                else string[2].replace('"', '\\"').replace("\\'", "'")
            )
            try:
                by_key.setdefault(int(key[1]), json.loads(f'"{raw}"', strict=False))
            except ValueError:
                continue  # an escape no reader knows: this level is missing, the others stand
    found = tuple(by_key.get(k, "").strip() or None for k in range(1, levels + 1))
    return HintParse(found, "repaired" if any(found) else "unparsable")


def _levels_of(value: object, levels: int) -> tuple[str | None, ...]:
    if not isinstance(value, dict):
        return (None,) * levels
    named: dict[int, str] = {}
    for key, text in value.items():
        number = re.fullmatch(r"(?:level|hint)?[ _-]?(\d+)", str(key).strip(), re.IGNORECASE)
        if number and isinstance(text, str) and text.strip():
            named[int(number[1])] = text.strip()
    return tuple(named.get(k) for k in range(1, levels + 1))


def leaks_answer(hint: str, answer: str, question: str = "") -> bool:
    r"""True when the hint contains the final answer.

    Spaces, `$` and outer boxes do not matter. A number counts only where it stands alone ("12" is
    not in "120" or "1.12"). A single letter or digit run that already stands in the question is no
    news and does not count, unless the hint presents it as the answer (boxed, or after "answer
    is").

    >>> leaks_answer("so x = 12", "12"), leaks_answer("there are 120 ways", "12")
    (True, False)
    >>> leaks_answer(r"\boxed{\frac12}", r"$\frac{1}{2}$")
    False
    >>> leaks_answer("halve the 8 apples", "8", question="8 apples ...")
    False
    >>> leaks_answer("the answer is 8", "8", question="8 apples")
    True
    """
    boxed = re.fullmatch(r"\s*\\boxed\{(.*)\}\s*", answer, re.DOTALL)
    gold, text, asked = _plain(boxed[1] if boxed else answer), _plain(hint), _plain(question)
    if not gold:
        return False
    alone = (
        re.compile(r"(?<![\w.])" + re.escape(gold) + r"(?!\w|[.,]\d)")
        if re.fullmatch(r"[\w.+-]+", gold)
        else re.compile(re.escape(gold))
    )
    if not alone.search(text):
        return False
    told = re.search(r"(?:boxed\{|answer(?:is|:|=)+)" + re.escape(gold), text.replace(" ", ""))
    return bool(told) or not alone.search(asked)


def _plain(text: str) -> str:
    text = re.sub(
        r"\$|\\[,!;]|\\left|\\right|\\[td]?frac(?=\{)",
        lambda m: r"\frac" if "frac" in m[0] else "",
        text,
    )
    return re.sub(r"\s+", " ", text).strip().lower()


def hint_messages(messages: Messages, question: str, solution: str) -> tuple[str, str]:
    """(system, user) messages that ask for hints on three levels."""
    user = messages.fill(HINT_USER, question=question.strip(), solution=solution.strip())
    return messages.fill(HINT_SYSTEM), user


def hint_prompt(renderer: Renderer, question: str, solution: str) -> TokenIds:
    """Token ids that ask for hints on three levels, (P,)."""
    return renderer.ids(renderer.text(*hint_messages(renderer, question, solution)))


def write_hints(
    ctx: Context,
    problem: Problem,
    *,
    temperature: float = 0.0,
    attempts: int = 2,
    levels: int = 3,
    only: int | None = None,
) -> Hints:
    """The policy writes itself hints from the reference solution:
    `hints = yield from write_hints(ctx, problem)`.

    Returns one hint a level (None where a level is missing or was refused), or an empty list.
    only: the one level that will be used; writing ends where the next one begins, and the
    others are None. A text that does not parse, or whose hint contains the final answer, is asked
    for once more (`attempts` in all; at temperature 0 the repeat is drawn at 1, since greedy would
    repeat itself). Every failure is recorded with its reason.
    """
    if not problem.solution:
        ctx.record(problem, "hint_no_solution")
        return []
    prompt = hint_prompt(ctx.renderer, problem.question, problem.solution)
    if len(prompt) > ctx.max_prompt_tokens:
        ctx.record(problem, "hint_prompt_too_long")
        return []
    wanted = range(levels) if only is None else (only - 1,)
    stop = () if only is None or only == levels else (f'"level_{only + 1}"',)
    best: list[str | None] = []
    for attempt in range(attempts):
        sampling = Sampling(
            temperature if attempt == 0 else max(temperature, 1.0),
            1.0,
            ctx.hint_max_tokens,
            stop,
        )
        ((completion,),) = yield [Sample(prompt, 1, sampling, purpose="hint")]
        parsed = parse_hints(ctx.text(completion.tokens), levels)
        hints = [
            _refuse_leak(ctx, problem, h) if i in wanted else None
            for i, h in enumerate(parsed.levels)
        ]
        if parsed.status != "ok" and (only is None or parsed.levels[only - 1] is None):
            ctx.record(problem, f"hint_{parsed.status}")
        if sum(h is not None for h in hints) > sum(h is not None for h in best):
            best = hints
        if best and all(best[i] for i in wanted):
            break
    if not any(best):
        ctx.record(problem, "hint_failed")
        return []
    return best


def _refuse_leak(ctx: Context, problem: Problem, hint: str | None) -> str | None:
    if hint is not None and leaks_answer(hint, problem.answer, problem.question):
        ctx.record(problem, "hint_leak")
        return None
    return hint
