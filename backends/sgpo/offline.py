"""SGPO offline: recorded groups that all failed, judged, trained on for a few passes (arXiv
2505.11595, offline experiments; docs/design/sgpo.md 12).

Nothing is drawn while it trains: give it a record (`engine.rollouts=recorded:DIR`,
`engine.recorded.match=problem`), and the clipped ratio is to the policy that drew it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch

from sage_bench.backends.sgpo.method import SGPO, SGPOConfig
from sage_bench.methods.base import Program, switch
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Problem, Row


class SGPOOfflineConfig(SGPOConfig):
    arm: Literal["negatives", "positives", "all"] = switch(
        "negatives",
        help=(
            "groups that are trained on: those that all failed, judged; right completions alone,"
            " with advantage 1; or all, as GRPO does"
        ),
    )


@register_backend("sgpo_offline")
class SGPOOffline(SGPO):
    """SGPO on recorded groups: only those that all failed, graded by a step judge."""

    Config = SGPOOfflineConfig
    objective: ClassVar[Any] = {"clip_low": 0.2, "clip_high": 0.2}
    source = "arXiv 2505.11595 (text of March 2026), offline experiments; no code is public"
    uses_progress = False
    notes = [
        (
            "The paper says that only groups without a right completion are kept, judged and"
            " trained on for three epochs at a learning rate of 2e-6, with six responses a prompt"
            " (`--config qwen2.5-14b-instruct@limo`). Clip, temperature and batch are not printed:"
            " 0.2 on both sides, 1 and 64 here."
        ),
        (
            "The contrast of the paper trains on right responses alone. A group of these has no"
            " advantage, so `arm=positives` gives each of their tokens 1: the likelihood of right"
            " responses, clipped."
        ),
        "`arm=all` is GRPO on the same groups. Only `arm=negatives` asks a judge.",
    ]

    @property
    def needs_judge(self) -> bool:
        return bool(self.cfg.arm == "negatives")

    def judging(self) -> bool:
        """In every pass: the groups are the same ones."""
        return self.needs_judge

    def roll(self, problem: Problem) -> Program:
        group = yield from super().roll(problem)
        if not self.keep(group):
            self.ctx.record(problem, "not_in_this_arm")
        return group

    def keep(self, group: Group) -> bool:
        """Groups of the other arms are left out of the update."""
        if self.cfg.arm == "all":
            return True
        return bool(group.solved == (self.cfg.arm == "positives"))

    def credit(self, group: Group) -> list[Row]:
        """positives: advantage 1 on the right completions, and no rows of wrong ones."""
        rows = super().credit(group)
        if self.cfg.arm != "positives":
            return rows
        right = [row for row, reward in zip(rows, group.rewards, strict=True) if reward > 0]
        return [replace(row, advantage=torch.ones(len(row.tokens))) for row in right]
