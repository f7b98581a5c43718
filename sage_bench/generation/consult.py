"""A chat endpoint that judges and teachers consult.

Equal questions are asked once, replies are kept for the next run, and a call that fails for good is
a failed completion, never the end of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sage_bench.generation.endpoint import endpoint
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.openai import chat_of
from sage_bench.types import Completion, Sample


class ChatService(Sampler):
    """An endpoint with cache and ledger (`<name>_cache.jsonl`, `<name>_calls.jsonl` in the run
    folder). options: of `sage_bench.generation.endpoint.Options`, with its defaults.

    Only seeds that a request brings itself are sent: the cache knows a call by its payload, so a
    hash of a training step in it would ask everything anew in the next run.
    """

    def __init__(self, model: str, *, name: str, **options: Any):
        self.model = model
        self.endpoint = endpoint(options, name=name)

    def open(self, folder: Path | None) -> None:
        self.endpoint.open(folder)

    def render(self, messages: list[dict[str, str]]) -> str:
        return json.dumps(messages, ensure_ascii=False)

    def payload(self, sample: Sample) -> dict[str, Any]:
        """The body of one call."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sample.params.max_tokens,
            "temperature": sample.params.temperature,
            "messages": chat_of(sample.prompt),
        }
        if sample.params.top_p != 1.0:
            body["top_p"] = sample.params.top_p
        if sample.params.stop:
            body["stop"] = list(sample.params.stop)
        if sample.seed is not None:
            body["seed"] = sample.seed
        return body

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        texts = self.endpoint.answer([self.payload(s) for s in samples])
        for i, text in enumerate(texts):
            if text is None:
                yield i, Completion(failed=f"see {self.endpoint.name}_calls.jsonl")
            else:
                yield i, Completion(text=text)

    def answer(self, payloads: list[Sample]) -> list[list[Completion]]:
        if any(sample.n != 1 for sample in payloads):
            raise ValueError("a chat service is asked for one completion a request")
        return [[completion] for completion in self.complete(payloads)]

    def fingerprint(self) -> dict[str, Any]:
        return {"sampler": "chat", "weights": self.model, "body": self.endpoint.options.body}
