"""CPU seconds of the local engine beside plain transformers code doing the same work, in one run.

    python benchmarks/engine.py [--model DIR] [--prompts 16] [--group 8] [--tokens 64]

CPU seconds of this process (one torch thread), minimum of three repeats; ratios are to the first
line of each block. Both sides sample the same number of tokens: end tokens are ignored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from sage_bench.config.schema import OptimConfig
from sage_bench.data.tiny_world import problems
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import Policy, load_policy
from sage_bench.generation.local.prefill import pad_left
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.prompts import Renderer
from sage_bench.methods.objective import Objective
from sage_bench.types import Row, Sample, Sampling


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds of the fastest of some repeats: the one that was disturbed least."""
    work()  # warm-up
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def table(title: str, rows: list[tuple[str, float]]) -> None:
    """Print seconds and their ratio to the first row."""
    print(f"\n{title}")
    for name, seconds in rows:
        print(f"  {name:<58} {seconds:7.3f} s  {seconds / rows[0][1]:5.2f} x")


def naive_gradient(policy: Policy, rows: list[Row]) -> None:
    """What a straightforward trainer does: every row padded, logits of every position."""
    ids, mask = pad_left([r.prompt + r.tokens for r in rows], policy.pad_id, policy.device)
    logits = policy.model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logp = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    total = sum(-(logp[i, -len(r.tokens) :] * r.advantage).sum() for i, r in enumerate(rows))
    (total / sum(len(r.tokens) for r in rows)).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=model_path("package:data/tiny_policies/llama"))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(args.model, dtype="float32", device="cpu")
    policy.eos_ids = frozenset()
    renderer = Renderer(policy.tokenizer)
    prompts = [renderer.answer(p.question) for p in problems("tiny")[: args.prompts]]
    draws = []
    for i, prompt in enumerate(prompts):
        for k in range(args.group):
            params = Sampling(1.0, 1.0, args.tokens)
            draws.append(Sample(prompt, 1, params, seed=i * args.group + k))
    completions = measure_sampling(policy, draws, args.tokens)
    measure_gradient(policy, rows_of(draws, completions, args.group, args.tokens))


def measure_sampling(policy: Policy, draws: list[Sample], tokens: int) -> list[Any]:
    """Ours beside `generate` of transformers; returns the completions."""
    model: Any = policy.model
    sampler = Decoder(policy)
    sampler.eos = torch.tensor([-1])  # no token is this one: all completions have full length

    def generate() -> None:
        ids, mask = pad_left([d.prompt for d in draws], policy.pad_id, policy.device)
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=policy.pad_id,
        )

    table(
        f"sampling {len(draws)} x {tokens} tokens (ours also returns log-probabilities)",
        [
            ("transformers generate", cpu_seconds(generate)),
            ("local sampler", cpu_seconds(lambda: sampler.draw(draws))),
        ],
    )
    return sampler.draw(draws)


def rows_of(draws: list[Sample], completions: list[Any], group: int, tokens: int) -> list[Row]:
    """Rows of uneven length with random advantages, as an update has them."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i, (draw, completion) in enumerate(zip(draws, completions, strict=True)):
        n = int(torch.randint(tokens // 2, tokens + 1, (1,), generator=generator))
        advantage = torch.randn(n, generator=generator)
        rows.append(Row(draw.prompt, completion.tokens[:n], advantage, str(i // group)))
    return rows


def without_signal(row: Row) -> Row:
    """The same row in a group whose rewards were all equal."""
    return Row(row.prompt, row.tokens, torch.zeros(len(row.tokens)), row.group)


def measure_gradient(policy: Policy, rows: list[Row]) -> None:
    """The learner beside a straightforward trainer."""

    def naive() -> None:
        policy.model.zero_grad()
        naive_gradient(policy, rows)

    def ours(rows: list[Row], **options: Any) -> Callable[[], object]:
        learner = Learner(policy, OptimConfig(), **options)

        def work() -> None:
            policy.model.zero_grad()
            learner.gradient(rows, Objective())

        return work

    half_dead = [r if int(r.group) % 2 else without_signal(r) for r in rows]
    table(
        f"gradient of {len(rows)} rows, {sum(len(r.tokens) for r in rows)} completion tokens",
        [
            ("every row padded, logits everywhere", cpu_seconds(naive)),
            (
                "learner, separate rows, head on completion tokens",
                cpu_seconds(ours(rows, prompt_once=False)),
            ),
            ("learner, prompt once", cpu_seconds(ours(rows))),
            ("learner, prompt once, half of the groups dead", cpu_seconds(ours(half_dead))),
        ],
    )


if __name__ == "__main__":
    main()
