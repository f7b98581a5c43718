#!/usr/bin/env python3
"""Theorem 3.3 of SGPO (arXiv 2505.11595) simulated beside its recursion.

    python scripts/sgpo_theorem.py

Two steps with two actions each: p = P(a1 = 2), q = P(a2 = 2 | a1 = 2), the outcomes 1, 21 and 22,
of which 22 is right. SGPO gives 21 one half. The recursion follows the expected gradient of groups
of two (A.4); the simulation draws groups, normalises with `group_advantage` as training does, and
takes the mean over the groups of a step. Printed: how far the mean of the runs is from the
recursion, and after how many steps the chance of a right response passes a level.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sage_bench.cli.output import table_text
from sage_bench.methods.advantage import group_advantage

Rewards: TypeAlias = tuple[float, float, float]  # of the outcomes 1, 21, 22
Curve: TypeAlias = NDArray[np.float64]  # (..., steps + 1, 2): p and q
GRPO: Rewards = (0.0, 0.0, 1.0)
SGPO: Rewards = (0.0, 0.5, 1.0)
METHODS = {"GRPO": GRPO, "SGPO": SGPO}
STEPS = 2  # of a response
LEVELS = (0.5, 0.8, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--groups", type=int, default=16, help="groups of two a step")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    exact = {name: np.array(path(method, args.steps)) for name, method in METHODS.items()}
    runs = {
        name: simulated(method, args.steps, args.groups, args.runs, args.seed)
        for name, method in METHODS.items()
    }
    print(f"{args.runs} runs of {args.steps} steps, {args.groups} groups of two a step\n")
    print(chances(exact, runs))
    print("\nsteps until pq, the chance of a right response, is above a level\n")
    print(speed(exact, runs))


def chances(exact: Mapping[str, Curve], runs: Mapping[str, Curve]) -> str:
    """p and pq along the way, expected and simulated."""
    rows = []
    for name, curve in exact.items():
        last = len(curve) - 1
        for k in (k for k in (1, 2, 5, 10, 20, last) if k <= last):
            p, pq = runs[name][:, k, 0], runs[name][:, k].prod(-1)
            expected = curve[k].prod()
            rows.append((name, k, f"{curve[k, 0]:.4f}", of(p), f"{expected:.4f}", of(pq)))
    return table_text(("", "step", "p expected", "p", "pq expected", "pq"), rows, right=1)


def speed(exact: Mapping[str, Curve], runs: Mapping[str, Curve]) -> str:
    """When levels are passed, expected and simulated."""
    rows = []
    for level in LEVELS:
        for name, curve in exact.items():
            first = [passed(run.prod(-1), level) for run in runs[name]]
            reached = np.array([k for k in first if k is not None])
            share = f"{len(reached) / len(first):.1%}"
            mean = of(reached) if len(reached) > 1 else "–"
            rows.append((level, name, passed(curve.prod(-1), level), mean, share))
    return table_text(("level", "", "expected", "simulated", "runs that passed"), rows, right=2)


def of(values: NDArray[Any]) -> str:
    """Mean and standard error."""
    return f"{values.mean():.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


def passed(values: NDArray[np.float64], level: float) -> int | None:
    """The first place with a value above the level.

    >>> passed(np.array([0.1, 0.6, 0.7]), 0.5), passed(np.array([0.1]), 0.5)
    (1, None)
    """
    above = np.flatnonzero(values > level)
    return int(above[0]) if len(above) else None


def path(method: Rewards, steps: int) -> list[tuple[float, float]]:
    """(p, q) at steps 0..steps along the expected gradient, from one half each.

    >>> [[round(float(x), 6) for x in path(method, 1)[1]] for method in (SGPO, GRPO)]
    [[0.562177, 0.51562], [0.531209, 0.531209]]
    """
    found = [(0.5, 0.5)]
    for _ in range(steps):
        found.append(ascend(*found[-1], method))
    return found


def ascend(p: float, q: float, method: Rewards) -> tuple[float, float]:
    """One step of gradient ascent at rate 1 and group size 2, closed form (A.4)."""
    if method == SGPO:
        return moved(p, p * (1 - p)), moved(q, p * p * q * (1 - q))
    return moved(p, p * (1 - p) * q), moved(q, p * q * (1 - q))


def moved(x: Any, by: Any) -> Any:
    """A two-action probability after the difference of its logits grew by `by`; also of arrays."""
    return x * np.exp(by) / (1 - x + x * np.exp(by))


def simulated(method: Rewards, steps: int, groups: int, runs: int, seed: int) -> Curve:
    """(runs, steps + 1, 2): p and q of training runs that draw `groups` groups of two a step."""
    rng = np.random.default_rng(seed)
    advantages = np.zeros((3, 3, 2))
    for a, b in product(range(3), repeat=2):
        pair = torch.tensor([method[a], method[b]], dtype=torch.float64)
        advantages[a, b] = group_advantage(pair, eps=0.0).numpy()
    curves = np.full((runs, steps + 1, 2), 0.5)
    for k in range(steps):
        p, q = curves[:, k, 0, None, None], curves[:, k, 1, None, None]
        first = rng.random((runs, groups, 2)) < p
        second = rng.random((runs, groups, 2)) < q
        outcome = np.where(first, np.where(second, 2, 1), 0)
        weight = advantages[outcome[..., 0], outcome[..., 1]]
        # d log pi by the logit of action 2; that of action 1 moves as far the other way, so the
        # difference of the logits grows by twice the mean over G = 2 responses of H = 2 steps
        of_p = np.where(first, 1 - p, -p)
        of_q = np.where(first, np.where(second, 1 - q, -q), 0.0)
        gain = [2 * (weight * slope).sum(-1).mean(-1) / (2 * STEPS) for slope in (of_p, of_q)]
        curves[:, k + 1] = moved(curves[:, k], np.stack(gain, -1))
    return curves


if __name__ == "__main__":
    main()
