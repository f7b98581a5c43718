"""How a chat becomes the text a model reads: the tokenizer's template, one from a file, or plain
text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.generation.prompts import Renderer
from sage_bench.utils.errors import ModelError, UsageError

PLAIN = "plain text: messages joined by an empty line"


class PlainRenderer(Renderer):
    """For base models: the messages one under the other, no roles, no special tokens."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.template_options = {}

    @property
    def template(self) -> str:
        return PLAIN

    def chat(self, messages: list[dict[str, str]]) -> str:
        return "\n\n".join(m["content"] for m in messages if m["content"]) + "\n"


def chat_renderer(
    tokenizer: Any, chat_template: str = "auto", options: Mapping[str, Any] | None = None
) -> Renderer:
    """A renderer of chats.

    chat_template: "auto" (the tokenizer's own, `ModelError` without one), "none" (plain text), or a
    path of a Jinja file (`UsageError` where there is none). options: variables of the template,
    e.g. enable_thinking.

    A missing template is never passed over: an instruct model asked in plain text scores far below
    what it can do.
    """
    if chat_template == "none":
        return PlainRenderer(tokenizer)
    if chat_template != "auto":
        if not Path(chat_template).is_file():
            raise UsageError(
                "no such chat template",
                where=chat_template,
                remedy="give auto, none, or the path of a Jinja file",
            )
        tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8")
    elif not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "the tokenizer has no chat template",
            where=str(getattr(tokenizer, "name_or_path", "tokenizer")),
            remedy=(
                "use an instruct model, give `--chat-template FILE`, or `--chat-template none` for"
                " a base model"
            ),
        )
    return Renderer(tokenizer, template_options=dict(options or {}))
