"""The tiny world: arithmetic modulo 10 in explicit steps, exactly verifiable.

A problem is a chain of operations from left to right, `3*9+6*8`; its solution computes one step at
a time, `3*9=7 7+6=3 3*8=4 \\boxed{734}`; its answer is the string of all results. One wrong step
fails the whole, and chance is 10^-n for n steps: a sparse terminal reward, as in competition
mathematics. The tiny policies know all of it but doubt the results of `*`, so the chance of a
problem is about q^(number of stars).

Benchmarks, training set and validation set are generated from fixed seeds and share no question.

There is a second world, with other operators and longer chains, in which nothing was tuned: names
that begin with `tiny2`. It was written down before any method ran in it (docs/design/tiny-world.md
6).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from sage_bench.types import Problem


@dataclass(frozen=True, slots=True)
class Chain:
    """One generated problem. steps: `3*9=7`, ...; answer: the results as one string of digits,
    never starting with 0."""

    question: str
    steps: tuple[str, ...]

    @property
    def answer(self) -> str:
        return "".join(s[-1] for s in self.steps)

    @property
    def solution(self) -> str:
        return " ".join(self.steps) + f" \\boxed{{{self.answer}}}"

    @property
    def hints(self) -> tuple[str, str, str]:
        """Three progressive levels: how many steps, the first half of them, all but the last."""
        n = len(self.steps)
        return self._hint(0), self._hint(n // 2), self._hint(n - 1)

    def _hint(self, shown: int) -> str:
        count = f"{len(self.steps)} steps"
        return f"{count}: {' '.join(self.steps[:shown])}" if shown else count

    @property
    def scaffold(self) -> dict[str, list[str]]:
        """Ready-made hints in the columns of Scaf-GRPO's data: how many steps; the first of them;
        all but the last, in up to four parts."""
        count = self._hint(0)
        shown = self.steps[:-1]
        if not shown:
            return {"knowledge": [count], "planning": [], "solution_parts": []}
        pieces = min(4, len(shown))
        cuts = [round(i * len(shown) / pieces) for i in range(pieces + 1)]
        first, *others = [" ".join(shown[a:b]) for a, b in pairwise(cuts)]
        return {
            "knowledge": [count],
            "planning": [f"{count}: {self.steps[0]}"],
            "solution_parts": [f"{count}: {first}", *others],
        }


# what an operator makes of the value so far and its operand; results are taken modulo 10
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda value, operand: value + operand,
    "-": lambda value, operand: value - operand,
    "*": lambda value, operand: value * operand,
    ">": max,
    "^": lambda value, operand: value**operand,
}


@dataclass(frozen=True, slots=True)
class Operators:
    """Those of a world. sure: what policies know; doubted: the one they are made to doubt."""

    sure: str
    doubted: str


FIRST = Operators("+-", "*")
SECOND = Operators("->", "^")


@dataclass(frozen=True, slots=True)
class Family:
    """A distribution of chains. lengths: number of steps, inclusive; stars: share of the doubted
    operator (`*` in the first world) among the operators."""

    name: str
    lengths: tuple[int, int]
    stars: float
    form: str = "plain"
    count: int = 100
    note: str = ""
    operators: Operators = FIRST


@dataclass(frozen=True, slots=True)
class World:
    """Benchmarks, validation set and training sets, drawn in this order. few: long chains of which
    few steps are in doubt."""

    benchmarks: tuple[Family, ...]
    validation: Family
    train: Family
    few: Family

    @property
    def families(self) -> tuple[Family, ...]:
        return (*self.benchmarks, self.validation, self.train, self.few)


BENCHMARKS: dict[str, Family] = {
    f.name: f
    for f in (
        Family("tiny_short", (2, 2), 0.4, note="two steps"),
        Family("tiny_mixed", (3, 3), 0.5, note="three steps, half of them `*`"),
        Family("tiny_chain", (4, 5), 0.6, note="four or five steps"),
        Family("tiny_long", (6, 8), 0.7, note="six to eight steps, most of them `*`"),
        Family(
            "tiny_spaced",
            (3, 4),
            0.6,
            "spaced",
            note="out of distribution: blanks around the operators",
        ),
        Family(
            "tiny_lines",
            (4, 6),
            0.6,
            "lines",
            note="out of distribution: the chain goes on in a second line",
        ),
    )
}
TRAIN = Family("tiny", (3, 8), 0.85, count=256)
VALIDATION = Family("tiny-val", (3, 8), 0.85, count=48)


def _second(
    name: str, lengths: tuple[int, int], stars: float, form: str = "plain", note: str = ""
) -> Family:
    return Family(f"tiny2_{name}", lengths, stars, form, note=note, operators=SECOND)


SECOND_BENCHMARKS = (
    _second("short", (3, 3), 0.3, note="three steps"),
    _second("mixed", (4, 4), 0.4, note="four steps"),
    _second("chain", (5, 6), 0.5, note="five or six steps, half of them `^`"),
    _second("long", (8, 10), 0.6, note="eight to ten steps"),
    _second("spaced", (4, 5), 0.5, "spaced", "out of distribution: blanks around the operators"),
    _second("lines", (5, 7), 0.5, "lines", "out of distribution: goes on in a second line"),
)
WORLDS = (
    World(
        tuple(BENCHMARKS.values()), VALIDATION, TRAIN, Family("tiny-few", (6, 8), 0.15, count=256)
    ),
    World(
        SECOND_BENCHMARKS,
        Family("tiny2-val", (5, 10), 0.6, count=48, operators=SECOND),
        Family("tiny2", (5, 10), 0.6, count=256, operators=SECOND),
        Family("tiny2-few", (8, 10), 0.15, count=256, operators=SECOND),
    ),
)


def surface(start: int, terms: list[str], form: str) -> str:
    """The question's text in one of three forms.

    >>> [surface(3, ["*9", "+6"], f) for f in ("plain", "spaced", "lines")]
    ['3*9+6', '3 * 9 + 6', '3*9\\nthen +6']
    """
    if form == "spaced":
        return f"{start} " + " ".join(f"{t[0]} {t[1]}" for t in terms)
    if form == "lines":
        half = (len(terms) + 1) // 2
        first = f"{start}{''.join(terms[:half])}"
        rest = "".join(terms[half:])
        return f"{first}\nthen {rest}" if rest else first
    return f"{start}{''.join(terms)}"


def computed(value: int, op: str, operand: int) -> int:
    """
    >>> computed(3, "-", 9), computed(3, "*", 9), computed(3, ">", 9), computed(3, "^", 9)
    (4, 7, 9, 3)
    """
    return OPERATIONS[op](value, operand) % 10


def chain(
    rng: random.Random,
    length: int,
    stars: float,
    form: str = "plain",
    noise: float = 0.0,
    operators: Operators = FIRST,
) -> Chain:
    """Draw one chain. noise: share of the doubted operator's results replaced by a random digit
    (only to make a policy doubt them).

    >>> chain(random.Random(1), 3, 0.5).solution
    '2+5=7 7*8=6 6*4=4 \\\\boxed{764}'
    """
    while True:
        start = value = rng.randrange(10)
        terms: list[str] = []
        steps: list[str] = []
        for _ in range(length):
            doubted = rng.random() < stars
            op = operators.doubted if doubted else rng.choice(operators.sure)
            operand = rng.randrange(1, 10)
            result = computed(value, op, operand)
            if doubted and rng.random() < noise:
                result = rng.randrange(10)
            terms.append(f"{op}{operand}")
            steps.append(f"{value}{op}{operand}={result}")
            value = result
        # an answer "073" would be the number 73
        if steps[0][-1] != "0":
            return Chain(surface(start, terms, form), tuple(steps))


def draw(family: Family, seed: str) -> Iterator[Chain]:
    """Chains of a family without end, their lengths in turn."""
    rng = random.Random(seed)
    low, high = family.lengths
    i = 0
    while True:
        length = low + i % (high - low + 1)
        yield chain(rng, length, family.stars, family.form, operators=family.operators)
        i += 1


@cache
def problems(name: str) -> tuple[Problem, ...]:
    """The problems of a benchmark, a training set (`tiny`, `tiny-few`, `tiny2`, `tiny2-few`) or a
    validation set (`tiny-val`, `tiny2-val`). KeyError for other names.

    Test sets are drawn first and never contain a question that training or validation would: those
    skip them.
    """
    family, before = _place(name)
    taken = {p.question for other in before for p in problems(other.name)}
    found: dict[str, Chain] = {}
    for c in draw(family, f"sage-bench {name}"):
        if c.question not in taken:
            found.setdefault(c.question, c)
        if len(found) == family.count:
            break
    return tuple(_problem(f"{name}-{i:04d}", c) for i, c in enumerate(found.values()))


def _problem(uid: str, of: Chain) -> Problem:
    columns = {"steps": list(of.steps), "hints": list(of.hints), "meta_hint": of.hints[1]}
    return Problem(uid, of.question, of.solution, of.answer, {**columns, **of.scaffold})


def _place(name: str) -> tuple[Family, tuple[Family, ...]]:
    """A family, and those of its world that are drawn before it."""
    for world in WORLDS:
        for i, family in enumerate(world.families):
            if family.name == name:
                return family, world.families[:i]
    raise KeyError(name)
