"""The driver: advances the generators of many problems together, one engine call a round.

Level probing is batched for free, a round holds only prompts that are still failing, and all ranks
of a distributed engine make the same sequence of collective calls.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from sage_bench.methods.base import Method
from sage_bench.methods.guard import MOST_ROUNDS, Guard
from sage_bench.types import (
    Answer,
    Completion,
    Consult,
    Group,
    Problem,
    Request,
    Row,
    Sample,
    Service,
)

AnyProgram: TypeAlias = Generator[list[Request], list[Answer], Any]
Ask: TypeAlias = Callable[[Service, list[Any]], list[Any]]


class Runner(Protocol):
    """What the driver needs of an engine (the whole protocol: `sage_bench.engines.base`)."""

    def run(self, asks: list[Request]) -> list[Answer]: ...
    def any(self, flag: bool) -> bool: ...


@dataclass(slots=True)
class Usage:
    """What one problem cost: completions and tokens sampled, discarded attempts included.

    Calls of services count as hint or judge calls as well; their tokens are in the service's own
    ledger. failed_calls: those a service had no answer to.
    """

    rollouts: int = 0
    tokens: int = 0
    truncated: int = 0
    hint_calls: int = 0
    hint_tokens: int = 0
    judge_calls: int = 0
    rounds: int = 0
    service_calls: int = 0
    failed_calls: int = 0

    def add(self, ask: Sample, completions: Sequence[Completion]) -> None:
        tokens = sum(len(c.tokens) for c in completions)
        if ask.purpose == "hint":
            self.hint_calls += len(completions)
            self.hint_tokens += tokens
        elif ask.purpose == "judge":
            self.judge_calls += len(completions)
        else:
            self.rollouts += len(completions)
            self.tokens += tokens
            self.truncated += sum(c.finish == "length" for c in completions)

    def consulted(self, ask: Consult, answer: Answer) -> None:
        calls = ask.payload.n if isinstance(ask.payload, Sample) else 1
        self.hint_calls += calls * (ask.purpose == "hint")
        self.judge_calls += calls * (ask.purpose == "judge")
        self.service_calls += 1
        self.failed_calls += _failed(answer)


def _failed(answer: Answer) -> bool:
    """Whether a service gave up on a call: it answers None, or completions that all failed."""
    if isinstance(answer, list) and answer:
        return all(isinstance(c, Completion) and c.failed is not None for c in answer)
    return answer is None


@dataclass(slots=True)
class Collected:
    """One group's way through a step.

    usage: what its problem cost; groups of one problem share it. part: 0-based number of the group
    among those of its problem.
    """

    group: Group
    rows: list[Row]
    usage: Usage
    part: int = 0


def drive(
    programs: Sequence[AnyProgram],
    problems: Sequence[Problem],
    engine: Runner,
    *,
    step: int = 0,
    guard: Guard | None = None,
    max_rounds: int = MOST_ROUNDS,
    consult: Ask | None = None,
) -> tuple[list[Any], list[Usage]]:
    """Run generators, one a problem, to their ends in batched rounds. Returns (what each returned,
    what each cost).

    Requests are stamped with (step, problem uid, number of the request within its problem), from
    which the engine derives seeds: what a problem draws does not depend on which others are in the
    batch. Every rank of a distributed engine calls this with its own programs and leaves it
    together with the others.

    guard: whose programs these are, for errors. max_rounds: after so many rounds of one problem its
    program is called endless. consult: asks a service, instead of its `answer`. Raises
    `MethodError` for what is not a list of requests, and `MethodCrashError` for an exception of a
    program.
    """
    guard = guard or Guard(step=step)
    live: dict[int, AnyProgram] = dict(enumerate(programs))
    asks: dict[int, list[Request]] = {}
    done: dict[int, Any] = {}
    usage = [Usage() for _ in problems]
    asked: Counter[int] = Counter()

    def advance(i: int, answers: list[Answer] | None) -> None:
        problem = problems[i]
        with guard.calling("roll", problem):
            try:
                # a generator is started by sending None
                yielded = live[i].send(answers)  # type: ignore[arg-type]
            except StopIteration as stop:
                done[i] = stop.value
                del live[i]
                return
        if usage[i].rounds >= max_rounds:
            raise guard.too_many_rounds(live[i], problem, max_rounds)
        asks[i] = []
        for ask in guard.requests(live[i], yielded, problem):
            asks[i].append(ask.stamped((step, problems[i].uid, asked[i])))
            asked[i] += 1

    for i in list(live):
        advance(i, None)
    while engine.any(bool(live)):
        order = list(live)
        answers = iter(_answers([ask for i in order for ask in asks[i]], engine, consult))
        for i in order:
            mine = [next(answers) for _ in asks[i]]
            usage[i].rounds += 1
            for ask, answer in zip(asks[i], mine, strict=True):
                if isinstance(ask, Sample):
                    usage[i].add(ask, answer)
                elif isinstance(ask, Consult):
                    usage[i].consulted(ask, answer)
            advance(i, mine)
    return [done[i] for i in range(len(problems))], usage


def _answers(asks: list[Request], engine: Runner, consult: Ask | None) -> list[Answer]:
    """One round: services get all their payloads in one call, the engine everything else (it is
    called even with nothing)."""
    out: list[Answer] = [None] * len(asks)
    by_service: dict[int, list[int]] = defaultdict(list)
    for i, ask in enumerate(asks):
        by_service[id(ask.service) if isinstance(ask, Consult) else 0].append(i)
    mine = by_service.pop(0, [])
    for i, answer in zip(mine, engine.run([asks[i] for i in mine]), strict=True):
        out[i] = answer
    for indices in by_service.values():
        consults = [ask for i in indices if isinstance(ask := asks[i], Consult)]
        service, payloads = consults[0].service, [c.payload for c in consults]
        found = consult(service, payloads) if consult else service.answer(payloads)
        for i, answer in zip(indices, found, strict=True):
            out[i] = answer
    return out


def together(
    programs: Sequence[AnyProgram],
) -> Generator[list[Request], list[Answer], list[Any]]:
    """Run several programs of one problem side by side, their requests in shared rounds: `groups =
    yield from together([...])`."""
    returned: list[Any] = [None] * len(programs)
    pending: dict[int, list[Request]] = {}

    def advance(i: int, answers: list[Answer] | None) -> None:
        pending.pop(i, None)
        try:
            pending[i] = programs[i].send(answers)  # type: ignore[arg-type]
        except StopIteration as stop:
            returned[i] = stop.value

    for i in range(len(programs)):
        advance(i, None)
    while pending:
        order = sorted(pending)
        answers = iter((yield [ask for i in order for ask in pending[i]]))
        for i in order:
            advance(i, [next(answers) for _ in pending[i]])
    return returned


def collect(
    method: Method,
    problems: Sequence[Problem],
    engine: Runner,
    *,
    step: int = 0,
    max_rounds: int = MOST_ROUNDS,
    consult: Ask | None = None,
) -> list[Collected]:
    """Roll out and credit one batch of problems; their order is kept (see `drive`). One entry a
    group: a problem whose `roll` returned several has several entries, one after the other.

    Raises `MethodError` where the method does not keep the contract, `MethodCrashError` where it
    raises an exception.
    """
    guard = Guard(method, step)
    programs = []
    for problem in problems:
        with guard.calling("roll", problem):
            programs.append(guard.program(method.roll(problem), problem))
    returned, usage = drive(
        programs,
        problems,
        engine,
        step=step,
        guard=guard,
        max_rounds=max_rounds,
        consult=consult,
    )
    items = []
    owners = {problem.uid: problem.uid for problem in problems}
    for problem, found, used in zip(problems, returned, usage, strict=True):
        for part, group in enumerate(guard.groups(found, problem)):
            with guard.calling("credit", problem):
                credited = method.credit(group)
            rows = named_apart(guard.rows(credited, group), part)
            guard.names(rows, group, owners)
            items.append(Collected(group, rows, used, part))
    return items


def named_apart(rows: list[Row], part: int) -> list[Row]:
    """Rows of a problem's further groups under names of their own: weights and numbers a group need
    to tell them from the first one's."""
    if part == 0:
        return rows
    return [replace(row, group=f"{row.group}#{part}") for row in rows]
