"""Affinity of a hinted group to the policy that is being updated (HINT, arXiv 2510.09388;
definitions of its code at HEAD).

Because the hint stands in neither numerator nor denominator of the ratio, Affinity sees weight
staleness and engine mismatch on the un-hinted context; exactly on-policy it is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log1p, sqrt

import torch
from torch import Tensor

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class Affinity:
    """eur: share of the advantage mass inside the clip band. uc: weighted deviation of the log
    ratio there (lower = more consistent). value = eur * exp(-uc / tau), in [0, 1]. first: the
    definition of the first version, for the log only.
    """

    eur: float
    uc: float
    value: float
    first: float


def affinity(ratio: Tensor, advantage: Tensor, clip: float = 0.2) -> Affinity:
    """Affinity of one group. ratio, advantage: (N,) over its completion tokens. clip: half-width of
    the band, symmetric.

    >>> round(affinity(torch.tensor([1.0, 1.1, 0.5]), torch.tensor([1.0, 1.0, -1.0])).eur, 3)
    0.667
    >>> affinity(torch.tensor([2.0, 0.5]), torch.ones(2)).value
    0.0
    """
    ratio, weight = ratio.double(), advantage.double().abs()
    band = (ratio >= 1 - clip) & (ratio <= 1 + clip)
    tau = max(log1p(clip) / 2, EPS)
    inside, total = float(weight[band].sum()), float(weight.sum())
    eur = uc = 0.0
    if total > EPS and bool(band.any()):
        logs, w = ratio[band].clamp(min=1e-12).log(), weight[band]
        eur = inside / (total + EPS)
        mean = float((w * logs).sum()) / (inside + EPS)
        uc = sqrt(float((w * (logs - mean) ** 2).sum()) / (inside + EPS))
    value = eur * exp(-uc / tau) if eur else 0.0
    first = (
        float(band.double().mean()) * exp(-float(torch.var(ratio[band], correction=0)))
        if bool(band.any())
        else 0.0
    )
    return Affinity(eur, uc, value, first)
