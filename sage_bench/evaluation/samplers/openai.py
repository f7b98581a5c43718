"""Any OpenAI-compatible server: a vLLM or SGLang cluster, or somebody's API. It is how evaluation leaves one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.errors import SageBenchError, UsageError
from sage_bench.evaluation.samplers.base import Ask, Failed, Sampler, Text
from sage_bench.evaluation.templates import chat_renderer
from sage_bench.evaluation.weights import short_sha
from sage_bench.pretrained import load_tokenizer
from sage_bench.registry import register_sampler
from sage_bench.services.chat import Failure, Reply, endpoint

REFUSED = {401: "the key is not accepted", 403: "access is denied", 404: "the server knows no such model or address"}
LENGTH = {"length", "max_tokens"}


@register_sampler("openai")
class OpenAI(Sampler):
    """An OpenAI-compatible server (`--sampler-option base_url=http://host:8000/v1`). n samples are n calls, each with its own seed.

    The key is read from the environment variable `key_env`. timeout: seconds a call may take. tries, parallel: of calls.
    seed_bits: the seed sent is the sample's seed cut to so many bits (JSON numbers of some servers hold 53), 0 sends none.
    extra: further fields of the body. tokenizer: a folder or Hub id; the chat template is then applied here, prompts are
    counted, and `/completions` is called. Every call is a line of `openai_calls.jsonl` in the run folder.
    """

    def __init__(
        self, model: str, *, base_url: str = "", key_env: str = "OPENAI_API_KEY", timeout: float = 1800.0, tries: int = 6, parallel: int = 64,
        seed_bits: int = 53, extra: Mapping[str, Any] | None = None, tokenizer: str | None = None, context: int | None = None, chat_template: str = "auto",
    ):
        if not base_url:
            raise UsageError("a server is needed", where="sampler openai", remedy="give --sampler-option base_url=http://host:8000/v1")
        self.model, self.seed_bits, self.extra, self.context = model, seed_bits, dict(extra or {}), context
        self.renderer = chat_renderer(load_tokenizer(tokenizer), chat_template) if tokenizer else None
        path = "/completions" if self.renderer else "/chat/completions"
        self.endpoint = endpoint(base_url, key_env=key_env, timeout=timeout, tries=tries, parallel=parallel, name="openai", path=path)
        self.key_env = key_env

    def render(self, messages: list[dict[str, str]]) -> str:
        return self.renderer.chat(messages) if self.renderer else json.dumps(messages, ensure_ascii=False)

    def count(self, prompt: str) -> int | None:
        return len(self.renderer.ids(prompt)) if self.renderer else None

    def open(self, folder: Path) -> None:
        self.endpoint.log_to(folder / "openai_calls.jsonl")

    def payload(self, ask: Ask) -> dict[str, Any]:
        """The body of one call."""
        body: dict[str, Any] = {"model": self.model, "max_tokens": ask.params.max_tokens, "temperature": ask.params.temperature, "top_p": ask.params.top_p}
        body |= {"prompt": ask.prompt, "add_special_tokens": False} if self.renderer else {"messages": json.loads(ask.prompt)}
        if self.seed_bits:
            body["seed"] = ask.seed % (1 << self.seed_bits)
        if ask.until:
            body["stop"] = list(ask.until)
        return body | self.extra

    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text | Failed]]:
        failures = 0  # in a row: a server that answers nobody is told early, not after 20,000 calls
        for i, reply in self.endpoint.stream([self.payload(a) for a in asks]):
            failures = failures + 1 if isinstance(reply, Failure) else 0
            if isinstance(reply, Reply):
                yield i, _text(reply)
                continue
            if reply.status in REFUSED:
                remedy = f"check base_url, --model and the environment variable {self.key_env}"
                raise UsageError(f"{REFUSED[reply.status]} ({reply.reason})", where=self.endpoint.url, remedy=remedy)
            if failures >= 2 * self.endpoint.parallel:
                raise SageBenchError(
                    f"{failures} calls in a row failed, the last with: {reply.reason}", where=self.endpoint.url,
                    remedy="see openai_calls.jsonl in the run folder; run the same command again when the server is well",
                )
            yield i, Failed(reply.reason)

    def fingerprint(self) -> dict[str, Any]:
        """The server's model by name: its weights cannot be seen from here. The address is not part of it; servers move."""
        template = short_sha(self.renderer.template) if self.renderer else "server"
        return {"sampler": "openai", "weights": self.model, "template": template, "seed_bits": self.seed_bits, "extra": self.extra}


def _text(reply: Reply) -> Text:
    """Reasoning that a server keeps apart goes before the answer in think tags; an unfinished thought stays unclosed, so that
    nobody takes it for an answer."""
    text = reply.text or ""
    if reply.thought:
        text = f"<think>\n{reply.thought}" + ("" if reply.text is None else f"\n</think>\n\n{text}")
    return Text(text, "length" if reply.finish in LENGTH else "stop", reply.prompt_tokens, reply.tokens)
