"""A method is a generator over one problem. This file is all a method needs to know of the world.

`roll(problem)` yields lists of requests and is sent lists of answers; it returns a `Group`.
`credit(group)` is pure and returns rows. `collect` (see `sage_bench.methods.driver`) runs many such
generators at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from sage_bench.generation.prompts import HintLead, HintPosition, Renderer
from sage_bench.methods.driver import Collected, Runner, Usage, collect, drive, together
from sage_bench.methods.hints import leaks_answer, parse_hints
from sage_bench.types import (
    Answer,
    Completion,
    Group,
    Problem,
    Request,
    Row,
    Sample,
    Sampling,
    TokenIds,
)
from sage_bench.utils.errors import SageBenchError, UsageError, did_you_mean

__all__ = [
    "Attempt",
    "Collected",
    "Context",
    "Hints",
    "Method",
    "MethodConfig",
    "Program",
    "Runner",
    "Usage",
    "collect",
    "drive",
    "make_config",
    "switch",
    "together",
]

Program = Generator[list[Request], list[Answer], Group]
Hints = Generator[list[Request], list[Answer], "list[str | None]"]


# ---- switches -----------------------------------------------------------------------------------
def switch(
    default: Any, *, paper: Any = None, code: Any = None, help: str, **constraints: Any
) -> Any:
    """A switch of a method. Where paper and released code disagree, `paper` and `code` name both
    values and `variant` chooses between them unless the switch is set by itself (`default` is then
    the paper's value; where the paper says nothing, `paper` is "not stated" and the default
    ours)."""
    extra = {"paper": paper, "code": code} if paper is not None or code is not None else {}
    return Field(default, description=help, json_schema_extra=extra, **constraints)


class MethodConfig(BaseModel):
    """Base of every method's switches. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group_size: int = Field(
        8,
        ge=1,
        description=(
            "completions a prompt (G; SAGE takes 8, and 4 for Qwen3-4B); methods without rollouts"
            " ignore it"
        ),
    )
    variant: str = Field(
        "paper",
        pattern="^(paper|code)$",
        description="where paper and released code disagree: follow the paper or the code",
    )

    @model_validator(mode="before")
    @classmethod
    def _follow_variant(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("variant", "paper") != "code":
            return given
        code = {
            n: f.json_schema_extra["code"]
            for n, f in cls.model_fields.items()
            if f.json_schema_extra and "code" in f.json_schema_extra
        }
        return {**code, **given}


# ---- what a method is given ---------------------------------------------------------------------
class Verdict(Protocol):
    """What a grader says of one answer: `correct` and a `status` (ok, no_answer, parse_error,
    timeout, crash)."""

    correct: bool
    status: str


class Grader(Protocol):
    def grade(self, gold: str, texts: Sequence[str]) -> Sequence[Verdict]: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One group that was sampled on the way: its hint level and mean reward."""

    level: int
    reward: float


@dataclass
class Context:
    """What the harness gives a method: rendering, rewards, hint writing. It holds no model and no
    device.

    events and trail: what happened on the way, per problem uid, for the ledger (`hint_leak`, ...;
    groups verified).
    steps: planned for the run; progress: share of them that is done, 0..1; step: 0-based; epoch:
    pass over the data, 1-based; all kept up to date by the loop. folder: of the run, where services
    keep their files.
    """

    renderer: Renderer
    grader: Grader
    sampling: Sampling = Sampling()
    hint_max_tokens: int = 1024
    max_prompt_tokens: int = 2048
    step: int = 0
    steps: int = 0
    progress: float = 0.0
    seed: int = 0
    epoch: int = 1
    folder: Path | None = None
    events: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    trail: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))

    def record(self, problem: Problem, event: str, count: int = 1) -> None:
        self.events[problem.uid][event] += count

    def text(self, tokens: TokenIds) -> str:
        """The completion as text, end tokens and other specials left out."""
        return self.renderer.tokenizer.decode(list(tokens), skip_special_tokens=True)

    def prompt(
        self,
        problem: Problem,
        hint: str | None = None,
        *,
        lead: HintLead = "paper",
        position: HintPosition = "user_end",
    ) -> TokenIds:
        """Token ids of the answering prompt, (P,)."""
        return self.renderer.answer(problem.question, hint, lead=lead, position=position)

    def verify(
        self, problem: Problem, completions: Sequence[Completion], level: int = 0
    ) -> tuple[Tensor, list[str]]:
        """(rewards (G,) in {0., 1.}, statuses). A truncated completion is graded like any other
        (SAGE spec 3.6)."""
        verdicts = self.grader.grade(problem.answer, [self.text(c.tokens) for c in completions])
        rewards = torch.tensor([float(v.correct) for v in verdicts])
        self.trail[problem.uid].append(Attempt(level, float(rewards.mean())))
        return rewards, [v.status for v in verdicts]

    def reference(self, problem: Problem, column: str = "solution") -> TokenIds | None:
        """The problem's reference answer as completion tokens with the end token, or None
        (recorded) where it has none.

        column: "solution", or a column of the data row (`trace`: a teacher's full response).
        """
        text = problem.solution if column == "solution" else problem.extra.get(column)
        if not text:
            self.record(problem, f"no_{column}")
            return None
        return self.renderer.ids(text) + (self.renderer.tokenizer.eos_token_id,)

    def write_hints(
        self,
        problem: Problem,
        *,
        temperature: float = 0.0,
        attempts: int = 2,
        levels: int = 3,
        only: int | None = None,
    ) -> Hints:
        """The policy writes itself hints from the reference solution: `hints = yield from
        ctx.write_hints(problem)`.

        Returns one hint a level (None where a level is missing or was refused), or an empty list.
        only: the one level that will be used; writing ends where the next one begins, and the
        others are None. A text that does not parse, or whose hint contains the final answer, is
        asked for once more (`attempts` in all; at temperature 0 the repeat is drawn at 1, since
        greedy would repeat itself). Every failure is recorded with its reason.
        """
        if not problem.solution:
            self.record(problem, "hint_no_solution")
            return []
        prompt = self.renderer.hint(problem.question, problem.solution)
        if len(prompt) > self.max_prompt_tokens:
            self.record(problem, "hint_prompt_too_long")
            return []
        wanted = range(levels) if only is None else (only - 1,)
        stop = () if only is None or only == levels else (f'"level_{only + 1}"',)
        best: list[str | None] = []
        for attempt in range(attempts):
            sampling = Sampling(
                temperature if attempt == 0 else max(temperature, 1.0),
                1.0,
                self.hint_max_tokens,
                stop,
            )
            ((completion,),) = yield [Sample(prompt, 1, sampling, purpose="hint")]
            parsed = parse_hints(self.text(completion.tokens), levels)
            hints = [
                self._refuse_leak(problem, h) if i in wanted else None
                for i, h in enumerate(parsed.levels)
            ]
            if parsed.status != "ok" and (only is None or parsed.levels[only - 1] is None):
                self.record(problem, f"hint_{parsed.status}")
            if sum(h is not None for h in hints) > sum(h is not None for h in best):
                best = hints
            if best and all(best[i] for i in wanted):
                break
        if not any(best):
            self.record(problem, "hint_failed")
            return []
        return best

    def _refuse_leak(self, problem: Problem, hint: str | None) -> str | None:
        if hint is not None and leaks_answer(hint, problem.answer, problem.question):
            self.record(problem, "hint_leak")
            return None
        return hint


class Method:
    """Base of all backends: implement `roll` and `credit`.

    needs: engine capabilities, checked before the first step. Config: the switches. objective:
    constants of `Objective` this method changes. uses_progress: it reads `ctx.progress`, so the
    planned number of steps is part of what it does.

    For `sage-bench ls backends --verbose` and docs/methods.md: source: paper, equation and code
    commit. columns: of the data it reads besides question and answer. notes: what differs between
    paper, code and this backend and no switch says.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sample"})
    source: ClassVar[str] = ""
    columns: ClassVar[tuple[str, ...]] = ()
    notes: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[dict[str, Any]] = {}
    uses_progress: ClassVar[bool] = False
    Config: ClassVar[type[MethodConfig]] = MethodConfig

    def __init__(self, ctx: Context, config: MethodConfig | None = None, **switches: Any):
        self.ctx = ctx
        self.cfg = config or make_config(type(self), switches)
        self.prepared: dict[str, Any] = {}

    def roll(self, problem: Problem) -> Program:
        """Generator: yields requests, is sent answers, returns the problem's group."""
        raise NotImplementedError

    def credit(self, group: Group) -> list[Row]:
        """Pure: the rows of a group. Rows with zero advantage may be returned; the learner skips
        them."""
        raise NotImplementedError

    refills = 0

    def keep(self, group: Group) -> bool:
        """Whether a group stays in the batch. Up to `refills` times, fresh prompts are rolled out
        for those that do not."""
        return True

    def rollout_budget(self) -> int | None:
        """Completions after which training ends, before `train.steps`; None = no such limit. Asked
        once, at the start."""
        return None

    def prepare(self, problem: Problem) -> Generator[list[Request], list[Answer], Any] | None:
        """Optional generator that runs once for every training problem before the first step, on
        the initial policy.

        What it returns is kept in `self.prepared[uid]` and travels with the checkpoint (it must be
        JSON-able).
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state that must survive a restart."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            raise SageBenchError(
                f"{type(self).__name__} has no state but the checkpoint holds {sorted(state)}"
            )


def make_config(
    method: type[Method], switches: dict[str, Any], where: str = "method"
) -> MethodConfig:
    """Validate a method's switches. Raises `UsageError` naming the key."""
    try:
        return method.Config.model_validate(switches)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        hint = did_you_mean(key, method.Config.model_fields)
        raise UsageError(
            f"{first['msg']}{'; ' + hint if hint else ''}",
            where=f"{where}.{key}",
            remedy="switches: " + ", ".join(method.Config.model_fields),
        ) from error
