"""What bfloat16 weights change: log-probabilities of the same completions, and the gradient, beside
float32. No times: those are in `learning`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Result, machine
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.policy import Policy, load_policy
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.prompts import Renderer
from sage_bench.methods.objective import Objective
from sage_bench.types import Row, Sample, Sampling

POLICIES = ("llama", "qwen2", "qwen3")  # trained ones: random weights have no opinions to round
QUESTIONS = ("3*9+6-4*7", "7*8-5+2*6-1", "6*6+9-8*3", "2-1+4*4*9", "5*5-3+8*8", "9*9+9-7*6")
GROUP = 8


def run(quick: bool = False) -> Result:
    """One line a policy."""
    torch.set_num_threads(1)
    rows = [compared(name) for name in (POLICIES[:1] if quick else POLICIES)]
    about = (
        f"bfloat16 beside float32, packaged policies, {len(QUESTIONS)} prompts of {GROUP}"
        " completions drawn in float32: how far log-probabilities of their tokens move, in nats,"
        " and where the gradient of random advantages points; `python -m benchmarks rounding`"
    )
    return Result("rounding", about, rows, machine())


def compared(name: str) -> dict[str, Any]:
    policy = load_policy(model_path(f"package:data/tiny_policies/{name}"), device="cpu")
    rounded = Policy(copy.deepcopy(policy.model).to(torch.bfloat16), policy.tokenizer, policy.path)
    rows = drawn(policy)
    pairs = [(row.prompt, row.tokens) for row in rows]
    with torch.no_grad():
        moved = (log_probs(rounded, pairs)[0] - log_probs(policy, pairs)[0]).abs().double()
    full, half = gradient(policy, rows), gradient(rounded, rows)
    return {
        "policy": f"tiny-{name}",
        "tokens": len(moved),
        "moved, mean": float(moved.mean()),
        "moved, 99 %": float(moved.quantile(0.99)),
        "moved, most": float(moved.max()),
        "gradient, cosine": float(torch.cosine_similarity(full, half, dim=0)),
        "gradient, length / float32's": float(half.norm() / full.norm()),
    }


def drawn(policy: Policy) -> list[Row]:
    """Completions with random advantages."""
    renderer = Renderer(policy.tokenizer)
    prompts = [renderer.answer(question) for question in QUESTIONS for _ in range(GROUP)]
    params = Sampling(1.0, 1.0, 64)
    completions = Decoder(policy).draw(
        [Sample(p, 1, params, seed=i) for i, p in enumerate(prompts)]
    )
    advantages = torch.randn(len(prompts), generator=torch.Generator().manual_seed(0))
    return [
        Row(prompt, c.tokens, a.repeat(len(c.tokens)), str(i // GROUP))
        for i, (prompt, c, a) in enumerate(zip(prompts, completions, advantages, strict=True))
    ]


def gradient(policy: Policy, rows: list[Row]) -> Tensor:
    policy.model.zero_grad()
    Learner(policy, OptimConfig()).gradient(rows, Objective())
    parts = [p.grad for p in policy.model.parameters() if p.grad is not None]
    return torch.cat([part.flatten().double() for part in parts])
