"""GRPO that learns only from the tokens at which the policy was most in doubt: the forks of its
reasoning (after arXiv 2506.01939, which selects by entropy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fork_grpo.doubt import Doubt
from sage_bench import register_backend
from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.methods.base import Program, switch
from sage_bench.methods.hooks import Measured
from sage_bench.methods.objective import Objective
from sage_bench.types import Group, Problem, Row


class ForkGRPOConfig(GRPOConfig):
    share: float = switch(
        0.2, help="share of a completion's tokens that is trained on, at least one", gt=0, le=1
    )


@register_backend("fork_grpo")
class ForkGRPO(GRPO):
    """GRPO whose advantage stands only on the tokens the policy was most unsure of."""

    Config = ForkGRPOConfig
    needs = frozenset({"sample", "policy"})  # "policy": it brings a request of its own
    source = "an example; the idea: arXiv 2506.01939"

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        if bool(group.rewards.max() == group.rewards.min()):
            return group  # no advantage: no reason to ask
        group.notes["doubt"] = yield [Doubt(group.prompt, c.tokens) for c in group.completions]
        return group

    def credit(self, group: Group) -> list[Row]:
        rows = super().credit(group)
        doubts = group.notes.get("doubt")
        if doubts is None:
            return rows
        return [
            replace(row, advantage=row.advantage * self.forks(doubt))
            for row, doubt in zip(rows, doubts, strict=True)
        ]

    def forks(self, doubt: Tensor) -> Tensor:
        """(T,) of 1 at the tokens that are trained on and 0 elsewhere."""
        count = max(1, round(self.cfg.share * len(doubt)))
        chosen = torch.zeros_like(doubt)
        chosen[doubt.topk(count).indices] = 1.0
        return chosen

    def row_metrics(
        self, rows: Sequence[Row], ratios: Sequence[Tensor], objective: Objective
    ) -> Measured:
        """`learner/forks` in metrics.jsonl: tokens trained on, a completion."""
        counts = [float((row.advantage != 0).sum()) for row in rows]
        return {**super().row_metrics(rows, ratios, objective), "forks": counts}

    def describe_completion(self, group: Group, i: int) -> dict[str, Any]:
        """`doubt` in completions.jsonl, a number a token."""
        doubts = group.notes.get("doubt")
        return {} if doubts is None else {"doubt": [round(d, 3) for d in doubts[i].tolist()]}
