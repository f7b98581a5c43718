"""Affinity of a hinted group to the policy that is being updated, as a weight of its rows and as a
number for the log of every run (HINT, arXiv 2510.09388; definitions of its code at HEAD).

Because the hint stands in neither numerator nor denominator of the ratio, Affinity sees weight
staleness and engine mismatch on the un-hinted context; exactly on-policy it is 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log1p, sqrt

import torch
from torch import Tensor

from sage_bench.methods.hooks import Diagnostic, Measured, Panel, Ratios, register_diagnostic
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class AffinityRow(Row):
    """A row whose loss is scaled by a power of its group's Affinity.

    affinity: the power (lambda of AAPO); 0 = not at all.
    """

    affinity: float = 0.0


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


def members(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of the rows of each group, groups in the order they came."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row.group].append(i)
    return dict(groups)


def affinity_weights(rows: Sequence[Row], ratios: Ratios, objective: Objective) -> list[float]:
    """stopgrad(Affinity ** lambda) of each row's group, (R,): AAPO's factor of its loss.

    A group without old log-probabilities is scored at the weights that define them: its ratio and
    its Affinity are 1, and no forward is spent on it.
    """
    weights = [1.0] * len(rows)
    for indices in members(rows).values():
        own = [rows[i] for i in indices]
        powers = [r.affinity for r in own if isinstance(r, AffinityRow) and r.old_logp is not None]
        if not any(powers):
            continue
        ratio = torch.cat(ratios(own))
        advantage = torch.cat([r.advantage for r in own]).to(ratio.device)
        factor = affinity(ratio, advantage, objective.clip_low).value ** powers[0]
        for i in indices:
            weights[i] = factor
    return weights


def measured(rows: Sequence[Row], ratios: Sequence[Tensor], objective: Objective) -> Measured:
    """Affinity and its parts, one number a policy-gradient group, hinted or not."""
    found: dict[str, list[float]] = defaultdict(list)
    sampled = [i for i, row in enumerate(rows) if row.kind == Kind.PG]
    for indices in members([rows[i] for i in sampled]).values():
        mine = [sampled[i] for i in indices]
        a = affinity(
            torch.cat([ratios[i] for i in mine]),
            torch.cat([rows[i].advantage for i in mine]).to(ratios[0].device),
            objective.clip_low,
        )
        found["affinity"].append(a.value)
        found["affinity_eur"].append(a.eur)
        found["affinity_uc"].append(a.uc)
        found["affinity_v1"].append(a.first)
    return found


PANEL = Panel(
    "Affinity",
    "of the groups trained on to the policy under update, 1 = all ratios at 1 (HINT); a diagnostic"
    " for every method",
    ("learner/affinity",),
)
register_diagnostic("affinity")(Diagnostic(measured, (PANEL,)))
