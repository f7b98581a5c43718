"""Decoding: prefill a prompt once, repeat its cache over the samples, draw token after token, drop
rows as they finish."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from sage_bench.generation.local.policy import Policy, non_finite
from sage_bench.generation.local.prefill import prefill
from sage_bench.generation.local.rng import uniform
from sage_bench.generation.local.token_step import body_of
from sage_bench.types import Completion, Sample, Sampling, TokenIds
from sage_bench.utils.errors import ModelError, SageBenchError

STOP_WINDOW = 24  # last tokens of a completion in which a stop text is looked for
# rows are dropped when this share of the wave has finished: compacting costs a copy of the cache
DROP_AT = 0.25
BLOCK = 128  # tokens whose probabilities are summed together
BLOCKS_FROM = 4096  # the smallest vocabulary that is summed by blocks
HEADS = (64, 1024)  # top-p sorts so many most probable tokens before it sorts the whole vocabulary


def choose(logits: Tensor, temperature: float, top_p: float, u: Tensor) -> tuple[Tensor, Tensor]:
    """Pick one token a row by inverting the distribution function at u.

    logits: (R, V) float32; u: (R,) in [0, 1). Returns (tokens (R,), log-probability (R,) at this
    temperature, before top-p). Temperature 0 is the argmax, its log-probability taken at
    temperature 1.

    >>> logits = torch.tensor([[0.0, 0.0, -30.0]])
    >>> [choose(logits, 1.0, 1.0, torch.tensor([u]))[0].item() for u in (0.4, 0.6)]
    [0, 1]
    """
    scaled = logits if temperature in (0, 1) else logits / temperature
    if temperature == 0 or logits.shape[-1] < BLOCKS_FROM:
        logp = scaled.log_softmax(-1)
        tokens = logp.argmax(-1) if temperature == 0 else drawn(logp.exp(), 1.0, top_p, u)
        return tokens, logp.gather(-1, tokens[:, None])[:, 0]
    # of a large vocabulary one copy is made, not four: new memory costs more than the arithmetic
    top = scaled.amax(-1, keepdim=True)
    p = (logits - top if scaled is logits else scaled.sub_(top)).exp_()
    total = p.sum(-1, keepdim=True)
    tokens = drawn(p, total, top_p, u)
    return tokens, (p.gather(-1, tokens[:, None]) / total).log()[:, 0]


def drawn(p: Tensor, total: Tensor | float, top_p: float, u: Tensor) -> Tensor:
    """Tokens (R,) from probabilities p (R, V) that sum to total (R, 1)."""
    if top_p >= 1:
        return inverse(p, u.to(p.device))[:, 0]
    p, order = nucleus(p, top_p * total)
    return order.gather(-1, inverse(p, u.to(p.device)))[:, 0]


def inverse(p: Tensor, u: Tensor) -> Tensor:
    """The inverse distribution function: the first token at which the sum of p (R, V) passes u (R,)
    in [0, 1), float64. Returns (R, 1) int64.

    Sums are float64. Over a large vocabulary whole blocks are summed first, and single tokens only
    in the block where u falls.

    >>> inverse(torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([0.3], dtype=torch.float64)).item()
    1
    """
    last = p.shape[-1] - 1
    if last < BLOCKS_FROM:
        cdf = p.double().cumsum(-1)
        return torch.searchsorted(cdf, (u * cdf[:, -1])[:, None], right=True).clamp(max=last)
    whole = p.shape[-1] // BLOCK * BLOCK
    sums = p[:, :whole].view(len(p), -1, BLOCK).sum(-1, dtype=torch.float64)
    if whole <= last:
        sums = torch.cat([sums, p[:, whole:].sum(-1, keepdim=True, dtype=torch.float64)], -1)
    cdf = sums.cumsum(-1)
    at = (u * cdf[:, -1])[:, None]
    block = torch.searchsorted(cdf, at, right=True).clamp(max=sums.shape[-1] - 1)
    before = cdf.gather(-1, block) - sums.gather(-1, block)
    tokens = block * BLOCK + torch.arange(BLOCK, device=p.device)
    inside = p.gather(-1, tokens.clamp(max=last)).double().cumsum(-1)
    step = torch.searchsorted(inside, at - before, right=True).clamp(max=BLOCK - 1)
    return (block * BLOCK + step).clamp(max=last)


def nucleus(p: Tensor, top_p: Tensor | float) -> tuple[Tensor, Tensor]:
    """The smallest set of tokens whose probability reaches top_p (Holtzman et al. 2020).

    p: (R, V). top_p: one number, or (R, 1). Returns (their probabilities in descending order, zeros
    behind them; their tokens), (R, K) both. Only the head of the vocabulary is put in order, where
    it holds the set.

    >>> [x.tolist() for x in nucleus(torch.tensor([[0.125, 0.5, 0.125, 0.25]]), 0.7)]
    [[[0.5, 0.25, 0.0, 0.0]], [[1, 3, 0, 2]]]
    """
    for size in HEADS:
        if p.shape[-1] <= 2 * size:
            break
        head, order = p.topk(size, dim=-1)
        before = head.cumsum(-1) - head
        if bool((before[:, -1:] + head[:, -1:] >= top_p).all()):
            return head.masked_fill(before >= top_p, 0.0), order
    p, order = p.sort(-1, descending=True)
    return p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0), order


class Decoder:
    """Draws completions from a policy. wave_tokens bounds rows x (prompt + max_tokens) of what is
    decoded together."""

    def __init__(self, policy: Policy, *, wave_tokens: int = 1 << 18):
        self.policy = policy
        self.wave_tokens = wave_tokens
        self.eos = torch.tensor(sorted(policy.eos_ids), device=policy.device)

    def draw(self, samples: Sequence[Sample]) -> list[Completion]:
        """One completion for each request, in order. The requests are for one completion each, in
        token ids, with their seed (`Sample.units`).

        Waves are cut from them in a fixed way, so that the same call repeats bit for bit.
        """
        out: list[Completion] = [Completion(failed="not drawn")] * len(samples)
        for wave in self.waves(samples):
            for i, completion in zip(wave, self._decoded([samples[i] for i in wave]), strict=True):
                out[i] = completion
        return out

    def _decoded(self, samples: Sequence[Sample]) -> list[Completion]:
        """A wave, in halves where the device is out of memory: the seeds stay what they are.
        Raises `SageBenchError` when a single completion does not fit."""
        try:
            return Wave(self.policy, self.eos, samples).decode()
        except torch.OutOfMemoryError as error:
            # the text alone: the error's frames hold the tensors that filled the device
            reason = str(error).splitlines()[0] if str(error) else "out of memory"
        if len(samples) == 1:
            raise SageBenchError(
                f"a single completion does not fit the device ({reason})",
                where="sampling.max_tokens",
                remedy="lower it, or draw elsewhere (engine.rollouts=vllm-server)",
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(samples) // 2
        print(
            f"warning: {reason}: {len(samples)} completions are drawn in halves"
            " (engine.wave_tokens takes fewer at once)",
            file=sys.stderr,
            flush=True,
        )
        return self._decoded(samples[:half]) + self._decoded(samples[half:])

    def waves(self, samples: Sequence[Sample]) -> Iterator[list[int]]:
        """Indices of requests decoded together: same sampling parameters, prompts of similar
        length, bounded size."""
        order = sorted(
            range(len(samples)),
            key=lambda i: (_params(samples[i].params), len(samples[i].prompt), samples[i].prompt),
        )
        wave: list[int] = []
        for i in order:
            size = len(samples[i].prompt) + samples[i].params.max_tokens
            full = (len(wave) + 1) * size > self.wave_tokens
            if wave and (full or samples[i].params != samples[wave[0]].params):
                yield wave
                wave = []
            wave.append(i)
        if wave:
            yield wave


class Wave:
    """Requests that are decoded together. A row is one completion; `alive` are the rows that still
    lie in the cache, `ended` says which of them have finished."""

    def __init__(self, policy: Policy, eos: Tensor, samples: Sequence[Sample]):
        self.policy = policy
        self.eos = eos
        self.params = samples[0].params
        self.prompts = [_ids(s) for s in samples]
        self.limit = self._limit()
        rows, device = len(samples), policy.device
        self.position = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.seeds = torch.tensor([s.seed for s in samples], device=device)
        self.tokens = torch.zeros(rows, self.limit, dtype=torch.long, device=device)
        self.logps = torch.zeros(rows, self.limit, device=device)
        self.length = torch.full((rows,), self.limit, device=device)
        self.stopped = torch.zeros(rows, dtype=torch.bool, device=device)
        self.alive = torch.arange(rows, device=device)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=device)

    def _limit(self) -> int:
        longest = max(map(len, self.prompts))
        limit = min(self.params.max_tokens, self.policy.context - longest)
        if limit < 1:
            raise SageBenchError(
                f"a prompt of {longest} tokens leaves no room in the model's context of"
                f" {self.policy.context}",
                remedy="lower `sampling.max_prompt_tokens`",
            )
        return limit

    @torch.inference_mode()
    def decode(self) -> list[Completion]:
        policy, params = self.policy, self.params
        logits = self._prefill()
        for t in range(self.limit):
            u = uniform(self.seeds[self.alive], t)
            token, logp = choose(logits, params.temperature, params.top_p, u)
            self._keep(token, logp, t)
            finished = int(self.ended.sum())
            if finished == len(self.alive) or t + 1 == self.limit:
                break
            if finished >= DROP_AT * len(self.alive):
                token = self._drop_finished(token)
            self.position = self.position + 1
            logits = policy.logits(self.body.hidden(token, self.position))
        self._check_finite()
        return self._completions()

    def _check_finite(self) -> None:
        """A logit that is not finite makes the log-probability of every token of its row NaN."""
        bad = (~torch.isfinite(self.logps)).nonzero()
        if not len(bad):
            return
        rows, first = len(torch.unique(bad[:, 0])), int(bad[:, 1].min())
        broken = non_finite(self.policy.model)
        cause = f"the weights `{broken[0]}` are not finite" if broken else "the weights are finite"
        raise ModelError(
            f"the logits of token {first} are not finite in {rows} of {len(self.prompts)}"
            f" completions; {cause}",
            where=self.policy.path,
            remedy=(
                "take an earlier checkpoint"
                if broken
                else "sample in float32 (model.dtype=float32)"
            ),
        )

    def _prefill(self) -> Tensor:
        """Logits of the first token, (R, V); sets the body and positions."""
        policy = self.policy
        start = prefill(policy, self.prompts)
        logits = policy.logits(start.last[:, -1])[start.rows]
        self.body = body_of(policy, start, self.limit)
        self.position = start.after[start.rows] - 1
        return logits

    def _keep(self, token: Tensor, logp: Tensor, t: int) -> None:
        """Write down token number t of every row that runs, and who ends with it."""
        running = self.alive[~self.ended]
        self.tokens[running, t] = token[~self.ended]
        self.logps[running, t] = logp[~self.ended].to(self.logps.dtype)
        now = torch.isin(token, self.eos) & ~self.ended
        if self.params.stop:
            recent = self.tokens[self.alive, max(0, t + 1 - STOP_WINDOW) : t + 1]
            now |= self._wrote_a_stop(recent) & ~self.ended
        self.length[self.alive[now]] = t + 1
        self.stopped[self.alive[now]] = True
        self.ended = self.ended | now

    def _wrote_a_stop(self, recent: Tensor) -> Tensor:
        """Which rows have just written one of the stop texts. recent: (R, W) their last tokens."""
        texts = self.policy.tokenizer.batch_decode(recent.tolist())
        stop = self.params.stop
        return torch.tensor([any(s in text for s in stop) for text in texts], device=recent.device)

    def _drop_finished(self, token: Tensor) -> Tensor:
        """Take finished rows out of the cache; the tokens (R,) of those that stay."""
        keep = (~self.ended).nonzero()[:, 0]
        self.body.drop(keep)
        self.alive = self.alive[keep]
        self.position = self.position[keep]
        self.ended = self.ended[keep]
        return token[keep]

    def _completions(self) -> list[Completion]:
        rows: Iterable[tuple[Tensor, Tensor, int, bool]] = zip(
            self.tokens.cpu(),
            self.logps.cpu(),
            self.length.tolist(),
            self.stopped.tolist(),
            strict=True,
        )
        return [
            Completion(tuple(ids[:n].tolist()), logp[:n].clone(), "stop" if stop else "length")
            for ids, logp, n, stop in rows
        ]


def _ids(sample: Sample) -> TokenIds:
    if isinstance(sample.prompt, str):
        raise TypeError("the decoder takes token ids; a sampler turns texts into them")
    return sample.prompt


def _params(p: Sampling) -> tuple[float, float, int, tuple[str, ...]]:
    return (p.temperature, p.top_p, p.max_tokens, p.stop)
