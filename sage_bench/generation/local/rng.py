"""Counter-based random numbers: a draw is a pure function of (seed of the completion, index of the
token).

No generator state exists, so batching, dropping finished rows, sharding and resuming cannot change
what is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x


_GOLDEN, _MIX1, _MIX2 = (
    _signed(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def _shift(x: Tensor, bits: int) -> Tensor:
    # torch shifts int64 arithmetically; we need the logical shift
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def uniform(seeds: Tensor, index: Tensor | int) -> Tensor:
    """Uniform numbers in [0, 1), one a row. seeds: (R,) int64; index: (R,) int64, or one for all.
    Returns (R,) float64. (splitmix64; int64 wraps in torch.)

    >>> u = uniform(torch.arange(20000), 5)
    >>> bool((u >= 0).all() and (u < 1).all()), round(u.mean().item(), 2), round(u.var().item(), 3)
    (True, 0.5, 0.083)
    """
    x = seeds + (torch.as_tensor(index, device=seeds.device) + 1) * _GOLDEN
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    x = x ^ _shift(x, 31)
    return _shift(x, 11).double() * 2.0**-53
