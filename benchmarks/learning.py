"""The learner beside the machine's own limit and beside straightforward code, and what groups
without an advantage cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import Result, cpu_seconds, gemm_gflops, machine
from benchmarks.models import PAD, make_policy, make_prompts
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import pad_left
from sage_bench.methods.objective import Objective
from sage_bench.types import Row

PROMPTS, GROUP = 10, 4


def run(quick: bool = False) -> Result:
    """One line a size of policy and way to take the gradient."""
    gflops = gemm_gflops()
    rows: list[dict[str, Any]] = []
    shape = (16, 8) if quick else (128, 128)
    for size in ("5M",) if quick else ("5M", "50M"):
        policy = make_policy("qwen2", size)
        batch = make_rows(*shape)
        floor = floor_gflop(policy, batch) / gflops
        naive = cpu_seconds(lambda: padded_gradient(policy, batch), 2)
        found = [("every row padded, logits everywhere", naive)]
        found += [(name, cpu_seconds(work, 2)) for name, work in ways(policy, batch)]
        policy.model.to(torch.bfloat16)
        name, work = ways(policy, batch)[1]
        found.append((f"{name}, bfloat16", cpu_seconds(work, 2)))
        for name, seconds in found:
            rows.append(
                {
                    "parameters": size,
                    "what": name,
                    "CPU s": seconds,
                    "padded / this": naive / seconds,
                    "share of the machine's speed": floor / seconds,
                }
            )
    about = (
        f"Gradient of {PROMPTS} groups of {GROUP} rows, prompts of {shape[0]} tokens, completions"
        f" of {shape[1] // 2} to {shape[1]}; float32 where nothing else is said, one thread. Share"
        " of the speed: products of the tokens without padding and each prompt once, all groups"
        " alive, at what one thread multiplies in float32"
    )
    return Result("learning", about, rows, machine())


def make_rows(prompt: int, completion: int) -> list[Row]:
    """Rows of uneven length with random advantages, as an update has them."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i, ids in enumerate(make_prompts(PROMPTS, prompt)):
        for _ in range(GROUP):
            n = int(torch.randint(completion // 2, completion + 1, (1,), generator=generator))
            tokens = torch.randint(2, 8000, (n,), generator=generator)
            advantage = torch.randn(n, generator=generator)
            rows.append(Row(ids, tuple(tokens.tolist()), advantage, str(i)))
    return rows


def floor_gflop(policy: Policy, rows: list[Row]) -> float:
    """Forward and backward of every distinct prompt once and every completion token."""
    head = policy.model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in policy.model.parameters()) - head
    completion = sum(len(row.tokens) for row in rows)
    prompt = sum(len(p) for p in {row.prompt for row in rows})
    return 6 * (body * (prompt + completion) + head * completion) / 1e9


def padded_gradient(policy: Policy, rows: list[Row]) -> None:
    """What a straightforward trainer does: every row padded, logits of every position."""
    policy.model.zero_grad()
    ids, mask = pad_left([r.prompt + r.tokens for r in rows], PAD, policy.device)
    logits = policy.model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logp = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    total = sum(-(logp[i, -len(r.tokens) :] * r.advantage).sum() for i, r in enumerate(rows))
    (total / sum(len(r.tokens) for r in rows)).backward()


def ways(policy: Policy, rows: list[Row]) -> list[tuple[str, Callable[[], object]]]:
    """The learner with and without what it saves."""

    def learner(rows: list[Row], **options: Any) -> Callable[[], object]:
        made = Learner(policy, OptimConfig(), **options)

        def work() -> None:
            policy.model.zero_grad()
            made.gradient(rows, Objective())

        return work

    return [
        ("learner, separate rows", learner(rows, prompt_once=False)),
        ("learner, prompt once", learner(rows)),
        ("learner, half of the groups dead", learner(with_dead(rows, PROMPTS // 2))),
        ("learner, 9 of 10 groups dead", learner(with_dead(rows, 9 * PROMPTS // 10))),
    ]


def with_dead(rows: list[Row], groups: int) -> list[Row]:
    """The same rows, the first so many groups as if their rewards had been equal."""
    return [
        Row(r.prompt, r.tokens, torch.zeros(len(r.tokens)), r.group) if int(r.group) < groups else r
        for r in rows
    ]
