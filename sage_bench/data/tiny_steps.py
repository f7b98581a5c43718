"""Labelled steps of the tiny world: right and wrong solutions, and the exact first wrong step.

A judge is taught from these: solutions in which one thing was made wrong, or what a policy wrote.
The label is exact, because in the tiny world a question has one right list of steps.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from sage_bench.data.tiny_world import (
    FIRST,
    OPERATIONS,
    TRAIN,
    WORLDS,
    Chain,
    Family,
    computed,
    draw,
    problems,
)

STEP_END = r"=\d(?=\s|$)"  # where a step ends in what a tiny policy writes
NO_ERROR = -1
OPERATOR = f"[{re.escape(''.join(OPERATIONS))}]"
# Other operators than in the training problems of the policies (85 % stars), where a judge taught
# from the same mix could win by knowing the mix.
TAUGHT = Family("tiny-steps", (2, 8), 0.35, count=4000)
HELD_OUT = Family("tiny-steps-test", (3, 8), TRAIN.stars, count=200)
# what is made wrong, and how often of ten times: the policies' own mistakes are wrong results
MISTAKES = {"result": 8, "term": 1, "left out": 1}
CUT_OFF = 0.25  # share of responses that end before their answer


@dataclass(frozen=True, slots=True)
class Response:
    """A response cut into steps. label: 0-based index of the first wrong one, -1 = none is."""

    chain: Chain
    steps: tuple[str, ...]
    label: int

    def row(self, uid: str) -> dict[str, Any]:
        """In the columns of ProcessBench, with the solution, and a remark on every step up to the
        first wrong one."""
        judged = self.steps if self.label == NO_ERROR else self.steps[: self.label + 1]
        return {
            "id": uid,
            "problem": self.chain.question,
            "steps": list(self.steps),
            "label": self.label,
            "gold": self.chain.answer,
            "solution": self.chain.solution,
            "remarks": [remark(self.chain, i, step) for i, step in enumerate(judged)],
        }


def chain_of(question: str) -> Chain | None:
    """The chain a question asks for, in any of its three forms; None for other questions.

    >>> chain_of("3 * 9 + 6").solution, chain_of("3*9\\nthen +6").answer, chain_of("1/3?")
    ('3*9=7 7+6=3 \\\\boxed{73}', '73', None)
    """
    text = re.sub(r"\s+|\bthen\b", "", question)
    if not re.fullmatch(rf"\d(?:{OPERATOR}[1-9])+", text):
        return None
    value = int(text[0])
    steps = []
    for op, operand in re.findall(rf"({OPERATOR})(\d)", text):
        result = computed(value, op, int(operand))
        steps.append(f"{value}{op}{operand}={result}")
        value = result
    return Chain(question, tuple(steps))


def pieces(chain: Chain) -> tuple[str, ...]:
    """The steps of the one right response, its answer the last of them."""
    return (*chain.steps, f"\\boxed{{{chain.answer}}}")


def first_wrong_step(chain: Chain, steps: Sequence[str]) -> int:
    """Index (0-based) of the first wrong step of a response, -1 where none is wrong. A last step
    that breaks off is not wrong as far as it goes.

    >>> c = chain_of("3*9+6")
    >>> first_wrong_step(c, ["3*9=7", "7+6=4"]), first_wrong_step(c, ["3*9=7", "7+"])
    (1, -1)
    >>> first_wrong_step(c, ["3*9=7", "\\\\boxed{73}"])  # a step is left out
    1
    """
    right = pieces(chain)
    for i, step in enumerate(steps):
        if i == len(right):
            return i
        broken_off = i == len(steps) - 1 and right[i].startswith(step.strip())
        if step.strip() != right[i] and not broken_off:
            return i
    return NO_ERROR


def cut(text: str) -> tuple[str, ...]:
    r"""The steps of a text, as the presets of the tiny policies have them cut.

    >>> cut(r"3*9=7 7+6=3 \boxed{73}")
    ('3*9=7', '7+6=3', '\\boxed{73}')
    """
    ends = [match.end() for match in re.finditer(STEP_END, text)]
    parts = [text[start:end].strip() for start, end in pairwise([0, *ends, len(text)])]
    return tuple(part for part in parts if part)


def remark(chain: Chain, i: int, step: str) -> str:
    r"""What should stand in place of a step, and how far the result that stands there is from it,
    digit by digit, in the arithmetic that the policies know: all 0 where it is right.

    A policy of a million parameters does not learn to see whether two texts are equal. It learns
    from these.

    >>> c = chain_of("3*9+6")
    >>> remark(c, 0, "3*9=7"), remark(c, 1, "7+6=4"), remark(c, 2, r"\boxed{83}")
    ('3*9=7 7-7=0', '7+6=3 4-3=1', '\\boxed{73} 8-7=1 3-3=0')
    >>> remark(c, 1, r"\boxed{7}"), remark(c, 3, "3+1=4")
    ('7+6=3', 'nothing is left to do')
    """
    right = pieces(chain)
    if i == len(right):
        return "nothing is left to do"
    found, wanted = _results(step), _results(right[i])
    same_kind = ("boxed" in step) == ("boxed" in right[i]) and len(found) == len(wanted)
    if not same_kind or (found == wanted and step.strip() != right[i]):
        return right[i]  # it is another step, or breaks off: there is nothing to subtract
    off = (f"{a}-{b}={computed(int(a), '-', int(b))}" for a, b in zip(found, wanted, strict=True))
    return " ".join([right[i], *off])


def _results(step: str) -> str:
    r"""The digits that a step comes to.

    >>> _results("3*9=7"), _results(r"\boxed{73}"), _results("3*")
    ('7', '73', '')
    """
    found = re.search(r"=(\d)$|\\boxed\{(\d+)\}$", step.strip())
    return (found[1] or found[2]) if found else ""


def right_response(rng: random.Random, chain: Chain) -> Response:
    """A response without a mistake, some of them cut off."""
    steps = pieces(chain)
    if rng.random() < CUT_OFF:
        steps = steps[: rng.randint(1, len(chain.steps))]
    return Response(chain, steps, NO_ERROR)


def wrong_response(rng: random.Random, chain: Chain) -> Response:
    """A response with one mistake, which goes on from its wrong value as a policy does."""
    while True:
        place = rng.randint(0, len(chain.steps))
        steps = _with_mistake(rng, chain, place)
        if rng.random() < CUT_OFF:
            steps = steps[: rng.randint(place + 1, len(steps))] if place < len(steps) else steps
        label = first_wrong_step(chain, steps)
        # leaving out one of two equal steps may leave a response without a wrong one
        if label != NO_ERROR:
            return Response(chain, tuple(steps), label)


def _with_mistake(rng: random.Random, chain: Chain, place: int) -> list[str]:
    terms = [(step[1], int(step[2])) for step in chain.steps]
    value = int(chain.steps[0][0])
    kind = rng.choices(list(MISTAKES), list(MISTAKES.values()))[0]
    steps = []
    for i, (op, operand) in enumerate(terms):
        if i == place and kind == "left out":
            continue
        if i == place and kind == "term":
            op, operand = rng.choice(FIRST.sure + FIRST.doubted), rng.randrange(1, 10)
        result = computed(value, op, operand)
        if i == place and kind == "result":
            result = (result + rng.randrange(1, 10)) % 10
        steps.append(f"{value}{op}{operand}={result}")
        value = result
    answer = "".join(step[-1] for step in steps)
    if place == len(terms):  # all steps are right, and the answer is not theirs
        digit = rng.randrange(len(answer))
        other = (int(answer[digit]) + rng.randrange(1, 10)) % 10
        answer = f"{answer[:digit]}{other}{answer[digit + 1 :]}"
    return [*steps, f"\\boxed{{{answer}}}"]


@cache
def responses(name: str) -> tuple[Response, ...]:
    """The responses of `tiny-steps` (for teaching) or `tiny-steps-test`, half of them with a
    mistake. No question is one of a benchmark, of training or of validation, and the two sets share
    none. KeyError for other names."""
    family = {f.name: f for f in (TAUGHT, HELD_OUT)}[name]
    used = taken()
    if family is TAUGHT:
        used |= {r.chain.question for r in responses(HELD_OUT.name)}
    return tuple(respond(family, f"sage-bench {name}", used))


def taken() -> set[str]:
    """Questions of benchmarks, training and validation: no judge is taught from them."""
    families = [family for world in WORLDS for family in world.families]
    return {problem.question for family in families for problem in problems(family.name)}


def respond(family: Family, seed: str, used: set[str] | None = None) -> Iterator[Response]:
    """`family.count` responses to different questions, none of them in `used`, by turns without and
    with a mistake."""
    seen = set(used or ())
    rng = random.Random(f"{seed} responses")
    made = 0
    for chain in draw(family, seed):
        if chain.question in seen:
            continue
        seen.add(chain.question)
        yield wrong_response(rng, chain) if made % 2 else right_response(rng, chain)
        made += 1
        if made == family.count:
            return
