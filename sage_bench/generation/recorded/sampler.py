"""The sampler of a run on recorded groups: requests are answered with what was drawn for them.

What the record does not have is an error, or drawn live by a switch. Two kinds of requests are
always drawn live: those of the run itself (validation, which is of the policy as it is now) and
judgements, which are credit and not rollouts.

The denominator of the ratio is the policy that drew the tokens. Where that is the policy as it is
now (the first step on a frozen record; every step of a run repeated on its own record) the learner
takes it from the weights it has, as it does in a live run; elsewhere rows get the recorded
log-probabilities.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch

from sage_bench.generation.live.engines import Score
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.rows import Draw, Key, key_of
from sage_bench.generation.samplers.base import Result, Sampler, TemplatedSampler
from sage_bench.generation.weights import short_sha
from sage_bench.types import Completion, Kind, Row, Sample, TokenIds
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import write_jsonl, writing
from sage_bench.utils.rows import summary

Match = Literal["key", "problem"]
Missing = Literal["error", "live"]
OTHER = {
    "weights": "the weights",
    "template": "the chat template",
    "template_options": "the options of the chat template",
    "vocabulary": "the tokenizer",
}


class NotRecordedError(DataError):
    """A method asks for completions that the record does not have."""


def policy_digests(renderer: Renderer, weights: str) -> dict[str, Any]:
    """What decides the completions of a prompt and seed, as record.json keeps it."""
    vocabulary = sorted(renderer.tokenizer.get_vocab().items())
    return {
        "weights": weights,
        "template": short_sha(renderer.template),
        "template_options": dict(renderer.template_options),
        "vocabulary": short_sha(repr(vocabulary)),
    }


def check_policy(record: Record, policy: Mapping[str, Any], *, other_weights: bool) -> None:
    """Raise `UsageError` where the record was drawn by another policy than the run begins with.

    other_weights: those may differ; tokenizer and template never.
    """
    free = {"weights"} if other_weights else set()
    then = record.about.policy
    differing = [name for name in OTHER if then.get(name) != policy[name] and name not in free]
    if not differing:
        return
    shown = "; ".join(
        f"{OTHER[n]}: {then.get(n)} in the record, {policy[n]} here" for n in differing
    )
    model = record.about.configuration.get("model.path", "?")
    remedy = f"train the model the groups were drawn from ({model}, in the same model.dtype)"
    if differing == ["weights"]:
        remedy += ", or set engine.recorded.other_weights=true to learn from another policy's draws"
    raise UsageError(
        f"the record was drawn by another policy ({shown})", where=str(record.folder), remedy=remedy
    )


class Recorded(TemplatedSampler):
    """Answers from a record.

    live: who draws what is not recorded. match: "key" answers a request whose batch, problem and
    number are those of the record; "problem" any batch (several epochs on one pass of groups).
    weights: digest of the policy as it is now. score: the learner's own log-probabilities, for one
    look at whether completions belong to their prompts; max_gap: bound on the mean difference in
    nats a token, None for none; probe_rows: completions it is taken on.
    """

    def __init__(
        self,
        record: Record,
        live: Sampler,
        renderer: Renderer,
        *,
        weights: Callable[[], str],
        match: Match = "key",
        missing: Missing = "error",
        score: Score | None = None,
        probe_rows: int = 8,
        max_gap: float | None = 0.1,
    ):
        self.record = record
        self.live = live
        self.renderer = renderer
        self.weights = weights
        self.match = match
        self.missing = missing
        self.score = score if probe_rows and max_gap is not None else None
        self.probe_rows = probe_rows
        self.max_gap = max_gap
        self.context = live.context
        self.source = (
            f"{record.name} ({record.digest}, drawn by {record.about.backend} from"
            f" {record.about.policy['weights']})"
        )
        self.numbers: dict[str, float] = defaultdict(float)
        # what was answered since the last update: (prompt, tokens) to the draw it is of
        self.answered: dict[tuple[TokenIds, TokenIds], tuple[str, torch.Tensor | None]] = {}
        self.now: str | None = None
        self.warned = False

    # ---- a sampler
    def draw(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Completion]]:
        loaded: dict[Key, Draw] = {}
        seen: Counter[Key] = Counter()
        elsewhere: list[int] = []
        for i, sample in enumerate(samples):
            key = key_of(sample)
            if key is None:
                elsewhere.append(i)
                continue
            number = seen[key]
            seen[key] += 1
            completion = self._recorded(sample, key, number, loaded)
            if completion is None:
                elsewhere.append(i)
            else:
                yield i, completion
        if loaded:
            # now, while an engine that shards its weights has them whole
            self._weights_now()
        self._probe(loaded)
        live = self.live.complete([samples[i] for i in elsewhere])
        yield from zip(elsewhere, live, strict=True)

    def _recorded(
        self, sample: Sample, key: Key, number: int, loaded: dict[Key, Draw]
    ) -> Completion | None:
        """The completion of a unit of a request; None where it is to be drawn live. Raises
        `NotRecordedError` where that is not wanted."""
        reason: str | None
        where = self.record.where(key)
        found = key if key in self.record.places else None
        if self.match == "problem":
            found = self.record.turn(key)
        if found is None:
            lost = self.record.lost.get(key)
            reason = f"it was set aside: {lost.reason}" if lost else "it is not in the record"
        else:
            if key not in loaded:
                loaded[key] = self.record.load(found)
            draw, where = loaded[key], self.record.places[found].where
            reason = self._difference(draw, sample, number)
            if reason is None:
                return self._answer(draw, number)
        if sample.purpose != "judge":
            if self.missing == "error":
                raise self._not_recorded(reason, key, where)
            self.numbers["drawn_live"] += 1
        return None

    def _difference(self, draw: Draw, sample: Sample, number: int) -> str | None:
        """Why a draw is not the answer to a request."""
        prompt = self.ids(sample.prompt)
        if draw.prompt != prompt:
            pairs = zip(draw.prompt, prompt, strict=False)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
            at = min(len(draw.prompt), len(prompt)) if same is None else same
            return f"its prompt is another one from token {at} on"
        if draw.params != sample.params:
            then, now = asdict(draw.params), asdict(sample.params)
            other = [f"{k} {then[k]} then, {now[k]} now" for k in then if then[k] != now[k]]
            return f"its sampling parameters are others ({', '.join(other)})"
        if number >= len(draw.completions):
            return f"it has {len(draw.completions)} completions, and more are asked for"
        return None

    def _not_recorded(self, reason: str, key: Key, where: str) -> NotRecordedError:
        batch, uid, number = key
        then = self.record.about.configuration
        remedy = (
            "give the data, prompts, sampling, train.seed, train.prompts_per_step and"
            f" method.group_size of the record (backend {self.record.about.backend}, train.seed"
            f" {then.get('train.seed')}, train.prompts_per_step"
            f" {then.get('train.prompts_per_step')}); engine.recorded.match=problem answers in any"
            " batch, engine.recorded.missing=live draws it from the policy"
        )
        return NotRecordedError(
            f"the request with key (batch {batch}, problem {uid}, number {number}) cannot be"
            f" answered: {reason}",
            where=where,
            remedy=remedy,
        )

    def _answer(self, draw: Draw, number: int) -> Completion:
        completion = draw.completions[number]
        self.answered[(draw.prompt, completion.tokens)] = (draw.weights, completion.logp)
        self.numbers["recorded"] += 1
        return completion

    def _probe(self, loaded: Mapping[Key, Draw]) -> None:
        """Once, on the first draws that the policy of now is said to have made: does it find them
        as likely as the record says? Raises `DataError` naming them beyond the bound."""
        mine = [d for d in loaded.values() if d.params.temperature > 0]
        if self.score is None or not mine:
            return
        mine = [d for d in mine if d.weights == self._weights_now()]
        chosen = mine[:: max(1, len(mine) // self.probe_rows)][: self.probe_rows]
        for draw in chosen:
            completion = draw.completions[0]
            if completion.logp is None or not completion.tokens:
                continue
            pair = (draw.prompt, completion.tokens)
            (ours,) = self.score([pair], draw.params.temperature)
            gap = float((ours.float().cpu() - completion.logp).abs().mean())
            self.numbers["probe_gap_max"] = max(gap, self.numbers["probe_gap_max"])
            # written so that a gap which is not a number is beyond every bound
            if self.max_gap is not None and not gap <= self.max_gap:
                raise DataError(
                    f"the completions of key {draw.key} do not belong to their prompt: their"
                    f" log-probabilities differ from those of the policy that is said to have drawn"
                    f" them by {gap:.3g} nats a token; the bound is {self.max_gap:g}",
                    where=draw.where,
                    remedy=(
                        "record the groups again; raise engine.max_logprob_gap only when the gap is"
                        " the rounding of bfloat16"
                    ),
                )
        if chosen:
            self.score = None

    def fingerprint(self) -> dict[str, Any]:
        return {**self.live.fingerprint(), "record": self.record.digest, "match": self.match}

    def open(self, folder: Path) -> None:
        """What is set aside goes to the run folder, with a word."""
        self.live.open(folder)
        rejected = self.record.rejected
        if not rejected:
            return
        file = folder / "quarantine" / "groups.jsonl"
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(file, [row.as_dict() for row in rejected])
        print(
            f"warning: {len(rejected)} lines of the record set aside ({summary(rejected)}): {file}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        self.live.close()

    # ---- while the policy learns
    def round(self, work: Callable[[], Result]) -> Result:
        return self.live.round(work)

    def weights_changed(self) -> None:
        self.now = None
        self.answered.clear()
        self.live.weights_changed()

    def rest(self) -> None:
        self.live.rest()

    def measured(self) -> dict[str, float]:
        found = {"recorded": 0.0, "drawn_live": 0.0, **self.live.measured(), **self.numbers}
        self.numbers.clear()
        return found

    def identity(self) -> dict[str, str]:
        return {"record": self.record.digest}

    def with_old(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of completions that other weights drew get the log-probabilities of those weights
        as `old_logp`."""
        return [self._with_old(row) for row in rows]

    def _with_old(self, row: Row) -> Row:
        if row.kind != Kind.PG or row.old_logp is not None:
            return row
        weights, logp = self.answered.get((row.prompt, row.tokens), (None, None))
        if logp is not None and weights != self._weights_now():
            return replace(row, old_logp=logp)
        if weights is None and not row.same_prompt and not self.warned:
            self.warned = True
            print(
                "warning: rows are trained under another prompt than their completions were drawn"
                " from; the record has no log-probabilities there, so their ratio is to the weights"
                " as they are",
                file=sys.stderr,
                flush=True,
            )
        return row

    def _weights_now(self) -> str:
        if self.now is None:
            self.now = self.weights()
        return self.now
