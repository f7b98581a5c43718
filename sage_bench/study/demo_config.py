"""What a demo compares, and where each of its parts lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EQUAL = "grpo, equal rollouts"
MORE = "grpo_more"  # the same control as a backend of its own, where it is among the methods
SEEDS = 3  # of every method: fewer than three say next to nothing about a method


@dataclass(frozen=True)
class DemoConfig:
    """What the demo compares.

    methods: backends (grpo is the reference where it is among them). steps: the budget of every
    method. seed: the first training seed of `seeds`. equal_seeds: for how many of them GRPO is also
    trained to equal rollouts, which takes longer than all else.
    """

    out: Path
    methods: Sequence[str] = ("grpo", "sage")
    model: str = "tiny-llama"
    data: str = "tiny"
    tasks: str = "tiny:4"
    steps: int = 40
    seed: int = 0
    backend_files: Sequence[str] = ()
    equal_rollouts: bool = True
    overrides: Sequence[str] = ()
    seeds: int = SEEDS
    equal_seeds: int = 1

    @property
    def train_seeds(self) -> list[int]:
        """The training seeds of every method."""
        return list(range(self.seed, self.seed + self.seeds))

    def folder(self, method: str, seed: int) -> Path:
        """Where a method is trained; the first seed has the method's plain name."""
        return self.out / (method if seed == self.seed else f"{method}_seed{seed}")

    def name(self, job: str, seed: int) -> str:
        """The name of a job of one seed."""
        return job if seed == self.seed else f"{job}, seed {seed}"

    @property
    def equal_for(self) -> list[int]:
        """The seeds for which GRPO goes on to equal rollouts."""
        both = {"grpo", "sage"} <= set(self.methods)
        if not self.equal_rollouts or not both or MORE in self.methods:
            return []
        return self.train_seeds[: self.equal_seeds]
