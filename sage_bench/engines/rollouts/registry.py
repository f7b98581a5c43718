"""The registry of rollouts: who draws the completions of a training run (`engine.rollouts`).

A kind is a function of a `LearningPolicy` and of what stands behind a colon (`recorded:DIR`); it
returns a sampler. Entry points of the group `sage_bench.rollouts` add kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sage_bench.config.schema import RunConfig
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.generation.live.engines import Score, Weights
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.samplers.base import Sampler
from sage_bench.utils.errors import UsageError
from sage_bench.utils.registry import Registry


@dataclass(frozen=True)
class LearningPolicy:
    """What a sampler of rollouts may know of the policy that learns.

    local: the engine's own sampler on it. weights: all parameters, by the names transformers saves
    them under; digest: of these. score: log-probabilities by the learner's forward at a
    temperature. dtype: as vLLM names it ("bfloat16"). context: most tokens of prompt and completion
    together. stop_ids: all end tokens. save_adapters: writes the adapters into a folder as peft
    does; None where all weights learn. ranks: the processes of the run.
    """

    config: RunConfig
    local: Sampler
    renderer: Renderer
    weights: Weights
    digest: Callable[[], str]
    score: Score
    dtype: str
    context: int
    stop_ids: Sequence[int]
    on_cpu: bool
    save_adapters: Callable[[Path], None] | None = None
    ranks: Ranks = ALONE


MakeRollouts: TypeAlias = Callable[[LearningPolicy, str], Sampler]
ROLLOUTS: Registry[MakeRollouts] = Registry(
    "kind of rollouts", package="sage_bench.engines.rollouts", group="sage_bench.rollouts"
)
register_rollouts = ROLLOUTS.register


def kind_and_argument(word: str) -> tuple[str, str]:
    """`engine.rollouts` in its two parts.

    >>> kind_and_argument("recorded:runs/grpo"), kind_and_argument("local")
    (('recorded', 'runs/grpo'), ('local', ''))
    """
    kind, _, argument = word.partition(":")
    return kind, argument


def no_argument(kind: str, argument: str) -> None:
    """Raise `UsageError` where something stands behind a kind that takes nothing."""
    if argument:
        raise UsageError(
            f"`{kind}` takes nothing behind a colon",
            where=f"engine.rollouts: {kind}:{argument}",
            remedy=f"write engine.rollouts={kind}",
        )
