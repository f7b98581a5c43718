"""Any OpenAI-compatible server: a vLLM or SGLang cluster, or somebody's API. It is how evaluation
leaves one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sage_bench.generation.endpoint import CHAT, PLAIN, Failure, endpoint
from sage_bench.generation.endpoint.options import check_names
from sage_bench.generation.model_folders import load_tokenizer, template_options_of
from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.templates import chat_renderer
from sage_bench.generation.weights import short_sha
from sage_bench.types import Completion, Prompt, Sample, TokenIds
from sage_bench.utils.errors import SageBenchError, UsageError

REFUSED = {
    401: "the key is not accepted",
    403: "access is denied",
    404: "the server knows no such model or address",
}


EXAMPLE = "--sampler-option base_url=http://host:8000/v1"
OWN_OPTIONS = (
    "seed_bits",
    "tokenizer",
    "context",
    "chat_template",
    "template",
    "trust_remote_code",
)


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
        template: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ):
        check_names(options, "sampler openai", OWN_OPTIONS, EXAMPLE)
        if not options.get("base_url"):
            raise UsageError(
                "a server is needed",
                where="sampler openai",
                remedy=f"give {EXAMPLE}",
            )
        self.model = model
        self.seed_bits = seed_bits
        self.context = context
        self.renderer = None
        if tokenizer:
            loaded = load_tokenizer(tokenizer, trust_remote_code=trust_remote_code)
            chosen = template_options_of(tokenizer, template)
            self.renderer = chat_renderer(loaded, chat_template, chosen)
        # a completion may take minutes, and a cluster wants work
        options = {"timeout": 1800.0, "tries": 6, "parallel": 64, **options}
        self.endpoint = endpoint(
            {"patience": 2 * options["parallel"], **options},
            name="openai",
            path=PLAIN if self.renderer else CHAT,
        )

    def render(self, messages: list[dict[str, str]]) -> str:
        if self.renderer:
            return self.renderer.chat(messages)
        return json.dumps(messages, ensure_ascii=False)

    def ids(self, prompt: Prompt) -> TokenIds | None:
        if isinstance(prompt, str):
            return self.renderer.ids(prompt) if self.renderer else None
        return prompt

    def open(self, folder: Path) -> None:
        self.endpoint.log_to(folder / "openai_calls.jsonl")

    def payload(self, sample: Sample) -> dict[str, Any]:
        """The body of one call."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sample.params.max_tokens,
            "temperature": sample.params.temperature,
            "top_p": sample.params.top_p,
        }
        if self.renderer:
            prompt = sample.prompt
            body["prompt"] = prompt if isinstance(prompt, str) else list(prompt)
            body["add_special_tokens"] = False
        else:
            body["messages"] = chat_of(sample.prompt)
        if self.seed_bits and sample.seed is not None:
            body["seed"] = sample.seed % (1 << self.seed_bits)
        if sample.params.stop:
            body["stop"] = list(sample.params.stop)
        return body

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        failures = 0  # in a row: a server that answers nobody is told early, not after 20,000 calls
        answered = False
        for i, reply in self.endpoint.stream([self.payload(s) for s in samples]):
            if isinstance(reply, Completion):
                failures = 0
                answered = True
                yield i, with_thought(reply)
                continue
            failures += 1
            nobody = not answered and failures == len(samples)
            yield i, Completion(failed=self._failed(reply, failures, nobody=nobody))

    def _failed(self, failure: Failure, in_a_row: int, *, nobody: bool) -> str:
        """Why one sample could not be drawn. Raises when no other will be drawn either. nobody: not
        a single call was answered, and this was the last."""
        reason = f"{failure.status} {failure.explanation}".strip()
        options = self.endpoint.options
        if failure.code in REFUSED:
            raise UsageError(
                f"{REFUSED[failure.code]} ({reason})",
                where=self.endpoint.url,
                remedy=(f"check base_url, --model and the environment variable {options.key_env}"),
            )
        if in_a_row >= options.patience or nobody:
            raise SageBenchError(
                f"{in_a_row} calls in a row failed, the last with: {reason}",
                where=self.endpoint.url,
                remedy=(
                    "see openai_calls.jsonl in the run folder; run the same command again when"
                    " the server is well"
                ),
            )
        return reason

    def fingerprint(self) -> dict[str, Any]:
        """The server's model by name: its weights cannot be seen from here. The address is not part
        of it; servers move."""
        found = {
            "sampler": "openai",
            "weights": self.model,
            "template": short_sha(self.renderer.template) if self.renderer else "server",
            "seed_bits": self.seed_bits,
            "body": self.endpoint.options.body,
        }
        if self.renderer and self.renderer.template_options:
            found["template_options"] = self.renderer.template_options
        return found


def chat_of(prompt: Prompt) -> list[dict[str, str]]:
    """The messages in a prompt that `OpenAI.render` made without a tokenizer."""
    if not isinstance(prompt, str):
        raise UsageError(
            "a chat server takes messages, not token ids",
            where="sampler openai",
            remedy="give the sampler option tokenizer=FOLDER, so that `/completions` is called",
        )
    messages: list[dict[str, str]] = json.loads(prompt)
    return messages


def with_thought(reply: Completion) -> Completion:
    """Reasoning that a server keeps apart goes before the answer in think tags; an unfinished
    thought stays unclosed, so that nobody takes it for an answer.

    >>> with_thought(Completion(text="7", thought="3+4")).text
    '<think>\\n3+4\\n</think>\\n\\n7'
    >>> with_thought(Completion(thought="3+")).text
    '<think>\\n3+'
    """
    if not reply.thought:
        return replace(reply, text=reply.text or "")
    thought = f"<think>\n{reply.thought}"
    if reply.text is None:
        return replace(reply, text=thought)
    return replace(reply, text=f"{thought}\n</think>\n\n{reply.text}")
