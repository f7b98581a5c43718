"""Decoding: rows draw token after token; where one has ended, the next request takes its place."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from sage_bench.generation.local.choosing import choose
from sage_bench.generation.local.policy import Policy, non_finite
from sage_bench.generation.local.prefill import Prefill, prefill
from sage_bench.generation.local.rng import uniform
from sage_bench.generation.local.token_step import body_of
from sage_bench.types import Completion, Sample, Sampling, TokenIds
from sage_bench.utils.errors import ModelError, SageBenchError

STOP_WINDOW = 24  # last tokens of a completion in which a stop text is looked for
# rows leave when this share of them has ended: making room copies the cache once
DROP_AT = 0.25
REPLACE_AT = 0.125  # the same where requests wait: an idle place costs more than the copy


class Decoder:
    """Draws completions from a policy. wave_tokens bounds rows x (prompt + max_tokens) of what is
    decoded together. cuda_graphs: rows have places in a cache of fixed size, and a GPU replays a
    recorded step."""

    def __init__(
        self, policy: Policy, *, wave_tokens: int = 1 << 18, cuda_graphs: bool = False
    ) -> None:
        self.policy = policy
        self.wave_tokens = wave_tokens
        self.cuda_graphs = cuda_graphs

    def draw(self, samples: Sequence[Sample]) -> list[Completion]:
        """One completion for each request, in order. The requests are for one completion each, in
        token ids, with their seed (`Sample.units`).

        Places are taken in a fixed way, so that the same call repeats bit for bit. Where the device
        is out of memory, half as many rows go on with what is left: the seeds stay what they are.
        Raises `SageBenchError` when a single completion does not fit.
        """
        out: dict[int, Completion] = {}
        for queue in self.queues(samples):
            most = len(queue)
            while left := [i for i in queue if i not in out]:
                full = self._run(samples, left, most, out)
                most = self._smaller(*full) if full else most
        return [out[i] for i in range(len(samples))]

    def _run(
        self, samples: Sequence[Sample], queue: list[int], most: int, out: dict[int, Completion]
    ) -> tuple[str, int] | None:
        """Draw what waits in `queue`, at most so many rows at a time, into `out`; or why and with
        how many rows the device was full. Nothing of a run outlives it: its tensors filled it."""
        batch = Batch(self, samples, deque(queue), most)
        try:
            for i, completion in batch.decode():
                out[i] = completion
        except torch.OutOfMemoryError as error:
            # the text alone: the error's frames hold the tensors that filled the device
            return str(error).splitlines()[0] if str(error) else "out of memory", batch.asked
        return None

    def _smaller(self, reason: str, rows: int) -> int:
        """How many rows to go on with where so many did not fit; says so on standard error."""
        if rows == 1:
            raise SageBenchError(
                f"a single completion does not fit the device ({reason})",
                where="sampling.max_tokens",
                remedy="lower it, or draw elsewhere (engine.rollouts=vllm-server)",
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(
            f"warning: {reason}: {rows} completions are drawn in halves"
            " (engine.wave_tokens takes fewer at once)",
            file=sys.stderr,
            flush=True,
        )
        return rows // 2

    def queues(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Indices of requests with the same sampling parameters, short prompts first, so that
        those decoded together are of similar length."""
        queues: dict[Sampling, list[int]] = {}
        order = sorted(
            range(len(samples)),
            key=lambda i: (_params(samples[i].params), len(samples[i].prompt), samples[i].prompt),
        )
        for i in order:
            queues.setdefault(samples[i].params, []).append(i)
        return list(queues.values())


@dataclass(slots=True)
class Rows:
    """R completions on their way. (R,) each, but position, (R, 1), and tokens and logps, (R, most
    tokens + 1), of which `count` are a row's own."""

    number: Tensor  # which request
    seed: Tensor
    limit: Tensor  # most tokens
    count: Tensor  # tokens it has
    position: Tensor  # of the last token, the prompt's before there is one
    tokens: Tensor
    logps: Tensor
    stopped: Tensor  # by an end token or a stop text
    ended: Tensor  # stopped, or at its limit; the row may still lie in the cache

    def __len__(self) -> int:
        return len(self.number)

    def at(self, rows: Tensor) -> Rows:
        return Rows(*(getattr(self, f.name)[rows] for f in fields(self)))

    def joined(self, new: Rows) -> Rows:
        return Rows(*(torch.cat([getattr(r, f.name) for r in (self, new)]) for f in fields(self)))


class Batch:
    """Requests with the same sampling parameters, some of them being decoded, the others waiting in
    `queue`. Room: `most` rows, and the decoder's `wave_tokens`."""

    def __init__(
        self, decoder: Decoder, samples: Sequence[Sample], queue: deque[int], most: int
    ) -> None:
        self.decoder = decoder
        self.policy = decoder.policy
        self.samples = samples
        self.queue = queue
        self.most = most
        self.params = samples[queue[0]].params
        self.eos = torch.tensor(sorted(self.policy.eos_ids), device=self.policy.device)
        self.asked = 0  # rows of the last attempt, for who finds the device full

    @torch.inference_mode()
    def decode(self) -> Iterator[tuple[int, Completion]]:
        """(request, completion) as rows leave."""
        while self.queue:
            rows, start, logits = self._begun(self._admitted(0))
            # short prompts come first: no later row has more room
            limit = int(rows.limit.max())
            body = body_of(self.policy, start, limit, self.decoder.cuda_graphs)
            while True:
                token = self._drawn(rows, logits)
                ended = int(rows.ended.sum())
                # a window of keys cannot be lined up with others: its rows wait for the next batch
                joins = bool(self.queue) and self.policy.dense_masks
                leave = ended >= (REPLACE_AT if joins else DROP_AT) * len(rows)
                if leave:
                    yield from self._completions(rows)
                    if ended == len(rows):
                        break
                    stay = (~rows.ended).nonzero()[:, 0]
                    body.drop(stay)
                    rows, token = rows.at(stay), token[stay]
                rows.position = rows.position + (~rows.ended)[:, None]
                logits = self.policy.logits(body.hidden(token, rows.position))
                if leave and joins and (new := self._admitted(len(rows))):
                    more, start, first = self._begun(new)
                    body.join(start)
                    rows, logits = rows.joined(more), torch.cat([logits, first])

    def _admitted(self, rows: int) -> list[int]:
        """The next requests, taken from the queue, for which there is room beside so many rows. A
        single row always finds room."""
        new: list[int] = []
        while self.queue:
            asked = rows + len(new) + 1
            size = len(self.samples[self.queue[0]].prompt) + self.params.max_tokens
            if asked > 1 and (asked > self.most or asked * size > self.decoder.wave_tokens):
                break
            new.append(self.queue.popleft())
        self.asked = rows + len(new)
        return new

    def _begun(self, new: list[int]) -> tuple[Rows, Prefill, Tensor]:
        """Rows that have no token yet, their prompts run, and the logits (R, V) of the first."""
        prompts = [_ids(self.samples[i]) for i in new]
        limits = [self._limit(len(p)) for p in prompts]
        start = prefill(self.policy, prompts)
        logits = self.policy.logits(start.last[:, -1])[start.rows]
        none = torch.zeros(len(new), dtype=torch.long, device=self.policy.device)
        tokens = none.new_zeros(len(new), self.params.max_tokens + 1)
        rows = Rows(
            number=none.new_tensor(new),
            seed=none.new_tensor([self.samples[i].seed for i in new]),
            limit=none.new_tensor(limits),
            count=none,
            position=start.after[start.rows] - 1,
            tokens=tokens,
            logps=torch.zeros_like(tokens, dtype=torch.float32),
            stopped=none.bool(),
            ended=none.bool(),
        )
        return rows, start, logits

    def _limit(self, prompt: int) -> int:
        """Most tokens of a completion after a prompt of so many."""
        limit = min(self.params.max_tokens, self.policy.context - prompt)
        if limit < 1:
            raise SageBenchError(
                f"a prompt of {prompt} tokens leaves no room in the model's context of"
                f" {self.policy.context}",
                remedy="lower `sampling.max_prompt_tokens`",
            )
        return limit

    def _drawn(self, rows: Rows, logits: Tensor) -> Tensor:
        """One more token (R,) of every row; it counts for those that have not ended."""
        u = uniform(rows.seed, rows.count)
        token, logp = choose(logits, self.params.temperature, self.params.top_p, u)
        # a row that has ended writes behind its last token, where nobody reads
        at = rows.count[:, None]
        rows.tokens.scatter_(1, at, token[:, None])
        rows.logps.scatter_(1, at, logp[:, None].to(rows.logps.dtype))
        rows.count = rows.count + ~rows.ended
        stops = torch.isin(token, self.eos)
        if self.params.stop:
            stops |= self._wrote_a_stop(rows)
        rows.stopped = rows.stopped | (stops & ~rows.ended)
        rows.ended = rows.stopped | (rows.count == rows.limit)
        return token

    def _wrote_a_stop(self, rows: Rows) -> Tensor:
        """Which rows have just written one of the stop texts."""
        width = min(STOP_WINDOW, self.params.max_tokens)
        at = rows.count[:, None] + torch.arange(-width, 0, device=rows.count.device)
        recent = rows.tokens.gather(1, at.clamp(min=0)).tolist()
        counts = rows.count.tolist()
        written = [ids[max(0, width - n) :] for ids, n in zip(recent, counts, strict=True)]
        texts = self.policy.tokenizer.batch_decode(written)
        found = [any(stop in text for stop in self.params.stop) for text in texts]
        return torch.tensor(found, device=rows.count.device)

    def _completions(self, rows: Rows) -> Iterator[tuple[int, Completion]]:
        """Of the rows that have ended."""
        self._check_finite(rows)
        done = rows.at(rows.ended.nonzero()[:, 0])
        for i, ids, logp, n, stopped in zip(
            done.number.tolist(),
            done.tokens.cpu(),
            done.logps.cpu(),
            done.count.tolist(),
            done.stopped.tolist(),
            strict=True,
        ):
            finish: Literal["stop", "length"] = "stop" if stopped else "length"
            yield i, Completion(tuple(ids[:n].tolist()), logp[:n].clone(), finish)

    def _check_finite(self, rows: Rows) -> None:
        """A logit that is not finite makes the log-probability of every token of its row NaN."""
        own = torch.arange(rows.logps.shape[1], device=rows.count.device) < rows.count[:, None]
        bad = (own & ~torch.isfinite(rows.logps)).nonzero()
        if not len(bad):
            return
        count, first = len(torch.unique(bad[:, 0])), int(bad[:, 1].min())
        broken = non_finite(self.policy.model)
        cause = f"the weights `{broken[0]}` are not finite" if broken else "the weights are finite"
        raise ModelError(
            f"the logits of token {first} are not finite in {count} of {len(rows)} completions;"
            f" {cause}",
            where=self.policy.path,
            remedy=(
                "take an earlier checkpoint"
                if broken
                else "sample in float32 (model.dtype=float32)"
            ),
        )


def _ids(sample: Sample) -> TokenIds:
    if isinstance(sample.prompt, str):
        raise TypeError("the decoder takes token ids; a sampler turns texts into them")
    return sample.prompt


def _params(p: Sampling) -> tuple[float, float, int, tuple[str, ...]]:
    return (p.temperature, p.top_p, p.max_tokens, p.stop)
