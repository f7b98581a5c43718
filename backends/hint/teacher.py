"""A teacher model that writes hints."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from sage_bench.generation.endpoint import endpoint
from sage_bench.types import Consult


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
        self.endpoint = endpoint({"base_url": base_url, **options}, name="teacher")
        self.model, self.max_tokens, self.temperature = model, max_tokens, temperature

    def ask(
        self, messages: tuple[str, str], folder: Path | None
    ) -> Generator[list[Consult], list[Any], str | None]:
        """The teacher's answer to (system, user), or None when it could not be had (`yield from`
        it)."""
        self.endpoint.open(folder)
        system, user = messages
        chat = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        payload = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "messages": chat,
        }
        (reply,) = yield [Consult(self.endpoint, payload, purpose="hint")]
        return reply.strip() if reply else None
