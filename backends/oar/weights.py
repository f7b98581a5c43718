"""Weights of tokens from how much each of them matters: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


def token_weights(
    importance: Tensor,
    *,
    quantile: float = 0.25,
    boost: float = 1.0,
    floor: float = 0.1,
    preserve: bool = True,
) -> Tensor:
    """How a completion's advantage is spread over its tokens: bi-level reshaping (arXiv 2601.07408;
    docs/design/oar.md 5).

    importance: (L,) >= 0 (negative values, which answer_joint can give, count as 0). Returns (L,):
    tokens below the quantile of the min-max-scaled log1p importance are suppressed down to `floor`,
    the others boosted up to 1 + boost; with `preserve` the weights are rescaled to sum to L, so
    that the advantage keeps its mass. Equal importances give ones.

    >>> token_weights(torch.tensor([0.0, 0.02, 0.5, 1.5]))
    tensor([0.0881, 0.8861, 1.2632, 1.7626])
    """
    if len(importance) == 0:
        return importance.clone()
    logs = importance.double().clamp(min=0).log1p()
    spread = logs.max() - logs.min()
    if spread <= 0:
        return torch.ones_like(importance)
    scaled = (logs - logs.min()) / spread
    cut = torch.quantile(scaled, quantile)
    low = (scaled / (cut + 1e-8)).clamp(min=floor)
    high = 1 + boost * (scaled - cut) / (1 - cut + 1e-8)
    weights = torch.where(scaled < cut, low, high)
    if preserve:
        # the largest weighs at least 1: no zero to guard against
        weights = weights * (len(weights) / weights.sum())
    return weights.to(importance.dtype)


def effective_share(weights: Tensor) -> float:
    """(sum w)^2 / (L sum w^2): 1 when all tokens weigh alike, towards 1 / L when one carries
    everything.

    >>> effective_share(torch.ones(5))
    1.0
    """
    w = weights.double()
    return float(w.sum() ** 2 / (len(w) * (w**2).sum()))
