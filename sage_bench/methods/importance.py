"""Truncated importance sampling: what it changes when the sampler is not quite the policy.

A fast sampler computes probabilities q in other kernels and number types than the learner's p, so
rollouts are slightly off-policy before the first update. `objective.importance` weighs the loss of
sampled tokens by p_old / q, cut at `objective.importance_cap` (Yao et al. 2025, "Your Efficient RL
Framework Secretly Brings You Off-Policy RL Training", fengyao.notion.site/off-policy-rl; by whole
sequences: Liu et al. 2025, "When Speed Kills Stability: Demystifying RL Collapse from the
Training-Inference Mismatch").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sage_bench.methods.hooks import RowTokens
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row


def is_corrected(row: Row) -> bool:
    """Whether the sampler's probabilities of a row are about what the update takes the ratio of:
    sampled tokens, under the prompt they were sampled from."""
    return row.kind == Kind.PG and row.sampler_logp is not None and row.same_prompt


@torch.no_grad()
def importance_weights(tokens: RowTokens, objective: Objective) -> list[Tensor]:
    """Factor of each token's loss, one (T,) a row; 1 for rows that are not corrected.

    token: min(p_old(t) / q(t), cap). sequence: the same of the products over the completion.
    """
    most = math.log(objective.importance_cap)
    weights = []
    for row, old in zip(tokens.rows, tokens.split(tokens.old_logp), strict=True):
        if not is_corrected(row) or row.sampler_logp is None:
            weights.append(torch.ones_like(old))
            continue
        difference = old - row.sampler_logp.to(old)
        if objective.importance == "sequence":
            difference = difference.sum().expand_as(old)
        weights.append(difference.clamp(max=most).exp())
    return weights


def corrected(
    loss: Tensor, tokens: RowTokens, objective: Objective
) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss of each token (N,) with its factor, sums for the log); nothing is changed and nothing
    measured where `objective.importance` is off.

    The sums are over the corrected tokens: `importance_weight`, `importance_capped` (how many are
    cut) and their number `importance_tokens`.
    """
    if objective.importance == "off":
        return loss, {}
    weights = importance_weights(tokens, objective)
    pairs = zip(tokens.rows, weights, strict=True)
    measured = [weight for row, weight in pairs if is_corrected(row)]
    seen = torch.cat(measured) if measured else loss.new_zeros(0)
    capped = (seen >= objective.importance_cap * (1 - 1e-6)).sum()
    stats = {
        "importance_weight": seen.sum(),
        "importance_capped": capped,
        "importance_tokens": torch.tensor(len(seen)),
    }
    return loss * torch.cat(weights), stats
