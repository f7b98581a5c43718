"""What an engine is that generates for training with a copy of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sage_bench.types import Completion, Sample, TokenIds
from sage_bench.utils.errors import SageBenchError

if TYPE_CHECKING:  # the kinds of rollouts are listed without torch
    from torch import Tensor

# (name, tensor) of every parameter, named and shaped as transformers saves them
Weights: TypeAlias = "Callable[[], Iterable[tuple[str, Tensor]]]"
Pair: TypeAlias = tuple[TokenIds, TokenIds]  # (prompt, completion)
# log p (T,) of the completions at a temperature, by the learner's own forward
Score: TypeAlias = "Callable[[Sequence[Pair], float], list[Tensor]]"


class EngineLostError(SageBenchError):
    """A generating engine died or does not answer. What it was drawing is drawn again."""


class LiveEngine(Protocol):
    """Generates from a copy of the policy's weights.

    context: most tokens of prompt and completion together. draw: one completion for each request,
    in order; requests are for one completion each, in token ids, with their seed, and what is drawn
    hangs on weights and requests alone. take: the weights to draw from now on; version names them.
    holds: whether it still has this version (a server may have come back with its first weights).
    sleep: give device memory up until `wake`. restart: bring an engine that was lost back, with
    whatever weights. Every call may raise `EngineLostError`.
    """

    context: int | None

    def draw(self, units: Sequence[Sample]) -> list[Completion]: ...
    def take(self, weights: Weights, version: str) -> None: ...
    def holds(self, version: str) -> bool: ...
    def sleep(self) -> None: ...
    def wake(self) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...
    def describe(self) -> dict[str, Any]: ...
