r"""A model that does not exist: right with probability P, for trying out tables, stores and graders
without weights.

A sample is a pure function of its seed, which is a hash of (base seed, task, question, sample).
Right samples box the gold answer; of the wrong ones a tenth are cut off before an answer and a
tenth end without one, so that those columns show too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sage_bench.generation.registry import register_sampler
from sage_bench.generation.samplers.base import Sampler
from sage_bench.types import Completion, Finish, Sample
from sage_bench.utils.errors import UsageError
from sage_bench.utils.seeds import derive_seed

PREFIX = "fake:"
CUT, SILENT = 0.1, 0.1  # shares of the wrong samples


def unit(*key: int | str) -> float:
    """A number in [0, 1) from a key.

    >>> 0 <= unit(7, "right") < 1 and unit(7, "right") == unit(7, "right") != unit(8, "right")
    True
    """
    return derive_seed(*key) / 2**63


def wrong_answer(gold: str, seed: int) -> str:
    """An answer of the gold's kind that is not it: another letter, another whole number, or a
    number no gold here is.

    >>> wrong_answer("B", 1) in "ACD", wrong_answer("12", 1) != "12"
    (True, True)
    >>> wrong_answer(r"\\frac{1}{2}", 1)
    '1000003'
    """
    gold = gold.strip().strip("$")
    if re.fullmatch(r"[A-Z]", gold):
        return [c for c in "ABCD" if c != gold][derive_seed(seed, "wrong") % 3]
    if re.fullmatch(r"[+-]?\d+", gold):
        return str(int(gold) + 1 + derive_seed(seed, "wrong") % 9)
    return "1000003"


@register_sampler("fake")
class Fake(Sampler):
    """No model: answers right with the probability its name gives, `fake:0.6`."""

    wants_gold = True

    def __init__(self, model: str = "fake:0.5"):
        self.golds: dict[tuple[str | int, ...], str] = {}
        word = model.removeprefix(PREFIX)
        try:
            self.accuracy = float(word)
        except ValueError:
            self.accuracy = -1.0
        if not 0 <= self.accuracy <= 1:
            raise UsageError(
                f"`{model}` gives no accuracy",
                where="--model",
                remedy="write fake:P with P from 0 to 1, e.g. fake:0.6",
            )

    def render(self, messages: list[dict[str, str]]) -> str:
        return json.dumps(messages, ensure_ascii=False)

    def know(self, key: tuple[str | int, ...], gold: str) -> None:
        self.golds[key] = gold

    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        for i, sample in enumerate(samples):
            yield i, self._one(sample)

    def _one(self, sample: Sample) -> Completion:
        seed = sample.seed or 0
        gold = self.golds.get(sample.key, "")
        work = "Let me think about it. " * (1 + derive_seed(seed, "length") % 8)
        kind = unit(seed, "kind")
        finish: Finish = "stop"
        if unit(seed, "right") < self.accuracy:
            text = f"{work}So the answer is \\boxed{{{gold}}}."
        elif kind < CUT:
            text, finish = f"{work}So the answer", "length"
        elif kind < CUT + SILENT:
            text = f"{work}I do not know."
        else:
            text = f"{work}So the answer is \\boxed{{{wrong_answer(gold, seed)}}}."
        words = len(str(sample.prompt).split())
        return Completion(text=text, finish=finish, prompt_tokens=words, counted=len(text.split()))

    def fingerprint(self) -> dict[str, Any]:
        return {"sampler": "fake", "accuracy": self.accuracy}
