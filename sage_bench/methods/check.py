"""Looking at a method before it meets a model: every backend of a file, or one by name, is run
against scripted engines over a few made-up problems, and what is wrong is said.

What is looked at: everything `sage_bench.methods.guard` knows, the hooks, whether the state comes
back from a checkpoint, whether a resumed run does what an uninterrupted one does, and whether two
runs with one seed are one.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sage_bench.generation.model_folders import load_tokenizer, model_path
from sage_bench.generation.prompts import Renderer
from sage_bench.methods.base import Context, Method, make_config
from sage_bench.methods.driver import Collected, collect, drive
from sage_bench.methods.guard import Guard, MethodError, described
from sage_bench.methods.hooks import RowTokens
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import BACKENDS
from sage_bench.methods.scripted import Boxed, ScriptedEngine, made_up_logp
from sage_bench.types import (
    Completion,
    PolicyAccess,
    Problem,
    Row,
    Sample,
    Sampling,
    Score,
    Service,
)
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.registry import load_file, place_of

STEPS = 3
MOST_ROUNDS = 50
GROUP_SIZE = 4
LONGEST = 64  # tokens of a completion
MODEL = "package:data/tiny_policies/llama"


# ---- what is made up ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Situation:
    """A world a method must live in.

    right: whether completion k is right. solution: problems have a reference solution. columns:
    they have the columns the method declares. cut: answers are cut off at the limit.
    """

    name: str
    right: Callable[[int], bool]
    solution: bool = True
    columns: bool = True
    cut: bool = False
    switches: Mapping[str, Any] = field(default_factory=dict)


SITUATIONS = (
    Situation("all answers are wrong", lambda k: False),
    Situation("all answers are right", lambda k: True),
    Situation("one answer in two is right", lambda k: k % 2 == 0),
    Situation("there are no solutions", lambda k: False, solution=False),
    Situation("there is no column but question and answer", lambda k: False, False, False),
    Situation("answers are cut off", lambda k: False, cut=True),
    Situation("groups have one completion", lambda k: True, switches={"group_size": 1}),
)


def made_up(situation: Situation, method: type[Method]) -> list[Problem]:
    """Three problems with what the situation allows them."""
    columns: dict[str, Any] = {}
    for column in method.columns if situation.columns else ():
        for name in column.each:
            columns[name] = (
                ["think", "then count", "then check"]
                if column.kind == "list"
                else "Count the fingers, then check."
            )
    problems = []
    for i, (question, answer) in enumerate((("3 + 4", "7"), ("5 + 1", "6"), ("2 + 6", "8")), 1):
        solution = f"We count: {question} = {answer}. So \\boxed{{{answer}}}."
        extra = {name: value for name, value in columns.items() if name != "solution"}
        problems.append(
            Problem(
                f"made-up-{i}", question, solution if situation.solution else None, answer, extra
            )
        )
    return problems


def script(situation: Situation, problems: Sequence[Problem]) -> Callable[[str, int], str]:
    """What a rollout answers, from the text of its prompt and its number."""

    def say(prompt: str, k: int) -> str:
        if situation.cut:
            return "and so on " * LONGEST
        gold = next((p.answer for p in problems if p.question in prompt), "7")
        # of different lengths, so that a number a token is told from a number a completion
        return "well, " * (k % 3) + f"\\boxed{{{gold if situation.right(k) else 'no'}}}"

    return say


@cache
def renderer() -> Renderer:
    return Renderer(load_tokenizer(model_path(MODEL)))


@cache
def access() -> PolicyAccess:
    """The packaged tiny policy, for requests that a method answers itself."""
    from sage_bench.generation.local.policy import load_policy

    return PolicyAccess(load_policy(model_path(MODEL), device="cpu", dtype="float32"))


def nobody(service: Service, payloads: list[Any]) -> list[Any]:
    """Stands in for judges, teachers and endpoints of ours, so that no call leaves this machine.
    A service of the method's own is asked."""
    if not type(service).__module__.startswith("sage_bench."):
        return service.answer(payloads)
    failed = Completion(failed="nobody was called")
    return [[failed] * p.n if isinstance(p, Sample) else None for p in payloads]


# ---- what is found ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. where: file and line. situations: in which it showed."""

    where: str
    found: str
    expected: str
    situations: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.where}: {self.found.rstrip('.')}."
        if self.expected:
            text += f" Expected: {self.expected.rstrip('.')}."
        return f"{text} Seen when {' and when '.join(self.situations)}."


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out for one backend."""

    backend: str
    place: str
    situations: int
    rows: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        head = f"{self.backend} ({self.place})"
        if not self.findings:
            return f"{head}: {self.situations} situations, {self.rows} rows: nothing wrong"
        count = f"{len(self.findings)} mistake{'s' * (len(self.findings) > 1)}"
        return "\n\n".join([f"{head}: {count}", *map(str, self.findings)])


def check(target: str, switches: Mapping[str, Any] | None = None) -> list[Checked]:
    """Check the backends of a Python file, or the one of that name.

    switches: of the method, where it does not run without. Raises `UsageError` when there is no
    such file or name, or the file registers no backend.
    """
    found = backends_of(target)
    return [checked(name, kind, switches or {}) for name, kind in found]


def backends_of(target: str) -> list[tuple[str, type[Method]]]:
    if not target.endswith(".py") and target in BACKENDS:
        return [(target, BACKENDS.get(target))]
    file = Path(target).resolve()
    BACKENDS.names()
    load_file(target)
    found = [(n, k) for n, k in BACKENDS.items() if file_of(k) == file]
    if not found:
        raise UsageError(
            "registers no backend",
            where=target,
            remedy="decorate the class: @register_backend('name')",
        )
    return found


def file_of(kind: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:  # not a class: `checked` says so
        file = None
    return Path(file).resolve() if file else None


def checked(name: str, kind: type[Method], switches: Mapping[str, Any]) -> Checked:
    """Run one backend through all situations."""
    mistakes: dict[tuple[str, str, str], list[str]] = {}
    rows = 0
    for situation in SITUATIONS:
        errors: Iterator[SageBenchError | int] = trial(kind, situation, switches)
        for outcome in errors:
            if isinstance(outcome, int):
                rows += outcome
                continue
            key = (outcome.where or place_of(kind), outcome.what, outcome.remedy or "")
            mistakes.setdefault(key, []).append(situation.name)
    findings = [Finding(*key, tuple(seen)) for key, seen in mistakes.items()]
    return Checked(name, BACKENDS.place(name), len(SITUATIONS), rows, tuple(findings))


def trial(
    kind: type[Method], situation: Situation, switches: Mapping[str, Any]
) -> Iterator[SageBenchError | int]:
    """The mistakes in one situation, and the number of rows that came out of it."""
    try:
        runs = [Trial(kind, situation, switches) for _ in range(2)]
        first, second = ([run.step(number) for number in range(STEPS)] for run in runs)
        yield sum(len(item.rows) for items in first for item in items)
        runs[0].hooks([item for items in first for item in items])
        runs[0].asked_what_it_declares()
        runs[0].state()
        same(runs[0].guard, first, second, "two runs with the same seed differ", SEEDED)
        resumed = Trial(kind, situation, switches)
        for number in range(STEPS - 1):
            resumed.step(number)
        resumed = resumed.resumed()
        last = [resumed.step(STEPS - 1)]
        same(resumed.guard, first[-1:], last, "a resumed run differs from one that went on", KEPT)
    except SageBenchError as error:
        yield error


SEEDED = (
    "derive every draw: `derive_seed(self.ctx.seed, 'what', self.ctx.step, problem.uid)` of"
    " `sage_bench.utils.seeds`; no `random.random()`, no clock, no order of a set"
)
KEPT = "give everything that later rolls depend on in `state_dict`, take it in `load_state_dict`"


class Trial:
    """One run of a method in one situation: a few steps over the same problems."""

    def __init__(self, kind: type[Method], situation: Situation, switches: Mapping[str, Any]):
        self.kind = kind
        self.situation = situation
        self.switches = switches
        self.guard = Guard(kind)
        if not (isinstance(kind, type) and issubclass(kind, Method)):
            raise MethodError(
                f"{described(kind)} is registered as a backend",
                where=place_of(kind),
                remedy="register a class that derives from `sage_bench.methods.base.Method`",
            )
        self.problems = made_up(situation, kind)
        self.engine = ScriptedEngine(renderer(), script(situation, self.problems), access)
        self.config = make_config(
            kind, {"group_size": GROUP_SIZE, **switches, **situation.switches}
        )
        self.context = Context(
            renderer(), Boxed(), Sampling(1.0, 1.0, LONGEST), LONGEST, 512, steps=STEPS
        )
        self.objective = Objective(**{"constant_length": LONGEST, **kind.objective})
        with self.guard.calling("__init__"):
            self.method = kind(self.context, self.config)
        self.prepare()

    def prepare(self) -> None:
        programs, problems = [], []
        for problem in self.problems:
            with self.guard.calling("prepare", problem):
                program = self.method.prepare(problem)
            if program is not None:
                programs.append(self.guard.program(program, problem))
                problems.append(problem)
        results, _ = drive(
            programs,
            problems,
            self.engine,
            step=-1,
            guard=self.guard,
            max_rounds=MOST_ROUNDS,
            consult=nobody,
        )
        for problem, result in zip(problems, results, strict=True):
            self.method.prepared[problem.uid] = self.guard.plain("prepare", result, problem)

    def step(self, number: int) -> list[Collected]:
        """Roll out and credit one step, as training does."""
        self.guard.step = number
        self.context.step, self.context.progress = number, number / STEPS
        self.context.events.clear()
        self.context.trail.clear()
        items = collect(
            self.method,
            self.problems,
            self.engine,
            step=number,
            max_rounds=MOST_ROUNDS,
            consult=nobody,
        )
        for item in items:
            for row in item.rows:
                tokens_are_ids(self.guard, row, item)
        return items

    def hooks(self, items: Sequence[Collected]) -> None:
        """Everything else the loop and the learner ask of the method."""
        method, guard = self.method, self.guard
        for item in items:
            problem = item.group.problem
            with guard.calling("keep", problem):
                method.keep(item.group)
            for i in range(len(item.group.completions)):
                with guard.calling("describe_completion", problem):
                    facts = method.describe_completion(item.group, i)
                guard.plain("describe_completion", facts, problem)
        with guard.calling("rollout_budget"):
            method.rollout_budget()
        rows = [row for item in items for row in item.rows if bool((row.advantage != 0).any())]
        if rows:
            self.update(rows)

    def update(self, rows: Sequence[Row]) -> None:
        """The hooks of the update, on made-up log-probabilities."""
        method, guard = self.method, self.guard
        logps = [made_up_logp(row.tokens) for row in rows]
        olds = [
            own if row.old_logp is None else row.old_logp.to(own)
            for row, own in zip(rows, logps, strict=True)
        ]

        def ratios(chosen: Sequence[Row]) -> list[Tensor]:
            return [torch.ones(len(row.tokens)) for row in chosen]

        with guard.calling("row_weights"):
            weights = method.row_weights(rows, ratios, self.objective)
        if weights is not None:
            guard.weights(weights, rows)
        with guard.calling("row_metrics"):
            measured = method.row_metrics(rows, ratios(rows), self.objective)
        guard.metrics(measured)
        logp = torch.cat(logps).requires_grad_(True)
        kinds = [torch.full((len(row.tokens),), int(row.kind)) for row in rows]
        advantage = torch.cat([row.advantage.to(logp.dtype) for row in rows])
        tokens = RowTokens(rows, logp, torch.cat(olds), advantage, torch.cat(kinds))
        with guard.calling("token_loss"):
            returned = method.token_loss(tokens, self.objective)
        loss, _ = guard.loss(returned, logp)
        if not bool(loss.isfinite().all()):
            raise guard.fault("token_loss", "its loss is not finite", "finite numbers")
        if not loss.requires_grad:
            raise guard.fault(
                "token_loss", "its loss has no gradient", "compute it from `tokens.logp`"
            )

    def asked_what_it_declares(self) -> None:
        needs = {Sample: "sample", Score: "score"}
        for ask in (ask for asks in self.engine.rounds for ask in asks):
            need = needs.get(type(ask), "policy")
            if need not in self.kind.needs:
                declared = sorted(self.kind.needs)
                wanted = ", ".join(map(repr, sorted({*declared, need})))
                raise self.guard.fault(
                    "roll",
                    f"it asks for a {type(ask).__name__}, and `needs` is {declared}",
                    f"needs = frozenset({{{wanted}}})",
                )

    def kept(self) -> dict[str, Any]:
        """The state as a checkpoint gives it back."""
        with self.guard.calling("state_dict"):
            state = self.method.state_dict()
        if not isinstance(state, dict):
            raise self.guard.fault("state_dict", f"it returns {described(state)}", "return a dict")
        kept: dict[str, Any] = json.loads(json.dumps(self.guard.plain("state_dict", state)))
        return kept

    def resumed(self) -> Trial:
        """A new method that goes on from what this one keeps."""
        state = self.kept()
        later = Trial(self.kind, self.situation, self.switches)
        later.method.prepared = json.loads(json.dumps(self.method.prepared))
        with later.guard.calling("load_state_dict"):
            later.method.load_state_dict(state)
        return later

    def state(self) -> None:
        before, after = self.kept(), self.resumed().kept()
        if before != after:
            keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
            raise self.guard.fault(
                "load_state_dict",
                f"what it is given does not come back from `state_dict` (`{keys[0]}`)",
                "restore everything that `state_dict` gives",
            )


def tokens_are_ids(guard: Guard, row: Row, item: Collected) -> None:
    vocabulary = len(renderer().tokenizer)
    for what, ids in (("prompt", row.prompt), ("tokens", row.tokens)):
        wrong = [t for t in ids if not isinstance(t, int) or not 0 <= t < vocabulary]
        if wrong:
            raise guard.fault(
                "credit",
                f"a row's `{what}` holds {described(wrong[0])}, which is not a token id",
                "tuples of ints, as `ctx.prompt` and completions have them",
                item.group.problem,
            )


def same(
    guard: Guard,
    one: Sequence[Sequence[Collected]],
    other: Sequence[Sequence[Collected]],
    found: str,
    expected: str,
) -> None:
    """Whether two runs came to the same rows."""
    for step, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        for a, b in zip(mine, theirs, strict=False):
            if fingerprint(a) != fingerprint(b) or len(mine) != len(theirs):
                guard.step = step
                raise guard.fault("roll", found, expected, a.group.problem)


def fingerprint(item: Collected) -> list[Any]:
    return [
        (row.prompt, row.tokens, row.advantage.tolist(), row.group, row.kind) for row in item.rows
    ]
