"""A teacher model that writes hints."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from sage_bench.generation.consult import ChatService
from sage_bench.types import Consult, Sample, Sampling


class Teacher:
    """One question, one text, from an OpenAI-compatible endpoint (options:
    `sage_bench.generation.endpoint.Options`)."""

    def __init__(
        self,
        base_url: str,
        model: str,
        max_tokens: int = 256,
        temperature: float = 0.6,
        **options: Any,
    ):
        self.sampler = ChatService(model, name="teacher", base_url=base_url, **options)
        self.params = Sampling(temperature, 1.0, max_tokens)

    def ask(
        self, messages: tuple[str, str], folder: Path | None
    ) -> Generator[list[Consult], list[Any], str | None]:
        """The teacher's answer to (system, user), or None when it could not be had (`yield from`
        it)."""
        self.sampler.open(folder)
        system, user = messages
        prompt = self.sampler.render(
            [{"role": "system", "content": system}, {"role": "user", "content": user}]
        )
        ask = Sample(prompt, 1, self.params, purpose="hint")
        ((reply,),) = yield [Consult(self.sampler, ask, purpose="hint")]
        return reply.text.strip() if reply.text else None
