"""The same scripted answers for our runner and for lm-eval's own command line: the k-th answer to a
prompt is a function of both.

`python scripted_lm.py KEY.json run --model scripted ...` is `lm_eval run ...` with one more model.
KEY.json: question to gold.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from sage_bench.generation.samplers.base import Sampler
from sage_bench.types import Completion

KEY: dict[str, str] = {}


def render(messages: list[dict[str, str]]) -> str:
    return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


def answer(prompt: str, k: int) -> str:
    """Right about every second time, sometimes without a box."""
    gold = next((g for q, g in KEY.items() if q in prompt), "?")
    draw = hashlib.sha256(f"{prompt}|{k}".encode()).digest()[0]
    return (
        f"so \\boxed{{{gold}}}"
        if draw < 120
        else "I cannot say"
        if draw < 150
        else f"so \\boxed{{{gold}0}}"
    )


class Scripted(Sampler):
    """For our runner."""

    block = 1
    context = None
    wants_gold = False

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def render(self, messages):
        return render(messages)

    def draw(self, asks):
        for i, ask in enumerate(asks):
            text = answer(ask.prompt, self.seen[ask.prompt])
            yield i, Completion(text=text, prompt_tokens=1, counted=1)
            self.seen[ask.prompt] += 1

    def fingerprint(self):
        return {"scripted": 1}

    def count(self, prompt):
        return None

    def open(self, folder):
        return None

    def close(self):
        return None


@register_model("scripted")
class ScriptedLM(LM):
    """For lm-eval itself."""

    def __init__(self, **_):
        super().__init__()
        self.seen: Counter[str] = Counter()

    @classmethod
    def create_from_arg_obj(cls, arg_dict, additional_config=None):
        return cls()

    tokenizer_name = "scripted"

    def chat_template(self, chat_template=False):
        return "scripted"

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        return render(chat_history)

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def generate_until(self, requests, disable_tqdm=False):
        out = []
        for r in requests:
            out.append(answer(r.args[0], self.seen[r.args[0]]))
            self.seen[r.args[0]] += 1
        return out


if __name__ == "__main__":
    KEY.update(json.loads(Path(sys.argv.pop(1)).read_text()))
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
