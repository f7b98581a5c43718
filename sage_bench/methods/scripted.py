"""An engine without a model: answers follow a script, so that what a method does with them can be
looked at. What `sage-bench check` runs methods against."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sage_bench.generation.prompts import Renderer
from sage_bench.grading.extract import last_boxed
from sage_bench.grading.verdict import Verdict
from sage_bench.methods.guard import answered
from sage_bench.types import (
    Answer,
    Completion,
    PolicyAccess,
    Request,
    Sample,
    Score,
    Scored,
    TokenIds,
)

HINTS = json.dumps({f"level_{k}": f"look at part {k}" for k in range(1, 6)})
VERDICT = json.dumps({"steps": [{"i": 1, "ok": False}], "first_error": 1, "why": "so"})


class Boxed:
    """A grader for made-up problems: right when the last box holds the gold, letter by letter."""

    version = "scripted"

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        found = [last_boxed(text) for text in texts]
        return [Verdict(f == gold, "ok", f) if f else Verdict(False, "no_answer") for f in found]

    def gold_error(self, gold: str) -> str | None:
        return None if gold else "no answer"


@dataclass
class ScriptedEngine:
    """Answers every request without weights.

    say(prompt text, number of the completion): what a rollout answers. Hints are asked for with
    purpose "hint" and get JSON of five levels, judgements a JSON verdict. Log-probabilities are
    made up from the tokens. Requests of a method's own are answered by their `answer` with what
    `access` gives. rounds: everything it was asked.
    """

    renderer: Renderer
    say: Callable[[str, int], str]
    access: Callable[[], PolicyAccess]
    rounds: list[list[Request]] = field(default_factory=list)
    capabilities: frozenset[str] = frozenset({"sample", "score", "policy"})

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        self.rounds.append(list(asks))
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Request) -> Answer:
        if isinstance(ask, Sample):
            return [self._completion(ask, k) for k in range(ask.n)]
        if isinstance(ask, Score):
            logp = made_up_logp(ask.tokens)
            return Scored(logp, -logp) if ask.entropy else logp
        return answered(type(ask), self.access(), [ask])[0]

    def _completion(self, ask: Sample, k: int) -> Completion:
        tokenizer: Any = self.renderer.tokenizer
        if ask.purpose == "rollout":
            text = self.say(tokenizer.decode(list(ask.prompt)), k)
        else:
            text = HINTS if ask.purpose == "hint" else VERDICT
        tokens = (*self.renderer.ids(text), tokenizer.eos_token_id)
        finish = "stop" if len(tokens) <= ask.params.max_tokens else "length"
        tokens = tokens[: ask.params.max_tokens]
        return Completion(tokens, made_up_logp(tokens), finish)  # type: ignore[arg-type]


def made_up_logp(tokens: TokenIds) -> Tensor:
    """Log-probabilities that differ from token to token, (T,).

    >>> made_up_logp((3, 4))
    tensor([-0.6000, -0.7000])
    """
    return torch.tensor([-(t % 17 * 0.1 + 0.3) for t in tokens])
