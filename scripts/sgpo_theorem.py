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
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sage_bench.cli.output import table_text
from sage_bench.methods.advantage import group_advantage

REWARDS = {"GRPO": (0.0, 0.0, 1.0), "SGPO": (0.0, 0.5, 1.0)}  # of the outcomes 1, 21, 22
STEPS = 2  # of a response
LEVELS = (0.5, 0.8, 0.9)
Path = NDArray[np.float64]  # (steps + 1, 2): p and q


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--groups", type=int, default=16, help="groups of two a step")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    exact = {name: recursion(name, args.steps) for name in REWARDS}
    runs = {
        name: simulated(rewards, args.steps, args.groups, args.runs, args.seed)
        for name, rewards in REWARDS.items()
    }
    print(f"{args.runs} runs of {args.steps} steps, {args.groups} groups of two a step\n")
    print(chances(exact, runs))
    print("\nsteps until pq, the chance of a right response, is above a level\n")
    print(speed(exact, runs))


def chances(exact: Mapping[str, Path], runs: Mapping[str, Path]) -> str:
    """p and pq along the way, expected and simulated."""
    rows = []
    for name, path in exact.items():
        last = len(path) - 1
        for k in (k for k in (1, 2, 5, 10, 20, last) if k <= last):
            p, pq = runs[name][:, k, 0], runs[name][:, k].prod(-1)
            expected = path[k].prod()
            rows.append((name, k, f"{path[k, 0]:.4f}", of(p), f"{expected:.4f}", of(pq)))
    return table_text(("", "step", "p expected", "p", "pq expected", "pq"), rows, right=1)


def speed(exact: Mapping[str, Path], runs: Mapping[str, Path]) -> str:
    """When levels are passed, expected and simulated."""
    rows = []
    for level in LEVELS:
        for name, path in exact.items():
            first = [passed(run.prod(-1), level) for run in runs[name]]
            reached = np.array([k for k in first if k is not None])
            share = f"{len(reached) / len(first):.1%}"
            mean = of(reached) if len(reached) > 1 else "–"
            rows.append((level, name, passed(path.prod(-1), level), mean, share))
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


def recursion(method: str, steps: int) -> Path:
    """p and q along the expected gradient at rate 1, from one half each (A.4).

    >>> recursion("SGPO", 1)[1].round(6).tolist(), recursion("GRPO", 1)[1].round(6).tolist()
    ([0.562177, 0.51562], [0.531209, 0.531209])
    """
    gains: dict[str, Callable[[float, float], tuple[float, float]]] = {
        "GRPO": lambda p, q: (p * (1 - p) * q, p * q * (1 - q)),
        "SGPO": lambda p, q: (p * (1 - p), p * p * q * (1 - q)),
    }
    path = np.full((steps + 1, 2), 0.5)
    for k in range(steps):
        path[k + 1] = moved(path[k], np.array(gains[method](*path[k])))
    return path


def moved(x: Path, by: Path) -> Path:
    """Two-action probabilities after the differences of their logits grew by `by`."""
    return x * np.exp(by) / (1 - x + x * np.exp(by))


def simulated(
    rewards: Sequence[float], steps: int, groups: int, runs: int, seed: int
) -> NDArray[np.float64]:
    """(runs, steps + 1, 2): p and q of training runs that draw `groups` groups of two a step."""
    rng = np.random.default_rng(seed)
    advantages = np.zeros((3, 3, 2))
    for a, b in product(range(3), repeat=2):
        pair = torch.tensor([rewards[a], rewards[b]], dtype=torch.float64)
        advantages[a, b] = group_advantage(pair, eps=0.0).numpy()
    path = np.full((runs, steps + 1, 2), 0.5)
    for k in range(steps):
        p, q = path[:, k, 0, None, None], path[:, k, 1, None, None]
        first = rng.random((runs, groups, 2)) < p
        second = rng.random((runs, groups, 2)) < q
        outcome = np.where(first, np.where(second, 2, 1), 0)
        weight = advantages[outcome[..., 0], outcome[..., 1]]
        # the gradient of log pi in the difference of the two logits is twice that of one of them
        of_p = np.where(first, 1 - p, -p)
        of_q = np.where(first, np.where(second, 1 - q, -q), 0.0)
        scale = 2 / (2 * STEPS)  # two logits move; the mean is over G = 2 responses of H = 2 steps
        gain = [(scale * weight * s).sum(-1).mean(-1) for s in (of_p, of_q)]
        path[:, k + 1] = moved(path[:, k], np.stack(gain, -1))
    return path


if __name__ == "__main__":
    main()
