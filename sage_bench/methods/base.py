"""A method is a generator over one problem. This file is all a method needs to know of the world.

`roll(problem)` yields lists of requests and is sent lists of answers; it returns a `Group`, or a
list of them. `credit(group)` is pure and returns rows. `collect` (see `sage_bench.methods.driver`)
runs many such generators at once. What a method may bring beyond that (weights of its rows, a loss,
numbers for the log, a picture for the report) are hooks of `Method` whose defaults do nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sage_bench.generation.prompts import HintPosition, Renderer
from sage_bench.grading.verdict import Grader
from sage_bench.methods.columns import Column
from sage_bench.methods.hooks import DIAGNOSTICS, Measured, UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Answer, Completion, Group, Problem, Request, Row, Sampling, TokenIds
from sage_bench.utils.errors import SageBenchError, UsageError, did_you_mean

if TYPE_CHECKING:  # configurations and reports know methods, and need no torch
    from torch import Tensor

Program: TypeAlias = Generator[list[Request], list[Answer], Group]
Roll: TypeAlias = Generator[list[Request], list[Answer], Group | list[Group]]
Hints: TypeAlias = Generator[list[Request], list[Answer], list[str | None]]


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
        code = {}
        for name, info in cls.model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict) and "code" in extra:
                code[name] = extra["code"]
        return {**code, **given}


# ---- what a method is given ---------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Attempt:
    """One group that was sampled on the way: its hint level and mean reward."""

    level: int
    reward: float


@dataclass
class Context:
    """What the harness gives a method: rendering and rewards. It holds no model and no device.

    events and trail: what happened on the way, per problem uid, for the ledger (`hint_leak`, ...;
    groups verified).
    steps: planned for the run; progress: share of them that is done, 0..1; step: 0-based; epoch:
    pass over the data, 1-based; all kept up to date by the loop. folder: of the run, where services
    keep their files. context_tokens: most tokens of prompt and completion together that the policy
    takes, None where nobody knows.
    """

    renderer: Renderer
    grader: Grader
    sampling: Sampling = field(default_factory=Sampling)
    hint_max_tokens: int = 1024
    max_prompt_tokens: int = 2048
    step: int = 0
    steps: int = 0
    progress: float = 0.0
    seed: int = 0
    epoch: int = 1
    folder: Path | None = None
    context_tokens: int | None = None
    events: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    trail: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))

    def record(self, problem: Problem, event: str, count: int = 1) -> None:
        self.events[problem.uid][event] += count

    def text(self, tokens: TokenIds) -> str:
        """The completion as text, end tokens and other specials left out."""
        text: str = self.renderer.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def prompt(
        self,
        problem: Problem,
        hint: str | None = None,
        *,
        lead: str = "paper",
        position: HintPosition = "user_end",
        system: str | None = None,
        prefix: str = "",
    ) -> TokenIds:
        """Token ids of the answering prompt, (P,).

        lead: wording of the user turn that carries the hint; position: where it stands. system:
        instead of the run's system message. prefix: text that the answer begins with; it belongs to
        the prompt, so completions do not repeat it and the grader does not see it.
        """
        return self.renderer.answer(
            problem.question, hint, lead=lead, position=position, system=system, prefix=prefix
        )

    def verify(
        self, problem: Problem, completions: Sequence[Completion], level: int = 0
    ) -> tuple[Tensor, list[str]]:
        """(rewards (G,) in {0., 1.}, statuses). A truncated completion is graded like any other
        (docs/design/sage.md 3.6)."""
        import torch

        verdicts = self.grader.grade(problem.answer, [self.text(c.tokens) for c in completions])
        rewards = torch.tensor([float(v.correct) for v in verdicts])
        self.trail[problem.uid].append(Attempt(level, float(rewards.mean())))
        return rewards, [v.status for v in verdicts]

    def reference(self, problem: Problem, column: str = "solution") -> TokenIds | None:
        """The problem's reference answer as completion tokens with the end token, or None
        (recorded) where it has none, or none that fits the model's context after the prompt.

        column: "solution", or a column of the data row (`trace`: a teacher's full response).
        """
        text = problem.solution if column == "solution" else problem.extra.get(column)
        if not text:
            self.record(problem, f"no_{column}")
            return None
        tokens = self.renderer.ids(text) + (self.renderer.tokenizer.eos_token_id,)
        if self.context_tokens and len(self.prompt(problem)) + len(tokens) > self.context_tokens:
            self.record(problem, "reference_too_long")
            return None
        return tokens


class Method(UpdateHooks):
    """Base of all backends: implement `roll` and `credit`; the rest are hooks that do nothing.

    needs: engine capabilities, checked before the first step: "sample", "score", and "policy" for
    requests of the method's own. Config: the switches. objective: constants of `Objective` this
    method changes. rolls_again: it may roll out a prompt again when the first group failed, which
    estimates of a run's cost count. uses_progress: it reads `ctx.progress`, so the planned number
    of steps is part of what it does. Hooks of the update (`row_weights`, `row_metrics`,
    `token_loss`): `sage_bench.methods.hooks`.

    For `sage-bench ls backends --verbose` and docs/methods.md: source: paper, equation and code
    commit. columns: of the data it reads besides question and answer. notes: what differs between
    paper, code and this backend and no switch says.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sample"})
    source: ClassVar[str] = ""
    columns: ClassVar[Sequence[Column]] = ()
    notes: ClassVar[Sequence[str]] = ()
    objective: ClassVar[Mapping[str, Any]] = {}
    rolls_again: ClassVar[bool] = False
    uses_progress: ClassVar[bool] = False
    Config: ClassVar[type[MethodConfig]] = MethodConfig

    def __init__(self, ctx: Context, config: MethodConfig | None = None, **switches: Any):
        self.ctx = ctx
        self.cfg: Any = config or make_config(type(self), switches)
        self.prepared: dict[str, Any] = {}

    def roll(self, problem: Problem) -> Roll:
        """Generator: yields lists of requests, is sent lists of answers, returns the problem's
        group, or several (guided and plain samples that are both trained on, say)."""
        raise NotImplementedError

    def credit(self, group: Group) -> list[Row]:
        """Pure: the rows of a group. Rows with zero advantage may be returned; the learner skips
        them."""
        raise NotImplementedError

    def row_metrics(
        self, rows: Sequence[Row], ratios: Sequence[Tensor], objective: Objective
    ) -> Measured:
        """The registered diagnostics. A method with numbers of its own adds them:
        `{**super().row_metrics(rows, ratios, objective), "mine": [...]}`."""
        measured: dict[str, Sequence[float]] = {}
        for _, diagnostic in DIAGNOSTICS.items():
            measured |= diagnostic.measure(rows, ratios, objective)
        return measured

    def describe_completion(self, group: Group, i: int) -> Mapping[str, Any]:
        """JSON-able facts of completion `i` beyond its text and reward (the weight of every token,
        say), by name. completions.jsonl keeps them, as one list a name; groups with such facts are
        kept first. Called for few groups."""
        return {}

    @classmethod
    def report_html(cls, runs: Mapping[str, Path]) -> str:
        """A section of the HTML report: an `<h2>` and what follows. runs: folders of the training
        runs whose method has this very function, by their names in the report. An empty string adds
        nothing. Escape what was generated."""
        return ""

    @property
    def refills(self) -> int:
        """How often, at most, fresh prompts are rolled out in place of groups not kept."""
        return 0

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
