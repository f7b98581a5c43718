"""lm-eval's model interface over our samplers and the store: only what is missing is generated."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from sage_bench.evaluation.samplers.base import Ask, Sampler, Text
from sage_bench.evaluation.store import Key, SampleStore
from sage_bench.rollout import Sampling
from sage_bench.seeds import derive_seed

SAMPLES_PER_BLOCK = 4  # a block is whole questions x this many consecutive samples, whatever n is


@dataclass(frozen=True, slots=True)
class Wanted:
    """One sample a task asks for."""

    task: str
    doc_id: int
    sample: int
    prompt_hash: str
    ask: Ask

    @property
    def key(self) -> Key:
        return (self.doc_id, self.sample, self.prompt_hash)


def sampling_of(kwargs: dict[str, Any]) -> tuple[Sampling, tuple[str, ...]]:
    """lm-eval's generation_kwargs, read strictly: nothing is sampled greedily or cut by a default nobody wrote.

    >>> sampling_of({"until": [], "do_sample": True, "temperature": 0.6, "top_p": 0.95, "max_gen_toks": 8192})
    (Sampling(temperature=0.6, top_p=0.95, max_tokens=8192, stop=()), ())
    """
    if "max_gen_toks" not in kwargs or "temperature" not in kwargs:
        raise ValueError(f"generation_kwargs must give max_gen_toks and temperature, got {sorted(kwargs)}")
    temperature = float(kwargs["temperature"]) if kwargs.get("do_sample", True) else 0.0
    until = kwargs.get("until") or []
    return Sampling(temperature, float(kwargs.get("top_p", 1.0)), int(kwargs["max_gen_toks"])), tuple([until] if isinstance(until, str) else until)


class StoreLM(LM):
    """An `LM` that answers from the store and lets a sampler draw the rest.

    lm-eval hands the same `Instance` object `repeats` times: the clones are numbered, and number i gets its own seed,
    derived from (seed, task, doc_id, i). on_progress(done, total) counts samples of all tasks.
    """

    def __init__(self, sampler: Sampler, folder: Path, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None):
        super().__init__()
        self.sampler, self.folder, self.seed, self.on_progress = sampler, folder, seed, on_progress
        self.stores: dict[str, SampleStore] = {}
        self.generated = 0

    @property
    def tokenizer_name(self) -> str:
        return type(self.sampler).__name__

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "tokenizer"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.sampler.render(chat_history)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:
        raise NotImplementedError("our benchmarks generate; log-likelihood tasks need lm-eval's own models")

    loglikelihood_rolling = loglikelihood

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        wanted = self._wanted(requests)
        for task in dict.fromkeys(w.task for w in wanted):
            self.stores.setdefault(task, SampleStore(self.folder, task))
        total, done = len(wanted), sum(w.key in self.stores[w.task] for w in wanted)
        self._tell(done, total)
        for block in self._blocks(wanted):
            missing = [w for w in block if w.key not in self.stores[w.task]]
            if missing:
                self._draw(block if self.sampler.block > 1 else missing)
                done += len(missing)
                self.generated += len(missing)
                self._tell(done, total)
        for store in self.stores.values():
            store.close()
        return [self.stores[w.task].rows[w.key]["text"] for w in wanted]

    def _wanted(self, requests: Sequence[Instance]) -> list[Wanted]:
        count: dict[int, int] = defaultdict(int)
        out = []
        for r in requests:
            sample = count[id(r)]
            count[id(r)] += 1
            prompt, kwargs = r.args
            params, until = sampling_of(kwargs)
            digest = hashlib.sha256((prompt + json.dumps(kwargs, sort_keys=True)).encode()).hexdigest()[:16]
            out.append(Wanted(r.task_name, r.doc_id, sample, digest, Ask(prompt, params, derive_seed(self.seed, r.task_name, r.doc_id, sample), until)))
        return out

    def _blocks(self, wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
        """Fixed blocks of samples: what is drawn together depends on (task, question, sample) alone, not on what is missing."""
        questions = max(1, self.sampler.block // SAMPLES_PER_BLOCK)
        blocks: dict[tuple[str, int, int], list[Wanted]] = defaultdict(list)
        for w in wanted:
            blocks[w.task, w.doc_id // questions, w.sample // SAMPLES_PER_BLOCK].append(w)
        yield from blocks.values()

    def _draw(self, block: Sequence[Wanted]) -> None:
        rows = [self._row(block[i], text) for i, text in self.sampler.draw([w.ask for w in block])]
        for task in dict.fromkeys(w.task for w in block):
            self.stores[task].append(sorted((r for r in rows if r["task"] == task), key=lambda r: (r["doc_id"], r["sample"])))

    def _row(self, w: Wanted, text: Text) -> dict[str, Any]:
        return {
            "task": w.task, "doc_id": w.doc_id, "sample": w.sample, "seed": w.ask.seed, "prompt_hash": w.prompt_hash, "text": text.text,
            "finish": text.finish, "prompt_tokens": text.prompt_tokens, "tokens": text.tokens, "time": round(time.time(), 3),
        }

    def _tell(self, done: int, total: int) -> None:
        if self.on_progress:
            self.on_progress(done, total)
