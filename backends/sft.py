"""SFT: cross-entropy on the reference answers, through the same learner as every other method (SAGE
appendix C.3)."""

from __future__ import annotations

from typing import Literal

import torch

from sage_bench.methods.base import Method, MethodConfig, Program, switch
from sage_bench.methods.columns import Column
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Kind, Problem, Row


class SFTConfig(MethodConfig):
    target: Literal["solution", "trace"] = switch(
        "solution",
        help=(
            "what is imitated: the reference solution, or the column `trace` of the data (a"
            " teacher's full response)"
        ),
    )


@register_backend("sft")
class SFT(Method):
    """Supervised fine-tuning: no rollout, one row a problem, loss on answer tokens only."""

    Config = SFTConfig
    needs = frozenset()
    source = (
        "SAGE appendix C.3 (OpenRLHF defaults: token-mean negative log-likelihood of the response)"
    )
    columns = [
        Column(
            "solution",
            "what is imitated",
            when="target=solution",
            without="a problem without it is passed over",
            becomes="no training at all",
            required=True,
        ),
        Column(
            "trace",
            "what is imitated",
            when="target=trace",
            without="a problem without it is passed over",
            becomes="no training at all",
            required=True,
        ),
    ]
    notes = [
        (
            "SAGE's paper names OpenRLHF, its code LUFFY's trainer; the schedule is not stated. The"
            " presets take OpenRLHF's defaults and DeepSeek-R1 traces."
        ),
    ]

    def roll(self, problem: Problem) -> Program:
        prompt = self.ctx.prompt(problem)
        return Group(problem, prompt, prompt, [], torch.zeros(0))
        yield  # a generator that asks for nothing

    def credit(self, group: Group) -> list[Row]:
        tokens = self.ctx.reference(group.problem, self.cfg.target)
        if tokens is None:  # recorded by the context; the problem has nothing to teach
            return []
        return [Row(group.prompt, tokens, torch.ones(len(tokens)), group.problem.uid, kind=Kind.CE)]
