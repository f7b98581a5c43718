"""Any OpenAI-compatible server: a vLLM or SGLang cluster, or somebody's API. It is how evaluation
leaves one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sage_bench.generation.endpoint import CHAT, PLAIN, Reply, endpoint
from sage_bench.generation.model_folders import load_tokenizer
from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import Ask, Failed, Sampler, Text
from sage_bench.generation.templates import chat_renderer
from sage_bench.generation.weights import short_sha
from sage_bench.utils.errors import SageBenchError, UsageError

REFUSED = {
    401: "the key is not accepted",
    403: "access is denied",
    404: "the server knows no such model or address",
}
LENGTH = {"length", "max_tokens"}


@register_sampler("openai")
class OpenAI(Sampler):
    """An OpenAI-compatible server (`--sampler-option base_url=http://host:8000/v1`). n samples are
    n calls, each with its own seed.

    options: of `sage_bench.generation.endpoint.Options` (base_url, key_env, timeout, tries,
    parallel, pause, patience, prices, body), with the defaults below. seed_bits: the seed sent is
    the sample's seed cut to so many bits (JSON numbers of some servers hold 53), 0 sends none.
    tokenizer: a folder or Hub id; the chat template is then applied here, prompts are counted, and
    `/completions` is called. Every try is a line of `openai_calls.jsonl` in the run folder.
    """

    def __init__(
        self,
        model: str,
        *,
        seed_bits: int = 53,
        tokenizer: str | None = None,
        context: int | None = None,
        chat_template: str = "auto",
        **options: Any,
    ):
        if not options.get("base_url"):
            raise UsageError(
                "a server is needed",
                where="sampler openai",
                remedy="give --sampler-option base_url=http://host:8000/v1",
            )
        self.model, self.seed_bits, self.context = model, seed_bits, context
        self.renderer = (
            chat_renderer(load_tokenizer(tokenizer), chat_template) if tokenizer else None
        )
        options = {
            "timeout": 1800.0,
            "tries": 6,
            "parallel": 64,
            **options,
        }  # a completion may take minutes, and a cluster wants work
        self.endpoint = endpoint(
            {"patience": 2 * options["parallel"], **options},
            name="openai",
            path=PLAIN if self.renderer else CHAT,
        )

    def render(self, messages: list[dict[str, str]]) -> str:
        return (
            self.renderer.chat(messages)
            if self.renderer
            else json.dumps(messages, ensure_ascii=False)
        )

    def count(self, prompt: str) -> int | None:
        return len(self.renderer.ids(prompt)) if self.renderer else None

    def open(self, folder: Path) -> None:
        self.endpoint.log_to(folder / "openai_calls.jsonl")

    def payload(self, ask: Ask) -> dict[str, Any]:
        """The body of one call."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": ask.params.max_tokens,
            "temperature": ask.params.temperature,
            "top_p": ask.params.top_p,
        }
        body |= (
            {"prompt": ask.prompt, "add_special_tokens": False}
            if self.renderer
            else {"messages": json.loads(ask.prompt)}
        )
        if self.seed_bits:
            body["seed"] = ask.seed % (1 << self.seed_bits)
        if ask.until:
            body["stop"] = list(ask.until)
        return body

    def draw(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Text | Failed]]:
        failures = 0  # in a row: a server that answers nobody is told early, not after 20,000 calls
        for i, reply in self.endpoint.stream([self.payload(a) for a in asks]):
            if isinstance(reply, Reply):
                failures = 0
                yield i, _text(reply)
                continue
            failures, why = failures + 1, f"{reply.status} {reply.said}".strip()
            if reply.code in REFUSED:
                remedy = (
                    "check base_url, --model and the environment variable"
                    f" {self.endpoint.options.key_env}"
                )
                raise UsageError(
                    f"{REFUSED[reply.code]} ({why})", where=self.endpoint.url, remedy=remedy
                )
            if failures >= self.endpoint.options.patience:
                raise SageBenchError(
                    f"{failures} calls in a row failed, the last with: {why}",
                    where=self.endpoint.url,
                    remedy=(
                        "see openai_calls.jsonl in the run folder; run the same command again when"
                        " the server is well"
                    ),
                )
            yield i, Failed(why)

    def fingerprint(self) -> dict[str, Any]:
        """The server's model by name: its weights cannot be seen from here. The address is not part
        of it; servers move."""
        template = short_sha(self.renderer.template) if self.renderer else "server"
        return {
            "sampler": "openai",
            "weights": self.model,
            "template": template,
            "seed_bits": self.seed_bits,
            "body": self.endpoint.options.body,
        }


def _text(reply: Reply) -> Text:
    """Reasoning that a server keeps apart goes before the answer in think tags; an unfinished
    thought stays unclosed, so that nobody takes it for an answer."""
    text = reply.text or ""
    if reply.thought:
        text = f"<think>\n{reply.thought}" + ("" if reply.text is None else f"\n</think>\n\n{text}")
    return Text(text, "length" if reply.finish in LENGTH else "stop", *reply.tokens)
