"""The prompts that ask for an answer, the table of all other texts that are put before a model, and
the rendering of chats to token ids.

The answering prompts are those of SAGE's protocol (docs/design/sage.md 1.3): they are what makes
numbers comparable. Whoever asks a model for something else (a backend that writes hints, a judge)
brings its texts with `register_prompt`. All of them can be replaced from a YAML file
(`prompts: my_prompts.yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from sage_bench.generation.chat import pin_date, render_chat
from sage_bench.types import TokenIds
from sage_bench.utils.errors import ModelError, SageBenchError, UsageError, did_you_mean

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
HINT_LEAD = "Here is a hint to help you:"
HINTED = f"{{question}}\n{HINT_LEAD}\n{{hint}}"  # SAGE appendix B


# ---- texts that others bring --------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PromptText:
    """A text with placeholders in braces, and what it is for."""

    text: str
    about: str


TEXTS: dict[str, PromptText] = {}
WORDINGS: dict[str, str] = {"paper": HINTED}


def register_prompt(key: str, text: str, about: str) -> str:
    """Add a text under a key of the prompts file, and return the key. Placeholders are words in
    braces (`{question}`). Raises `SageBenchError` when the key stands for another text already.

    >>> register_prompt("doubt_user", "Check this: {steps}", "user message of a doubter")
    'doubt_user'
    >>> Messages(Prompts.of({"doubt_user": "Wrong? {steps}"})).fill("doubt_user", steps="1+1=3")
    'Wrong? 1+1=3'
    """
    known = TEXTS.get(key)
    if key in Prompts.model_fields or (known is not None and known.text != text):
        raise SageBenchError(
            f"the prompt key `{key}` stands for another text", remedy="choose another key"
        )
    TEXTS[key] = PromptText(text, about)
    return key


def register_wording(name: str, text: str) -> str:
    """Add a wording of the user turn that carries a hint, with the placeholders {question} and
    {hint}, and return its name. Raises `SageBenchError` when the name stands for another wording.
    """
    if WORDINGS.get(name, text) != text:
        raise SageBenchError(
            f"the wording `{name}` of hinted prompts exists", remedy="choose another name"
        )
    WORDINGS[name] = text
    return name


@dataclass(frozen=True, slots=True)
class OneOf:
    """Type annotation of a switch whose value is a name of a table that others add to."""

    what: str
    names: Callable[[], Iterable[str]]

    def check(self, name: str) -> str:
        known = sorted(self.names())
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            raise ValueError(f"unknown {self.what} `{name}`; {hint}")
        return name

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


HintLead: TypeAlias = Annotated[str, OneOf("wording", lambda: WORDINGS)]
HintPosition = Literal["user_end", "system"]


# ---- what a run uses ----------------------------------------------------------------------------
class Prompts(BaseModel):
    """The texts of a run: the answering prompts, and what replaces registered texts. Placeholders
    are replaced literally, so that LaTeX braces are safe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field(
        SYSTEM, description="system message of every answer, with and without a hint"
    )
    question: str = Field("{question}", description="user message without a hint")
    hinted: str | None = Field(
        None, description="user message with a hint; null = the method's `hint_lead`"
    )
    _replaced: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def keys(cls) -> list[str]:
        """What a prompts file may set: the answering prompts and everything registered."""
        return [*cls.model_fields, *sorted(TEXTS)]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Prompts:
        """Prompts from one flat mapping of keys to texts. Raises pydantic's `ValidationError`."""
        registered = {key: text for key, text in values.items() if key in TEXTS}
        prompts = cls.model_validate({k: text for k, text in values.items() if k not in TEXTS})
        prompts._replaced = TypeAdapter(dict[str, str]).validate_python(registered)
        return prompts

    @classmethod
    def from_file(cls, path: str | Path) -> Prompts:
        """Read a YAML file. Raises `UsageError` naming file and key."""
        try:
            raw = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(
                f"cannot be read: {error}", where=str(path), remedy="give a YAML file of prompts"
            ) from error
        try:
            return cls.of(raw)
        except ValidationError as error:
            key = ".".join(str(p) for p in error.errors()[0]["loc"])
            raise UsageError(
                f"{error.errors()[0]['msg']} {did_you_mean(key, cls.keys())}",
                where=f"{path}:{key}",
                remedy="keys: " + ", ".join(cls.keys()),
            ) from error

    def text(self, key: str) -> str:
        """A registered text, or what the prompts file puts in its place."""
        if key in self._replaced:
            return self._replaced[key]
        if key not in TEXTS:
            raise SageBenchError(
                f"no prompt is registered as `{key}`", remedy="`register_prompt` it before use"
            )
        return TEXTS[key].text


def fill(template: str, **values: str) -> str:
    """Replace {name} by its value, and nothing else.

    >>> fill("{question} in \\\\boxed{}", question="1+1")
    '1+1 in \\\\boxed{}'
    """
    # one pass: a value may itself contain "{hint}"
    pattern = "|".join(re.escape("{" + name + "}") for name in values)
    return re.sub(pattern, lambda m: values[m[0][1:-1]], template) if values else template


class Messages:
    """What is said to a model, as (system, user) pairs: all a service needs that renders chats
    itself."""

    def __init__(self, prompts: Prompts | None = None):
        self.prompts = prompts or Prompts.of({})

    def answer_user(
        self,
        question: str,
        hint: str | None = None,
        *,
        lead: str = "paper",
        position: HintPosition = "user_end",
        system: str | None = None,
    ) -> tuple[str, str]:
        """(system, user) messages that ask for an answer; the hint stands at the end of the user
        turn unless told otherwise. system: instead of the run's system message."""
        p, question = self.prompts, question.strip()
        system = p.system if system is None else system
        if not hint:
            return system, fill(p.question, question=question)
        if position == "system":
            return f"{system}\n{HINT_LEAD}\n{hint}", fill(p.question, question=question)
        return system, fill(p.hinted or WORDINGS[lead], question=question, hint=hint)

    def fill(self, key: str, **values: str) -> str:
        """A registered text with its placeholders filled in."""
        return fill(self.prompts.text(key), **values)


class Renderer(Messages):
    """Chats to token ids with the tokenizer's own template.

    tokenizer: any transformers tokenizer with a chat template; `ModelError` when it has none. The
    rendered text is tokenised without adding special tokens again (a second BOS changed published
    Llama scores, docs/design/sage.md 5).
    """

    def __init__(
        self,
        tokenizer: Any,
        prompts: Prompts | None = None,
        *,
        template_options: dict[str, Any] | None = None,
    ):
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the tokenizer has no chat template",
                where=str(getattr(tokenizer, "name_or_path", "tokenizer")),
                remedy=(
                    "use an instruct model, or put a `chat_template.jinja` beside its tokenizer"
                    " files"
                ),
            )
        super().__init__(prompts)
        self.tokenizer = tokenizer
        self.template_options = pin_date(str(tokenizer.chat_template), template_options)

    @property
    def template(self) -> str:
        """What decides the rendering, for fingerprints."""
        return str(self.tokenizer.chat_template)

    def text(self, system: str, user: str) -> str:
        """The chat up to where the assistant begins to speak."""
        messages = [{"role": "system", "content": system}] if system else []
        return self.chat([*messages, {"role": "user", "content": user}])

    def chat(self, messages: list[dict[str, str]]) -> str:
        return render_chat(self.tokenizer, messages, self.template_options)

    def ids(self, text: str) -> TokenIds:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer(
        self,
        question: str,
        hint: str | None = None,
        *,
        lead: str = "paper",
        position: HintPosition = "user_end",
        system: str | None = None,
        prefix: str = "",
    ) -> TokenIds:
        """Token ids that ask for an answer, (P,). prefix: text the answer begins with, put behind
        the assistant's header; it is part of the prompt, so no completion repeats it."""
        system, user = self.answer_user(question, hint, lead=lead, position=position, system=system)
        return self.ids(self.text(system, user) + prefix)
