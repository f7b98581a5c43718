"""Controls: is it the reward, the compute, the sampling or the normalisation?"""

from __future__ import annotations

from pathlib import Path

import torch

from sage_bench.backends.grpo import GRPO, GRPOConfig
from sage_bench.methods.base import Program, switch
from sage_bench.methods.registry import register_backend
from sage_bench.types import Group, Problem
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.seeds import derive_seed


class RandomRewardConfig(GRPOConfig):
    chance: float = switch(0.5, help="probability that a completion is called right", ge=0, le=1)


@register_backend("random_reward")
class RandomReward(GRPO):
    """GRPO on coin flips: what improves here was not taught by the verifier."""

    Config = RandomRewardConfig
    source = "Spurious Rewards (arXiv 2506.10947)"

    def roll(self, problem: Problem) -> Program:
        group = yield from self.attempt(problem)
        draw = [
            derive_seed(self.ctx.seed, "coin", self.ctx.step, problem.uid, k) / 2**63
            for k in range(len(group.rewards))
        ]
        group.scores = torch.tensor([float(d < self.cfg.chance) for d in draw])
        return group


class GRPOMoreConfig(GRPOConfig):
    like: str | None = switch(
        None, help="folder of a training run: stop once as many completions were sampled as there"
    )
    like_steps: int | None = switch(None, help="count only that run's first steps", ge=1)


@register_backend("grpo_more")
class GRPOMore(GRPO):
    """GRPO given as many rollouts as another method used: equal compute instead of equal steps
    (train.steps is the upper limit)."""

    Config = GRPOMoreConfig
    source = "a control of ours"

    def rollout_budget(self) -> int | None:
        if self.cfg.like is None:
            return None
        ledger = Path(self.cfg.like) / "ledger.jsonl"
        if not ledger.is_file():
            raise UsageError(
                "there is no training run to compare with",
                where=f"method.like: {self.cfg.like}",
                remedy="give the --out of a finished run",
            )
        last = self.cfg.like_steps
        rows = [r for r in read_jsonl(ledger) if last is None or r["step"] < last]
        return sum(int(row["rollouts"]) for row in rows)


class DAPOConfig(GRPOConfig):
    refills: int = switch(
        3, help="further batches of prompts sampled to replace groups without a signal", ge=0
    )


@register_backend("dapo")
class DAPO(GRPO):
    """DAPO's dynamic sampling on top of clip-higher and token-mean: groups without a signal are
    replaced by fresh prompts."""

    Config = DAPOConfig
    rolls_again = True
    source = (
        "arXiv 2503.14476 (dynamic sampling, clip-higher, token-mean loss; without overlong reward"
        " shaping)"
    )
    notes = [
        (
            "The paper samples until the batch is full; here `refills` bounds the cost, and a batch"
            " may stay smaller."
        ),
    ]

    def keep(self, group: Group) -> bool:
        return bool(group.rewards.max() != group.rewards.min())

    @property
    def refills(self) -> int:
        return int(self.cfg.refills)


class DrGRPOConfig(GRPOConfig):
    use_std: bool = switch(False, help="divide by the standard deviation")


@register_backend("dr_grpo")
class DrGRPO(GRPO):
    """Dr. GRPO: mean-only advantage and a constant normaliser, so that neither difficulty nor
    length tilts the update."""

    Config = DrGRPOConfig
    source = "arXiv 2503.20783"
    notes = ["The constant is `objective.constant_length`, the longest completion unless set."]
    objective = {"aggregation": "constant"}
