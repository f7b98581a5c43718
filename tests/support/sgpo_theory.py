"""SGPO's simplified setting (arXiv 2505.11595 section 3; docs/design/sgpo.md 10), which is theory
about the method and no part of the product.

Two steps with two actions each, (1, 2) excluded; p = P(a1 = 2), q = P(a2 = 2 | a1 = 2), both
two-logit softmaxes. Outcomes, in this
order: (1, 1), (2, 1), (2, 2). Advantages come from `group_advantage`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from math import factorial, prod

import torch
from sgpo_theorem import GRPO, SGPO, STEPS, ascend, moved, path

from sage_bench.methods.advantage import group_advantage

__all__ = ["GRPO", "SGPO", "ascend", "moved", "path"]


def probabilities(p: float, q: float) -> tuple[float, float, float]:
    return 1 - p, p * (1 - q), p * q


def groups(p: float, q: float, size: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every group of outcomes up to order, and its probability."""
    each = probabilities(p, q)
    for outcomes in combinations_with_replacement(range(3), size):
        orders = factorial(size) / prod(factorial(outcomes.count(o)) for o in range(3))
        yield outcomes, orders * prod(each[o] for o in outcomes)


def advantages(outcomes: Sequence[int], rewards: Sequence[float]) -> list[float]:
    return group_advantage(
        torch.tensor([rewards[o] for o in outcomes], dtype=torch.float64), eps=0.0
    ).tolist()


def population_gradient(p: float, q: float, rewards: Sequence[float], size: int) -> list[float]:
    """Expected (1 / (G H)) sum_k S(y_k) A_k over all groups, for the four logits."""
    scores = ((p, -p, 0.0, 0.0), (p - 1, 1 - p, q, -q), (p - 1, 1 - p, q - 1, 1 - q))
    total = [0.0] * 4
    for outcomes, probability in groups(p, q, size):
        for outcome, a in zip(outcomes, advantages(outcomes, rewards), strict=True):
            for i in range(4):
                total[i] += probability * scores[outcome][i] * a / (size * STEPS)
    return total


def no_signal(p: float, q: float, rewards: Sequence[float], size: int) -> float:
    """Probability that every advantage of a group is zero."""
    return sum(
        probability
        for outcomes, probability in groups(p, q, size)
        if not any(advantages(outcomes, rewards))
    )


def lemma(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A(x), B(x, y) and C(sqrt(x y)) of Lemma B.2, which says C^2 > A B for 1/2 < y < x < 1."""
    z = (x * y).sqrt()
    a = 1 + (1 / x - 1) * torch.exp(-x * (1 - x))
    b = 1 + (1 / y - 1) * torch.exp(-x * x * y * (1 - y))
    return a, b, 1 + (1 / z - 1) * torch.exp(-z * z * (1 - z))
