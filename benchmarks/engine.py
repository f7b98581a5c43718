"""CPU seconds of the local engine beside plain transformers code doing the same work, in one run.

python benchmarks/engine.py [--model DIR] [--prompts 16] [--group 8] [--tokens 64]

CPU seconds of this process (one torch thread), minimum of three repeats; ratios are to the first
line of each block. Both
sides sample the same number of tokens: end tokens are ignored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

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
    work()  # warm-up
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def table(title: str, rows: list[tuple[str, float]]) -> None:
    print(f"\n{title}")
    for name, seconds in rows:
        print(f"  {name:<58} {seconds:7.3f} s  {seconds / rows[0][1]:5.2f} x")


def naive_gradient(policy: Policy, rows: list[Row]) -> None:
    """What a straightforward trainer does: every row padded, logits of every position."""
    ids, mask = pad_left([r.prompt + r.tokens for r in rows], policy.pad_id, policy.device)
    logp = (
        policy.model(input_ids=ids, attention_mask=mask)
        .logits[:, :-1]
        .log_softmax(-1)
        .gather(-1, ids[:, 1:, None])[..., 0]
    )
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
    renderer, sampler = Renderer(policy.tokenizer), Decoder(policy)
    sampler.eos = torch.tensor([-1])
    prompts = [renderer.answer(p.question) for p in problems("tiny")[: args.prompts]]
    draws = [
        Sample(p, 1, Sampling(1.0, 1.0, args.tokens), seed=i * args.group + k)
        for i, p in enumerate(prompts)
        for k in range(args.group)
    ]

    def generate() -> None:
        ids, mask = pad_left([d.prompt for d in draws], policy.pad_id, policy.device)
        policy.model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=args.tokens,
            min_new_tokens=args.tokens,
            pad_token_id=policy.pad_id,
        )

    table(
        f"sampling {len(draws)} x {args.tokens} tokens (ours also returns log-probabilities)",
        [
            ("transformers generate", cpu_seconds(generate)),
            ("local sampler", cpu_seconds(lambda: sampler.draw(draws))),
        ],
    )

    completions = sampler.draw(draws)
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i, (draw, completion) in enumerate(zip(draws, completions, strict=True)):
        n = int(torch.randint(args.tokens // 2, args.tokens + 1, (1,), generator=generator))
        rows.append(
            Row(
                draw.prompt,
                completion.tokens[:n],
                torch.randn(n, generator=generator),
                str(i // args.group),
            )
        )

    def ours(rows: list[Row], **options: object) -> Callable[[], object]:
        learner = Learner(policy, OptimConfig(), **options)

        def work() -> None:
            policy.model.zero_grad()
            learner.gradient(rows, Objective())

        return work

    dead = [
        r if int(r.group) % 2 else Row(r.prompt, r.tokens, torch.zeros(len(r.tokens)), r.group)
        for r in rows
    ]
    table(
        f"gradient of {len(rows)} rows, {sum(len(r.tokens) for r in rows)} completion tokens",
        [
            (
                "every row padded, logits everywhere",
                cpu_seconds(lambda: (policy.model.zero_grad(), naive_gradient(policy, rows))),
            ),
            (
                "learner, separate rows, head on completion tokens",
                cpu_seconds(ours(rows, prompt_once=False)),
            ),
            ("learner, prompt once", cpu_seconds(ours(rows))),
            ("learner, prompt once, half of the groups dead", cpu_seconds(ours(dead))),
        ],
    )


if __name__ == "__main__":
    main()
