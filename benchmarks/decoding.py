"""Decoding of the local sampler beside transformers' `generate` and its continuous batching, and
vLLM where there is one.

Rows of equal length, and rows whose lengths are geometric, as they are when every token may be the
last; and such rows with more of them waiting than there are places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Result, copy_gbytes, gemm_gflops, machine, once
from benchmarks.models import END, PAD, make_policy, make_prompts
from benchmarks.vllm_decoding import seconds_and_tokens
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import pad_left
from sage_bench.types import Sample, Sampling

PROMPT, TOKENS, GROUP = 64, 128, 8
PLACES = 64  # rows decoded together where more wait


class Ends(Policy):
    """A policy that ends with probability `chance` at every token, whatever its weights say: logits
    of the end token are set against the sum of the others."""

    chance = 0.0

    def logits(self, hidden: Tensor) -> Tensor:
        return with_end(super().logits(hidden), self.chance)


def with_end(logits: Tensor, chance: float) -> Tensor:
    """Logits (R, V) whose softmax gives END this probability.

    >>> p = with_end(torch.randn(3, 9), 0.25).softmax(-1)[:, END]
    >>> torch.allclose(p, torch.tensor(0.25))
    True
    """
    logits = logits.clone()
    logits[:, [PAD, END]] = -torch.inf  # padding after the end must not look like a token
    if chance > 0:
        odds = torch.logit(torch.tensor(chance))
        logits[:, END] = logits.logsumexp(-1) + odds
    return logits


def run(quick: bool = False) -> Result:
    """One line a way to decode, number of rows and kind of lengths."""
    rows: list[dict[str, Any]] = []
    tokens = 16 if quick else TOKENS
    policy = make_policy("qwen2")
    policy.__class__ = Ends
    gflops, gbytes = gemm_gflops(), copy_gbytes()
    cells = [
        (count, kind, chance)
        for count in ((8,) if quick else (8, 64, 256))
        for kind, chance in (("equal", 0.0), ("geometric", 4 / tokens))
    ]
    drawn_before = [(count, lengths(count, chance, tokens)) for count, _, chance in cells]
    vllm = seconds_and_tokens(drawn_before, PROMPT, GROUP)
    for i, (count, kind, chance) in enumerate(cells):
        prompts = make_prompts(max(1, count // GROUP), PROMPT)
        policy.chance = chance
        found = [
            (name, *way(policy, prompts, tokens))
            for name, way in WAYS.items()
            if chance == 0 or name not in EQUAL_ONLY
        ]
        if vllm:
            found.append(("vLLM", *vllm[i]))
        floor = floor_seconds(policy, found[0][2], len(prompts), gflops, gbytes)
        rows += lines(count, kind, found, floor)
        if chance and count > PLACES:
            waiting = [(name, *way(policy, prompts, tokens)) for name, way in IN_PLACES.items()]
            rows += lines(count, f"{kind}, {PLACES} at a time", waiting, floor)
    about = (
        f"Decoding, 4.9 M parameters, float32, one thread, CPU seconds; prompts of {PROMPT} tokens,"
        f" groups of {GROUP}, at most {tokens} tokens a row, temperature 1. Floor: the products of"
        " all tokens at the machine's speed of large products, and every row's own keys and values"
        " read once a token. vLLM is told the lengths, the others draw them; ours alone"
        " returns log-probabilities"
    )
    return Result("decoding", about, rows, machine())


def lines(
    count: int, kind: str, found: list[tuple[str, float, int]], floor: float
) -> list[dict[str, Any]]:
    """found: (name, CPU seconds, tokens), ours first; floor: CPU seconds of as many tokens."""
    each = {name: seconds / n for name, seconds, n in found}
    generate = next(value for name, value in each.items() if name.startswith("generate"))
    return [
        {
            "rows": count,
            "lengths": kind,
            "what": name,
            "tokens": n,
            "us a token": 1e6 * each[name],
            "generate / this": generate / each[name],
            "this / floor": each[name] / (floor / found[0][2]),
        }
        for name, _, n in found
    ]


def lengths(rows: int, chance: float, most: int) -> list[int]:
    """Tokens of every row that ends with this probability at every token."""
    if chance == 0:
        return [most] * rows
    drawn = np.random.default_rng(0).geometric(chance, rows)
    return [int(n) for n in drawn.clip(max=most)]


def floor_seconds(policy: Policy, tokens: int, prompts: int, gflops: float, gbytes: float) -> float:
    """Products of every token with the weights, and reading a completion's cache at half its length
    on average."""
    config = policy.model.config
    parameters = sum(p.numel() for p in policy.model.parameters())
    body = parameters - policy.model.get_input_embeddings().weight.numel()
    multiplied = 2 * (parameters * tokens + body * prompts * PROMPT)
    rows = prompts * GROUP
    own = tokens / rows / 2  # tokens of a row that lie before the one being drawn, on average
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    return multiplied / gflops / 1e9 + tokens * (own + PROMPT / GROUP) * cache / gbytes / 1e9


def asked(prompts: list[tuple[int, ...]], tokens: int) -> list[Sample]:
    return [
        Sample(p, 1, Sampling(1.0, 1.0, tokens), seed=GROUP * i + k)
        for i, p in enumerate(prompts)
        for k in range(GROUP)
    ]


def ours(policy: Policy, prompts: list[tuple[int, ...]], tokens: int) -> tuple[float, int]:
    """CPU seconds and tokens drawn. Also returns log-probabilities, which the others do not."""
    asks = asked(prompts, tokens)
    return timed(lambda: sum(len(c.tokens) for c in Decoder(policy).draw(asks)))


def in_places(policy: Policy, prompts: list[tuple[int, ...]], tokens: int) -> tuple[float, int]:
    """A row that has ended leaves its place to one that waits."""
    asks, room = asked(prompts, tokens), PLACES * (PROMPT + tokens)
    decoder = Decoder(policy, wave_tokens=room)
    return timed(lambda: sum(len(c.tokens) for c in decoder.draw(asks)))


def in_batches(policy: Policy, prompts: list[tuple[int, ...]], tokens: int) -> tuple[float, int]:
    """The same requests, each batch of `PLACES` rows until its longest row has ended."""
    asks, decoder = asked(prompts, tokens), Decoder(policy)
    batches = [asks[i : i + PLACES] for i in range(0, len(asks), PLACES)]
    return timed(lambda: sum(len(c.tokens) for batch in batches for c in decoder.draw(batch)))


def generate_in_batches(
    policy: Policy, prompts: list[tuple[int, ...]], tokens: int
) -> tuple[float, int]:
    each = PLACES // GROUP
    parts = [generate(policy, prompts[i : i + each], tokens) for i in range(0, len(prompts), each)]
    return sum(seconds for seconds, _ in parts), sum(n for _, n in parts)


def generate(policy: Policy, prompts: list[tuple[int, ...]], tokens: int) -> tuple[float, int]:
    """transformers' `generate`, every row with a prompt of its own."""
    from transformers import LogitsProcessorList

    ids, mask = pad_left([p for p in prompts for _ in range(GROUP)], PAD, policy.device)
    chance = getattr(policy, "chance", 0.0)

    def work() -> int:
        out = policy.model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            logits_processor=LogitsProcessorList([lambda _, logits: with_end(logits, chance)]),
        )
        drawn = out[:, ids.shape[1] :]
        # the end token itself counts, the padding after it does not
        return int((drawn != PAD).sum())

    return timed(work)


def continuous(policy: Policy, prompts: list[tuple[int, ...]], tokens: int) -> tuple[float, int]:
    """transformers' continuous batching, with a cache just large enough: as it comes, it fills the
    machine's memory first."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    inputs = [list(p) for p in prompts for _ in range(GROUP)]
    config = GenerationConfig(
        max_new_tokens=tokens, do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=PAD
    )
    batching = ContinuousBatchingConfig(
        num_blocks=2 * len(inputs), max_batch_tokens=PROMPT * len(inputs)
    )

    def work() -> int:
        out = policy.model.generate_batch(
            inputs=inputs,
            generation_config=config,
            continuous_batching_config=batching,
            warmup=False,
        )
        return sum(len(one.generated_tokens) for one in out.values())

    return timed(work)


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """(CPU seconds, tokens) of the better of two runs after a short one."""
    counted: list[int] = []
    seconds = [once(lambda: counted.append(work())) for _ in range(2)]
    return min(seconds), counted[0]


WAYS = {"ours": ours, "generate": generate, "continuous batching": continuous}
IN_PLACES = {
    "ours": in_places,
    "ours, batch after batch": in_batches,
    "generate, batch after batch": generate_in_batches,
}
EQUAL_ONLY = {"continuous batching"}  # it has no place for a rule of ours about the end
