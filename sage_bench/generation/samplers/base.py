"""What every evaluation sampler is: render a chat, draw texts, say what decides them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.types import Sampling


@dataclass(frozen=True, slots=True)
class Ask:
    """One sample to draw: the rendered prompt, how, its seed, and texts that end it. gold: only for
    samplers with `wants_gold`."""

    prompt: str
    params: Sampling
    seed: int
    until: tuple[str, ...] = ()
    gold: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One drawn sample. finish: "stop" or "length" (truncated). Token counts are those of the
    model's tokenizer."""

    text: str
    finish: str
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A sample that could not be drawn. The others go on; it stays missing in the store, and the
    next run asks for it again."""

    reason: str


class Sampler:
    """Draws texts. A sampler of yours needs `render`, `draw` and `fingerprint`; the rest has
    defaults.

    block: samples that must be drawn together to repeat bit for bit (numerics of a batch depend on
    its shape); 1 where each
    sample stands alone: then all missing samples are handed to `draw` at once, and each is stored
    when it comes.
    context: most tokens of prompt and completion together, None where it is not known here.
    longer: what to type for a longer context, where there is such a thing.
    wants_gold: gold answers are put into the asks (a fake; nothing that is measured may see them).
    """

    block: int = 1
    context: int | None = None
    longer: str = ""
    wants_gold: bool = False

    def render(self, messages: list[dict[str, str]]) -> str:
        """The prompt of a chat, as `draw` will find it in `Ask.prompt`."""
        raise NotImplementedError

    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text | Failed]]:
        """(index, sample) as they finish, in any order."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts of a seed and prompt: weights, template, tokenizer, number
        type."""
        raise NotImplementedError

    def count(self, prompt: str) -> int | None:
        """Tokens of a rendered prompt; None where only the server knows."""
        return None

    def open(self, folder: Path) -> None:
        """Called with the run folder before anything is drawn: the place for logs."""

    def close(self) -> None:
        """Ends what the sampler started (processes, connections)."""
