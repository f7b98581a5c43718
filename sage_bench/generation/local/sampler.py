"""The sampler: prefill a prompt once, repeat its cache over the samples, decode, drop rows as they
finish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sage_bench.generation.local.cache import drop_rows, repeat_rows
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import prefill
from sage_bench.generation.local.rng import uniform
from sage_bench.types import Completion, Sampling, TokenIds
from sage_bench.utils.errors import SageBenchError

STOP_WINDOW = 24  # last tokens of a completion in which a stop text is looked for
# rows are dropped when this share of the wave has finished: compacting costs a copy of the cache
DROP_AT = 0.25


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion to draw: its prompt, how, and the seed that fixes every token."""

    prompt: TokenIds
    params: Sampling
    seed: int


def choose(logits: Tensor, temperature: float, top_p: float, u: Tensor) -> tuple[Tensor, Tensor]:
    """Pick one token a row by inverting the distribution function at u.

    logits: (R, V) float32; u: (R,) in [0, 1). Returns (tokens (R,), log-probability (R,) at this
    temperature, before top-p). Temperature 0 is the argmax, its log-probability taken at
    temperature 1.

    >>> logits = torch.tensor([[0.0, 0.0, -30.0]])
    >>> choose(logits, 1.0, 1.0, torch.tensor([0.4]))[0].item(), choose(logits, 1.0, 1.0, torch.tensor([0.6]))[0].item()
    (0, 1)
    """
    logp = (logits / temperature if temperature > 0 else logits).log_softmax(-1)
    if temperature == 0:
        tokens = logp.argmax(-1)
    else:
        p, order = logp.exp(), None
        if top_p < 1:
            p, order = p.sort(-1, descending=True)
            p = p.masked_fill(
                p.cumsum(-1) - p >= top_p, 0.0
            )  # keep the smallest head whose mass reaches top_p
        cdf = p.double().cumsum(-1)
        tokens = torch.searchsorted(
            cdf, (u.to(cdf.device) * cdf[:, -1])[:, None], right=True
        ).clamp(max=p.shape[-1] - 1)
        tokens = (tokens if order is None else order.gather(-1, tokens))[:, 0]
    return tokens, logp.gather(-1, tokens[:, None])[:, 0]


class Sampler:
    """Draws completions from a policy. wave_tokens bounds rows x (prompt + max_tokens) of what is
    decoded together."""

    def __init__(self, policy: Policy, *, wave_tokens: int = 1 << 18):
        self.policy, self.wave_tokens = policy, wave_tokens
        self.eos = torch.tensor(sorted(policy.eos_ids), device=policy.device)

    def draw(
        self, draws: Sequence[Draw], on_wave: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """One completion for each draw, in order. Waves are cut from the draws in a fixed way, so
        that the same call repeats bit for bit. on_wave is told how many completions each wave
        finished."""
        out: list[Completion | None] = [None] * len(draws)
        for wave in self.waves(draws):
            for i, completion in zip(wave, self._decode([draws[i] for i in wave]), strict=True):
                out[i] = completion
            if on_wave:
                on_wave(len(wave))
        return out  # type: ignore[return-value]

    def waves(self, draws: Sequence[Draw]) -> Iterator[list[int]]:
        """Indices of draws decoded together: same sampling parameters, prompts of similar length,
        bounded size."""
        order = sorted(
            range(len(draws)),
            key=lambda i: (_params(draws[i].params), len(draws[i].prompt), draws[i].prompt),
        )
        wave: list[int] = []
        for i in order:
            size = len(draws[i].prompt) + draws[i].params.max_tokens
            if wave and (
                draws[i].params != draws[wave[0]].params
                or (len(wave) + 1) * size > self.wave_tokens
            ):
                yield wave
                wave = []
            wave.append(i)
        if wave:
            yield wave

    @torch.inference_mode()
    def _decode(self, draws: Sequence[Draw]) -> list[Completion]:
        policy, params = self.policy, draws[0].params
        longest = max(len(d.prompt) for d in draws)
        limit = min(params.max_tokens, policy.context - longest)
        if limit < 1:
            raise SageBenchError(
                f"a prompt of {longest} tokens leaves no room in the model's context of"
                f" {policy.context}",
                remedy="lower `limits.max_prompt_tokens`",
            )
        start = prefill(policy, [d.prompt for d in draws])
        logits = policy.logits(start.last[:, -1])[start.rows]
        cache = repeat_rows(start.cache, start.rows)
        width = start.mask.shape[1]
        mask = torch.cat([start.mask[start.rows], start.mask.new_ones(len(draws), limit)], 1)
        if (
            policy.dense_masks
        ):  # an additive mask, sliced at every token, is half the time of one that is derived anew
            mask = torch.zeros(mask.shape, dtype=policy.dtype, device=mask.device).masked_fill(
                mask == 0, torch.finfo(policy.dtype).min
            )[:, None, None]
        position = start.after[start.rows] - 1
        seeds = torch.tensor([d.seed for d in draws], device=policy.device)
        tokens = torch.zeros(len(draws), limit, dtype=torch.long, device=policy.device)
        logps = torch.zeros(len(draws), limit, device=policy.device)
        length = torch.full((len(draws),), limit, device=policy.device)
        stopped = torch.zeros(len(draws), dtype=torch.bool, device=policy.device)
        alive = torch.arange(
            len(draws), device=policy.device
        )  # original index of each row still decoded
        ended = torch.zeros(
            len(draws), dtype=torch.bool, device=policy.device
        )  # of the rows still decoded
        for t in range(limit):
            token, logp = choose(logits, params.temperature, params.top_p, uniform(seeds[alive], t))
            running = alive[~ended]
            tokens[running, t], logps[running, t] = token[~ended], logp[~ended].to(logps.dtype)
            now = torch.isin(token, self.eos) & ~ended
            if params.stop:
                now |= self._stopped(
                    tokens[alive, max(0, t + 1 - STOP_WINDOW) : t + 1], ended, params.stop
                )
            length[alive[now]], stopped[alive[now]] = t + 1, True
            ended = ended | now
            finished = int(ended.sum())
            if finished == len(alive) or t + 1 == limit:
                break
            if finished >= DROP_AT * len(alive):
                keep = (~ended).nonzero()[:, 0]
                drop_rows(cache, keep)
                alive, token, position, mask, ended = (
                    alive[keep],
                    token[keep],
                    position[keep],
                    mask[keep],
                    ended[keep],
                )
            position = position + 1
            hidden = policy.hidden(
                token[:, None],
                attention_mask=mask[..., : width + t + 1],
                position_ids=position,
                cache=cache,
            )
            logits = policy.logits(hidden[:, -1])
        return _completions(tokens.cpu(), logps.cpu(), length.tolist(), stopped.tolist())

    def _stopped(self, recent: Tensor, ended: Tensor, stop: Sequence[str]) -> Tensor:
        """Which rows have just written one of the texts. recent: (R, W) their last tokens."""
        texts = self.policy.tokenizer.batch_decode(recent.tolist())
        return (
            torch.tensor([any(s in text for s in stop) for text in texts], device=ended.device)
            & ~ended
        )


def _completions(
    tokens: Tensor, logps: Tensor, lengths: Iterable[int], stopped: Iterable[bool]
) -> list[Completion]:
    return [
        Completion(tuple(row[:n].tolist()), logp[:n].clone(), "stop" if stop else "length")
        for row, logp, n, stop in zip(tokens, logps, lengths, stopped, strict=True)
    ]


def _params(p: Sampling) -> tuple[float, float, int, tuple[str, ...]]:
    return (p.temperature, p.top_p, p.max_tokens, p.stop)
