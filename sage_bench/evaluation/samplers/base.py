"""The protocol of evaluation samplers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sage_bench.rollout import Sampling


@dataclass(frozen=True, slots=True)
class Ask:
    """One sample to draw: the rendered prompt, how, its seed, and texts that end it."""

    prompt: str
    params: Sampling
    seed: int
    until: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """One drawn sample. finish: "stop" or "length" (truncated). Token counts are those of the model's tokenizer."""

    text: str
    finish: str
    prompt_tokens: int
    tokens: int


class Sampler(Protocol):
    """Draws texts.

    block: samples that must be drawn together to repeat bit for bit (numerics of a batch depend on its shape); 1 where each
    sample stands alone. draw yields (index, text) as samples finish, in any order.
    """

    block: int

    def render(self, messages: list[dict[str, str]]) -> str: ...
    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text]]: ...
    def fingerprint(self) -> dict[str, Any]: ...
