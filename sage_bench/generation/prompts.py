"""Every text that is put before a model, in one place, and the rendering of chats to token ids.

The answering prompts are those of SAGE's protocol (spec 1.3): they are what makes numbers
comparable. The prompt that
asks for hints is worded by us and keeps the contract of the paper: three progressive levels, JSON,
never the answer. All of them can be replaced from a YAML file (`prompts: my_prompts.yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sage_bench.types import TokenIds
from sage_bench.utils.errors import ModelError, UsageError, did_you_mean

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."

HINT_SYSTEM = """\
You are a tutor. You get a question and its solution, and write hints on three levels for a student who is stuck.
Level 1 names the key idea only. Level 2 shows the way to start. Level 3 leads through most of the way and leaves the \
end to the student.
Each level builds on the one before. Never state the final answer. Reply with one JSON object and nothing else:
{"level_1": "...", "level_2": "...", "level_3": "..."}"""

JUDGE_SYSTEM = """\
You grade the steps of a solution to a mathematical question. You get the question, a reference solution, and a student's \
response cut into numbered steps. Go through the steps in order and find the first one that is wrong.
A step is wrong when it computes wrongly, infers what does not follow, misreads the question or contradicts itself. It is \
not wrong because it takes another valid route, repeats something, is badly written, or tries something it later takes back.
An unfinished response without a wrong step has no wrong step. You need not solve the question yourself.
Reply with one JSON object and nothing else:
{"steps": [{"i": 1, "ok": true}], "first_error": null, "why": "..."}
first_error is the number of the first wrong step, or null; why says in one sentence how it leads to the wrong answer."""

META_HINT_SYSTEM = """\
You are a teacher. You get a question and its solution. Write one hint of at most three sentences that names the concept, the \
strategy or the pitfall that matters. Use no number and no expression that is not in the question, no intermediate result, \
and never the answer. Reply with the hint and nothing else."""

HintLead = Literal["paper", "code", "hint", "scaf"]
HintPosition = Literal["user_end", "system"]
HINT_LEAD = "Here is a hint to help you:"
HINTED_USER: dict[HintLead, str] = {
    "paper": f"{{question}}\n{HINT_LEAD}\n{{hint}}",  # SAGE appendix B
    "code": f"Question:\n{{question}}\n\n{HINT_LEAD}\n{{hint}}",  # BaohaoLiao/SAGE @8722c1a
    "hint": (  # HINT, code at HEAD
        "{question}\nHere are some key pieces of information to assist your reasoning without"
        " revealing the solution directly:\n{hint}"
    ),
    "scaf": "Question: {question}\n{hint}",  # Scaf-GRPO: the hint carries its own label
}


class Prompts(BaseModel):
    """Texts with the placeholders {question}, {hint}, {solution}; replaced literally, so that LaTeX
    braces are safe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = Field(
        SYSTEM, description="system message of every answer, with and without a hint"
    )
    question: str = Field("{question}", description="user message without a hint")
    hinted: str | None = Field(
        None, description="user message with a hint; null = the method's `hint_lead`"
    )
    hint_system: str = Field(HINT_SYSTEM, description="system message when the policy writes hints")
    hint_user: str = Field(
        "Question:\n{question}\n\nSolution:\n{solution}",
        description="user message when the policy writes hints",
    )
    meta_hint_system: str = Field(
        META_HINT_SYSTEM, description="system message when one abstract hint is asked for (HINT)"
    )
    judge_system: str = Field(JUDGE_SYSTEM, description="system message of the step judge (SGPO)")
    judge_user: str = Field(
        "Question:\n{question}\n\nReference solution:\n{solution}\n\nResponse:\n{steps}",
        description="user message of the step judge; {steps} are numbered lines",
    )

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
            return cls.model_validate(raw)
        except ValidationError as error:
            key = ".".join(str(p) for p in error.errors()[0]["loc"])
            raise UsageError(
                f"{error.errors()[0]['msg']} {did_you_mean(key, cls.model_fields)}",
                where=f"{path}:{key}",
                remedy="keys: " + ", ".join(cls.model_fields),
            ) from error


def fill(template: str, **values: str) -> str:
    """Replace {name} by its value, and nothing else.

    >>> fill("{question} in \\\\boxed{}", question="1+1")
    '1+1 in \\\\boxed{}'
    """
    pattern = "|".join(
        re.escape("{" + name + "}") for name in values
    )  # one pass: a value may itself contain "{hint}"
    return re.sub(pattern, lambda m: values[m[0][1:-1]], template)


class Messages:
    """What is said to a model, as (system, user) pairs: all a service needs that renders chats
    itself."""

    def __init__(self, prompts: Prompts | None = None):
        self.prompts = prompts or Prompts()

    def answer_user(
        self,
        question: str,
        hint: str | None = None,
        *,
        lead: HintLead = "paper",
        position: HintPosition = "user_end",
    ) -> tuple[str, str]:
        """(system, user) messages that ask for an answer; the hint stands at the end of the user
        turn unless told otherwise."""
        p, question = self.prompts, question.strip()
        if not hint:
            return p.system, fill(p.question, question=question)
        if position == "system":
            return f"{p.system}\n{HINT_LEAD}\n{hint}", fill(p.question, question=question)
        return p.system, fill(p.hinted or HINTED_USER[lead], question=question, hint=hint)

    def hint_user(self, question: str, solution: str) -> tuple[str, str]:
        """(system, user) messages that ask for hints on three levels."""
        return self.prompts.hint_system, fill(
            self.prompts.hint_user, question=question.strip(), solution=solution.strip()
        )

    def meta_hint_user(self, question: str, solution: str) -> tuple[str, str]:
        """(system, user) messages that ask for one abstract hint."""
        return self.prompts.meta_hint_system, fill(
            self.prompts.hint_user, question=question.strip(), solution=solution.strip()
        )

    def judge_messages(
        self, question: str, reference: str, steps: Sequence[str]
    ) -> tuple[str, str]:
        """(system, user) messages that ask for the first wrong step."""
        numbered = "\n".join(f"[{i}] {step}" for i, step in enumerate(steps, 1))
        return self.prompts.judge_system, fill(
            self.prompts.judge_user,
            question=question.strip(),
            solution=reference.strip(),
            steps=numbered,
        )


class Renderer(Messages):
    """Chats to token ids with the tokenizer's own template.

    tokenizer: any transformers tokenizer with a chat template; `ModelError` when it has none. The
    rendered text is tokenised without adding special tokens again (a second BOS changed published
    Llama scores, SAGE spec 5).
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
        self.tokenizer, self.template_options = tokenizer, template_options or {}

    @property
    def template(self) -> str:
        """What decides the rendering, for fingerprints."""
        return self.tokenizer.chat_template

    def text(self, system: str, user: str) -> str:
        """The chat up to where the assistant begins to speak."""
        return self.chat(
            ([{"role": "system", "content": system}] if system else [])
            + [{"role": "user", "content": user}]
        )

    def chat(self, messages: list[dict[str, str]]) -> str:
        return self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **self.template_options
        )

    def ids(self, text: str) -> TokenIds:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer(
        self,
        question: str,
        hint: str | None = None,
        *,
        lead: HintLead = "paper",
        position: HintPosition = "user_end",
    ) -> TokenIds:
        """Token ids that ask for an answer, (P,)."""
        return self.ids(self.text(*self.answer_user(question, hint, lead=lead, position=position)))

    def hint(self, question: str, solution: str) -> TokenIds:
        """Token ids that ask for hints on three levels, (P,)."""
        return self.ids(self.text(*self.hint_user(question, solution)))
