"""Advantages: pure functions of the rewards of a group."""

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
    (Dr. GRPO, LUFFY). Groups whose rewards are all equal, a group of one among them, get exactly 0:
    they teach nothing and the learner skips them.

    >>> group_advantage(torch.tensor([1., 0., 0., 0.]))
    tensor([ 1.7320, -0.5773, -0.5773, -0.5773])
    >>> group_advantage(torch.tensor([1., 1., 1.]))
    tensor([0., 0., 0.])
    """
    if rewards.ndim != 1:
        raise ValueError(f"rewards of one group must have shape (G,), got {tuple(rewards.shape)}")
    # the mean of 0/1 rewards is exact in any type, the std of near-equal scores is not
    r = rewards.double()
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    if len(r) == 0 or r.max() - r.min() < EQUAL:
        return torch.zeros(len(r), dtype=dtype)
    centred = r - r.mean()
    return (centred / (r.std(correction=ddof) + eps) if use_std else centred).to(dtype)
