"""A policy that follows a script: for tests of control flow, where a model would only blur what is
asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch

from sage_bench.backends.oar.saliency import Saliency
from sage_bench.generation.prompts import Renderer
from sage_bench.grading import Verdict
from sage_bench.methods.base import Context
from sage_bench.types import Answer, Completion, Problem, Request, Sample, Sampling, Score

CUT = "[cut]"  # at the end of what is said: the completion was cut at its longest
HINTS = json.dumps({"level_1": "weak", "level_2": "medium", "level_3": "strong"})


class EqualText:
    """Grader: right when the text is the gold."""

    version = "test"

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(t == gold, "ok", t) for t in texts]

    def gold_error(self, gold: str) -> str | None:
        return None


class ScriptedEngine:
    """Answers `Sample` with say(prompt text, k); keeps every round it was asked."""

    capabilities = frozenset({"sample", "score", "saliency"})

    def __init__(self, tokenizer, say: Callable[[str, int], str]):
        self.tokenizer, self.say = tokenizer, say
        self.rounds: list[list[Request]] = []

    def any(self, flag: bool) -> bool:
        return flag

    def run(self, asks: list[Request]) -> list[Answer]:
        self.rounds.append(list(asks))
        return [self._answer(a) for a in asks]

    def _answer(self, ask: Request) -> Answer:
        if isinstance(ask, Score):
            return torch.zeros(len(ask.tokens))
        if isinstance(ask, Saliency):
            return torch.arange(len(ask.tokens), dtype=torch.float32)  # later tokens matter more
        assert isinstance(ask, Sample)
        prompt = self.tokenizer.decode(list(ask.prompt))
        out = []
        for k in range(ask.n):
            text = self.say(prompt, k)
            cut = text.endswith(CUT)
            ids = tuple(
                self.tokenizer(text.removesuffix(CUT), add_special_tokens=False)["input_ids"]
            )
            if not cut:
                ids += (self.tokenizer.eos_token_id,)
            finish = "length" if cut else "stop"
            out.append(Completion(ids, torch.full((len(ids),), -0.5), finish))
        return out


def context(renderer: Renderer, **changes) -> Context:
    return Context(
        renderer,
        EqualText(),
        Sampling(1.0, 1.0, 32),
        **{"hint_max_tokens": 64, "max_prompt_tokens": 500, **changes},
    )


def problem(
    uid: str = "p",
    question: str = "1+1",
    answer: str = "42",
    solution: str | None = "because",
    **extra,
) -> Problem:
    return Problem(uid, question, solution, answer, extra)
