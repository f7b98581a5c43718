"""lm-eval's model interface over our samplers and the store: only what is missing is generated."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from sage_bench.data.schema import SampleRow
from sage_bench.evaluation.store import Key, SampleStore
from sage_bench.generation.samplers.base import Sampler
from sage_bench.types import Completion, Prompt, Sample, Sampling
from sage_bench.utils.errors import PartialError, UsageError
from sage_bench.utils.seeds import derive_seed

SAMPLES_PER_BLOCK = 4  # a block is whole questions x this many consecutive samples, whatever n is
TELL_EVERY = 0.2  # seconds between two words on progress


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the store, and the request that fills it."""

    task: str
    key: Key
    seed: int
    request: Sample


def sampling_of(kwargs: dict[str, Any]) -> Sampling:
    """lm-eval's generation_kwargs, read strictly: nothing is sampled greedily or cut by a default
    nobody wrote.

    >>> sampling_of({"until": [], "temperature": 0.6, "top_p": 0.95, "max_gen_toks": 8192})
    Sampling(temperature=0.6, top_p=0.95, max_tokens=8192, stop=())
    """
    if "max_gen_toks" not in kwargs or "temperature" not in kwargs:
        raise ValueError(
            f"generation_kwargs must give max_gen_toks and temperature, got {sorted(kwargs)}"
        )
    until = kwargs.get("until") or []
    return Sampling(
        temperature=float(kwargs["temperature"]) if kwargs.get("do_sample", True) else 0.0,
        top_p=float(kwargs.get("top_p", 1.0)),
        max_tokens=int(kwargs["max_gen_toks"]),
        stop=(until,) if isinstance(until, str) else tuple(until),
    )


class StoreLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """An `LM` that answers from the store and lets a sampler draw the rest.

    lm-eval hands the same `Instance` object `repeats` times: the clones are numbered, and number i
    gets its own seed, derived from (seed, task, doc_id, i). on_progress(done, total) counts samples
    of all tasks. gold(task, doc) is asked only for samplers that want golds.
    """

    def __init__(
        self,
        sampler: Sampler,
        folder: Path,
        *,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
        gold: Callable[[str, Mapping[str, Any]], str] = lambda task, doc: str(doc["answer"]),
    ):
        super().__init__()
        self.sampler = sampler
        self.folder = folder
        self.seed = seed
        self.on_progress = on_progress
        self.gold = gold
        self.stores: dict[str, SampleStore] = {}
        self.generated = 0
        self.told_at = 0.0
        self.failed: Counter[str] = Counter()

    @property
    def tokenizer_name(self) -> str:
        return type(self.sampler).__name__

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "tokenizer"

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return self.sampler.render(chat_history)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> Any:
        raise NotImplementedError(
            "our benchmarks generate; log-likelihood tasks need lm-eval's own models"
        )

    loglikelihood_rolling = loglikelihood

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """A text for every request, in order.

        Raises `UsageError` when prompts are not those of the stored samples or too long for the
        model, and `PartialError` when some samples could not be drawn.
        """
        wanted = self._wanted(requests)
        for task in dict.fromkeys(w.task for w in wanted):
            store = SampleStore(self.folder, task)
            store.check_prompts([w.key for w in wanted if w.task == task])
            self.stores[task] = store
        missing = [w for w in wanted if not self._is_stored(w)]
        self._draw_missing(wanted, missing)
        if lacking := sum(not self._is_stored(w) for w in wanted):
            raise self._partial(lacking, len(wanted))
        return [self.stores[w.task].rows[w.key]["text"] for w in wanted]

    def _is_stored(self, slot: Slot) -> bool:
        return slot.key in self.stores[slot.task]

    def _draw_missing(self, wanted: Sequence[Slot], missing: Sequence[Slot]) -> None:
        total = len(wanted)
        done = total - len(missing)
        self._tell(done, total)
        if missing:
            check_context(self.sampler, missing)
            self.sampler.open(self.folder)
        batches = self._blocks(wanted) if self.sampler.block > 1 else [missing]
        try:
            for batch in batches:
                for new in self._draw(batch):
                    done += new
                    self.generated += new
                    self._tell(done, total)
        finally:
            for store in self.stores.values():
                store.close()

    def _partial(self, lacking: int, total: int) -> PartialError:
        counts = [f"{reason} (x{n})" for reason, n in self.failed.most_common(3)]
        reasons = "; ".join(counts) or "the sampler gave no text"
        return PartialError(
            f"{lacking} of {total} samples could not be drawn: {reasons}",
            where=str(self.folder),
            remedy="run the same command again, it asks for the missing ones only",
        )

    def _wanted(self, requests: Sequence[Instance]) -> list[Slot]:
        count: dict[int, int] = defaultdict(int)
        out = []
        for r in requests:
            number = count[id(r)]
            count[id(r)] += 1
            prompt, kwargs = r.args
            digest = hashlib.sha256(
                (prompt + json.dumps(kwargs, sort_keys=True)).encode()
            ).hexdigest()[:16]
            seed = derive_seed(self.seed, r.task_name, r.doc_id, number)
            key = (r.task_name, r.doc_id, number)
            request = Sample(prompt, 1, sampling_of(kwargs), key=key, seed=seed)
            if self.sampler.wants_gold:
                self.sampler.know(request.key, self.gold(r.task_name, r.doc))
            out.append(Slot(r.task_name, (r.doc_id, number, digest), seed, request))
        return out

    def _blocks(self, wanted: Sequence[Slot]) -> Iterator[list[Slot]]:
        """Fixed blocks of samples that are not all there: what is drawn together depends on (task,
        question, sample) alone, not on what is missing."""
        questions = max(1, self.sampler.block // SAMPLES_PER_BLOCK)
        blocks: dict[tuple[str, int, int], list[Slot]] = defaultdict(list)
        for w in wanted:
            doc_id, sample, _ = w.key
            blocks[w.task, doc_id // questions, sample // SAMPLES_PER_BLOCK].append(w)
        yield from (b for b in blocks.values() if not all(map(self._is_stored, b)))

    def _draw(self, batch: Sequence[Slot]) -> Iterator[int]:
        """Draw and store. Yields how many rows were new. A block is stored in order and as a whole,
        other samples as they come."""
        together: dict[str, list[SampleRow]] = defaultdict(list)
        for i, drawn in self.sampler.draw([w.request for w in batch]):
            w = batch[i]
            if drawn.failed is not None:
                self.failed[drawn.failed] += 1
            elif self.sampler.block > 1:
                together[w.task].append(self._row(w, drawn))
            else:
                yield self.stores[w.task].append([self._row(w, drawn)])
        for task, rows in together.items():
            in_order = sorted(rows, key=lambda r: (r["doc_id"], r["sample"]))
            yield self.stores[task].append(in_order)

    def _row(self, w: Slot, drawn: Completion) -> SampleRow:
        # a lone surrogate, which JSON of a server may carry, is not a text
        text = self.sampler.text_of(drawn).encode("utf-8", "replace").decode("utf-8")
        doc_id, sample, prompt_hash = w.key
        return {
            "task": w.task,
            "doc_id": doc_id,
            "sample": sample,
            "seed": w.seed,
            "prompt_hash": prompt_hash,
            "text": text,
            "finish": drawn.finish,
            "prompt_tokens": drawn.prompt_tokens,
            "tokens": drawn.length,
            "time": round(time.time(), 3),
        }

    def _tell(self, done: int, total: int) -> None:
        if self.on_progress and (done >= total or time.monotonic() - self.told_at > TELL_EVERY):
            self.told_at = time.monotonic()
            self.on_progress(done, total)


def check_context(sampler: Sampler, wanted: Sequence[Slot]) -> None:
    """Raise `UsageError` before anything is drawn when a prompt and its longest completion do not
    fit the model's context.

    Nothing is cut silently: lm-eval's own models drop the beginning of such a prompt.
    """
    if sampler.context is None:
        return
    tokens: dict[Prompt, int | None] = {}
    over: dict[tuple[str, int], tuple[int, int]] = {}
    for w in wanted:
        prompt, new = w.request.prompt, w.request.params.max_tokens
        if prompt not in tokens:
            tokens[prompt] = sampler.count(prompt)
        n = tokens[prompt]
        if n is not None and n + new > sampler.context:
            over[w.task, w.key[0]] = (n, new)
    if over:
        (task, doc_id), (n, new) = max(over.items(), key=lambda item: item[1])
        raise UsageError(
            f"{len(over)} prompts do not fit the model's context of {sampler.context} tokens"
            f" together with their completions; the longest has {n} tokens, and {new} new ones are"
            " allowed",
            where=f"{task}, question {doc_id}",
            remedy=make_fit(sampler, [n for n, _ in over.values()]),
        )


def make_fit(sampler: Sampler, lengths: Sequence[int]) -> str:
    """What to type when prompts of these lengths (tokens) are too long with their completions, some
    of them perhaps without one."""
    context = sampler.context or 0
    short = [n for n in lengths if n < context]
    alone = len(lengths) - len(short)
    advice = []
    if alone:
        longer = "a model with a longer context"
        if sampler.longer:
            longer += f", or {sampler.longer}"
        advice.append(f"{alone} of them fill the context alone and want {longer}")
    if short:
        others = " the others" if alone else ""
        advice.append(f"--max-tokens {context - max(short)} fits{others}")
    return "; ".join(advice)
