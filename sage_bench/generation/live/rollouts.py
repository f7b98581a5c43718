"""The sampler of a training run whose completions another engine generates.

It is what methods, validation and evaluations draw from, on every training engine:

- The learner's weights are pushed once an update, before the first request that follows it. All
  rounds of a step (first attempts, hints, retries) and the validation go to the same engine.
- After every push a probe compares what the engine says of its first completions with the
  learner's own forward, and stops the run when they differ by more than a bound.
- An engine that dies is brought back, gets the weights, and draws the round again: the seeds are
  those of the requests.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from sage_bench.generation.live.engines import EngineLostError, LiveEngine, Score, Weights
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.samplers.base import TemplatedSampler
from sage_bench.types import Completion, Sample
from sage_bench.utils.errors import TrainingError

TRIES = 3  # how often a round is begun before an engine that keeps dying ends the run


class Rollouts(TemplatedSampler):
    """Completions of the policy as it is now, from an engine with a copy of its weights.

    weights: the learner's, named as transformers saves them. score: log-probabilities by the
    learner's forward. probe_rows: completions of each probe, 0 for none. max_gap: bound on the
    mean difference of the log-probability of a token, in nats; None for none.
    """

    def __init__(
        self,
        engine: LiveEngine,
        renderer: Renderer,
        *,
        weights: Weights,
        score: Score,
        probe_rows: int = 8,
        max_gap: float | None = 0.1,
    ):
        self.engine = engine
        self.renderer = renderer
        self.weights = weights
        self.score = score
        self.probe_rows = probe_rows
        self.max_gap = max_gap
        self.context = engine.context
        # of this process: a server must not pass for up to date with what another run pushed
        self.run_id = os.urandom(8).hex()
        self.pushed = 0
        self.stale = True
        self.probed = False
        self.asleep = False
        self.numbers: dict[str, float] = defaultdict(float)

    # ---- a sampler ----
    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        if not samples:
            return
        units = [replace(s, prompt=self.ids(s.prompt)) for s in samples]
        drawn = self._drawn(units)
        if not self.probed:
            self._probe(units, drawn)
        for i, completion in enumerate(drawn):
            if isinstance(samples[i].prompt, str) and completion.failed is None:
                completion = self.with_text(completion, samples[i], len(units[i].prompt))
            yield i, completion

    def fingerprint(self) -> dict[str, Any]:
        """What decides the texts, the weights by the number of their push."""
        return {"weights": f"{self.run_id}:{self.pushed}", **self.engine.describe()}

    def close(self) -> None:
        self.engine.close()

    # ---- while the policy learns ----
    def weights_changed(self) -> None:
        self.stale = True

    def rest(self) -> None:
        if not self.asleep and self.pushed:
            self.engine.sleep()
            self.asleep = True

    def measured(self) -> dict[str, float]:
        found = {"weight_syncs": 0.0, "sampler_restarts": 0.0, **self.numbers}
        self.numbers.clear()
        return found

    # ---- how ----
    def _drawn(self, units: Sequence[Sample]) -> list[Completion]:
        for attempt in range(1, TRIES + 1):
            try:
                self._ready()
                return self.engine.draw(units)
            except EngineLostError as error:
                if attempt == TRIES:
                    raise
                self._bring_back(error.what)
        raise AssertionError("the last attempt returns or raises")

    def _bring_back(self, why: str) -> None:
        """Start the engine again, or wait for it; it has other weights then."""
        # a word, whether or not progress is shown
        print(
            f"warning: the engine of the rollouts was lost ({why}); it is brought back and what it"
            " was drawing is drawn again",
            file=sys.stderr,
            flush=True,
        )
        self.numbers["sampler_restarts"] += 1
        self.engine.restart()
        self.asleep, self.stale = False, True

    def _ready(self) -> None:
        """The engine is awake and has the weights of now."""
        if self.asleep:
            self.engine.wake()
            self.asleep = False
        if not self.stale and self.engine.holds(self._version()):
            return
        began = time.perf_counter()
        self.pushed += 1
        self.engine.take(self.weights, self._version())
        self.stale, self.probed = False, not self.probe_rows
        self.numbers["weight_syncs"] += 1
        self.numbers["seconds/weight_sync"] += round(time.perf_counter() - began, 3)

    def _version(self) -> str:
        return f"{self.run_id}:{self.pushed}"

    def _probe(self, units: Sequence[Sample], drawn: Sequence[Completion]) -> None:
        """Compare the engine's log-probabilities with the learner's, on completions spread over
        the first round after a push. Raises `TrainingError` beyond the bound."""
        rows = [i for i, c in enumerate(drawn) if c.failed is None and c.tokens]
        # greedy completions are scored at temperature 1, which is not what they were drawn at
        rows = [i for i in rows if units[i].params.temperature > 0]
        if not rows:
            return
        temperature = units[rows[0]].params.temperature
        rows = [i for i in rows if units[i].params.temperature == temperature]
        rows = rows[:: max(1, len(rows) // self.probe_rows)][: self.probe_rows]
        pairs = [(self.ids(units[i].prompt), drawn[i].tokens) for i in rows]
        ours = torch.cat([logp.float().cpu() for logp in self.score(pairs, temperature)])
        theirs = torch.cat([logp for i in rows if (logp := drawn[i].logp) is not None])
        gaps = (ours - theirs.float()).abs()
        mean, most = float(gaps.mean()), float(gaps.max())
        self.probed = True
        self.numbers["probe_gap"] = mean
        self.numbers["probe_gap_max"] = max(most, self.numbers["probe_gap_max"])
        # written so that a gap which is not a number is beyond every bound
        if self.max_gap is not None and not mean <= self.max_gap:
            raise TrainingError(
                f"after weight sync {self.pushed} the sampler's log-probabilities differ from the"
                f" learner's by {mean:.3g} nats a token in the mean, {most:.3g} at most, over"
                f" {len(gaps)} tokens; the bound is {self.max_gap:g}",
                where="engine.max_logprob_gap",
                remedy=(
                    "the sampler does not have the policy's weights, number type or temperature:"
                    " set model.dtype=float32 or look at engine.vllm.options; raise the bound only"
                    " when the gap is the rounding of bfloat16. The last checkpoint is kept"
                ),
            )
