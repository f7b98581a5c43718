"""HINT: an all-wrong group is replaced by one rolled out under an abstract hint, trained without it
(arXiv 2510.09388)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.backends.hint.affinity import AffinityRow, affinity_weights
from sage_bench.backends.hint.leaks import copies, new_numbers
from sage_bench.backends.hint.prompts import meta_hint_messages
from sage_bench.backends.hint.teacher import Teacher
from sage_bench.backends.sage.hints import leaks_answer
from sage_bench.generation.prompts import HintLead
from sage_bench.methods.base import Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.hooks import Ratios
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Problem, Row, Sample, Sampling
from sage_bench.utils.registry import call


class HINTConfig(GRPOConfig):
    hint_lead: HintLead = switch(
        "hint", help="wording of the user turn that carries the hint (`hint`: the authors')"
    )
    std_eps: float = switch(
        1e-6, paper="not stated", code=1e-4, help="added to the standard deviation", ge=0
    )
    affinity_power: float = switch(
        1.0,
        help="lambda of AAPO: the group's loss is scaled by Affinity ** lambda; 0 = off (ablation)",
        ge=0,
    )
    hint_source: Literal["data", "policy", "teacher"] = switch(
        "data", help="column of the data set, the policy itself, or an OpenAI-compatible endpoint"
    )
    hint_column: str = switch(
        "meta_hint", help="column with the abstract hint (the authors' files: abstract_hint)"
    )
    teacher_options: dict[str, Any] = switch(
        {}, help="with teacher: {base_url: ..., model: ..., key_env: ...}"
    )
    leak_check: bool = switch(
        True,
        help=(
            "refuse hints with the answer, with numbers that are not in the question, or that copy"
            " the solution"
        ),
    )
    max_overlap: float = switch(
        0.3,
        help="largest share of the hint's four-word runs that may stand in the solution",
        ge=0,
        le=1,
    )


@register_backend("hint")
class HINT(GRPO):
    """Two-stage rollout with affinity-aware optimisation: hinted completions, un-hinted
    log-probabilities on both sides of the ratio."""

    Config = HINTConfig
    rolls_again = True
    source = (
        "arXiv 2510.09388 (v2), code at HEAD: whole-group replacement, Affinity version 2 (version"
        " 1 is logged)"
    )
    columns = [
        Column(
            "meta_hint",
            "one abstract hint a problem",
            when="hint_source=data",
            named_by="hint_column",
            without="a problem without one is never hinted",
            becomes="plain GRPO",
        ),
        Column(
            "solution",
            "what the policy or the teacher writes a hint from",
            when="hint_source=policy|teacher",
            without="the bare answer where it is missing",
        ),
    ]
    notes = [
        (
            "The paper's text was not at hand; equations are those of the code at HEAD. In its"
            " first version UC grew with consistency and nothing was weighed by Affinity: that"
            " value is only logged (`affinity_v1`)."
        ),
        (
            "The hint stands on neither side of the ratio, so Affinity sees stale weights and"
            " engine mismatch only. Where the policy that sampled is the one updated it is 1 and"
            " changes nothing: see `affinity` and `hint_gap` in the report."
        ),
        (
            "The authors' loss takes the mean of each completion's tokens first, clips at 0.2 on"
            " both sides and has no dual clip; here the objective is that of the comparison"
            " (`objective.aggregation=seq-mean objective.clip_high=0.2 objective.dual_clip=null` is"
            " theirs). They sample at temperature 0.9 and score at 1."
        ),
        "Teacher, prompt and length of the hints are not published: ours, with a leak check.",
    ]

    def __init__(self, *args: Any, **switches: Any):
        super().__init__(*args, **switches)
        self.teacher = (
            call(Teacher, self.cfg.teacher_options, "method.teacher_options")
            if self.cfg.hint_source == "teacher"
            else None
        )

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        if group.solved:
            return group
        hint = yield from self.meta_hint(problem)
        if hint is None:
            return group
        return (yield from self.attempt(problem, 1, hint, train_plain=True))

    def meta_hint(self, problem: Problem) -> Any:
        """The hint, or None with the reason recorded (`yield from` it)."""
        ctx, cfg = self.ctx, self.cfg
        if cfg.hint_source == "data":
            hint = problem.extra.get(cfg.hint_column)
        elif self.teacher is not None:
            hint = yield from self.teacher.ask(self.messages(problem), ctx.folder)
        else:
            prompt = ctx.renderer.ids(ctx.renderer.text(*self.messages(problem)))
            ((completion,),) = yield [
                Sample(prompt, 1, Sampling(1.0, 1.0, ctx.hint_max_tokens), purpose="hint")
            ]
            hint = ctx.text(completion.tokens).strip()
        if not hint:
            ctx.record(problem, "hint_failed")
            return None
        if cfg.leak_check and (reason := self.leak(problem, hint)):
            ctx.record(problem, reason)
            return None
        return hint

    def messages(self, problem: Problem) -> tuple[str, str]:
        """(system, user) that ask for the hint."""
        known = problem.solution or problem.answer
        return meta_hint_messages(self.ctx.renderer, problem.question, known)

    def leak(self, problem: Problem, hint: str) -> str | None:
        if leaks_answer(hint, problem.answer, problem.question):
            return "hint_leak"
        if new_numbers(hint, problem.question):
            return "hint_new_numbers"
        if copies(hint, problem.solution or "") > self.cfg.max_overlap:
            return "hint_copies_solution"
        return None

    def credit(self, group: Group) -> list[Row]:
        power = self.cfg.affinity_power if group.level else 0.0
        return [AffinityRow(**values(row), affinity=power) for row in super().credit(group)]

    def row_weights(self, rows: Sequence[Row], ratios: Ratios, objective: Objective) -> list[float]:
        """AAPO: the loss of a hinted group is scaled by its Affinity."""
        return affinity_weights(rows, ratios, objective)


def values(row: Row) -> dict[str, Any]:
    """What a row holds, by field."""
    return {f.name: getattr(row, f.name) for f in fields(row)}
