"""Advantages: pure functions of rewards, and of how much each token matters."""

from __future__ import annotations

import torch
from torch import Tensor

# rewards closer than this are one value: do not let float noise divided by eps become a signal
EQUAL = 1e-8


def group_advantage(
    rewards: Tensor, *, ddof: int = 0, eps: float = 1e-6, use_std: bool = True
) -> Tensor:
    """A_i = (r_i - mean r) / (std r + eps) over one group (SAGE eq. 2; GRPO).

    rewards: (G,). Returns (G,), of the same floating type. ddof 0 is the population standard
    deviation of the papers, 1 the sample one of the released code. use_std=False keeps r_i - mean r
    (Dr. GRPO, LUFFY). Groups whose rewards are all equal, a
    group of one among them, get exactly 0: they teach nothing and the learner skips them.

    >>> group_advantage(torch.tensor([1., 0., 0., 0.]))
    tensor([ 1.7320, -0.5773, -0.5773, -0.5773])
    >>> group_advantage(torch.tensor([1., 1., 1.]))
    tensor([0., 0., 0.])
    """
    if rewards.ndim != 1:
        raise ValueError(f"rewards of one group must have shape (G,), got {tuple(rewards.shape)}")
    r = (
        rewards.double()
    )  # the mean of 0/1 rewards is exact in any type, the std of near-equal scores is not
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    if len(r) == 0 or r.max() - r.min() < EQUAL:
        return torch.zeros(len(r), dtype=dtype)
    centred = r - r.mean()
    return (centred / (r.std(correction=ddof) + eps) if use_std else centred).to(dtype)


def token_weights(
    importance: Tensor,
    *,
    quantile: float = 0.25,
    boost: float = 1.0,
    floor: float = 0.1,
    preserve: bool = True,
) -> Tensor:
    """How a completion's advantage is spread over its tokens: OAR's bi-level reshaping (arXiv
    2601.07408; spec B5).

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
        weights = weights * (
            len(weights) / weights.sum()
        )  # the largest weighs at least 1: nothing to guard against
    return weights.to(importance.dtype)


def effective_share(weights: Tensor) -> float:
    """(sum w)^2 / (L sum w^2): 1 when all tokens weigh alike, towards 1 / L when one carries
    everything.

    >>> effective_share(torch.ones(5))
    1.0
    """
    w = weights.double()
    return float(w.sum() ** 2 / (len(w) * (w**2).sum()))
