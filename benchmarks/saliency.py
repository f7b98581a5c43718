"""What OAR-P's cap on perturbed copies costs in accuracy: each way against all positions.

    python benchmarks/saliency.py --problems 60
    python benchmarks/saliency.py --problems 20 --seeds 3

Samples the packaged policy's responses to problems of the tiny world, takes the saliency of every
token of those that state an answer, and prints for each cap and way the copies read, the mean
correlation with all positions, and how often the most important token is among those with the
highest value.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from sage_bench.backends.oar.saliency import Saliency, perturbation_saliency
from sage_bench.backends.oar.spans import answer_span
from sage_bench.data.registry import DATASETS
from sage_bench.generation.local.policy import Policy, load_policy
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.prompts import Renderer
from sage_bench.generation.samplers.hf import Hf
from sage_bench.types import Sample, Sampling

CAPS = (8, 12, 16, 24)


def spans(policy: Policy, problems: int, seed: int = 0) -> list[Saliency]:
    """One request a response with an answer, all positions. seed: of the responses."""
    renderer = Renderer(policy.tokenizer)
    rows = [row for row, _ in zip(DATASETS.get("tiny")(), range(problems), strict=False)]
    prompts = [renderer.answer(row["question"]) for row in rows]
    units = [
        unit
        for i, prompt in enumerate(prompts)
        for unit in Sample(prompt, 2, Sampling(max_tokens=96), key=("saliency", i)).units(seed)
    ]
    found = []
    for unit, completion in zip(units, Hf.of(policy).complete(units), strict=True):
        text = policy.tokenizer.decode
        span = answer_span(completion.tokens, lambda ids: text(list(ids), skip_special_tokens=True))
        if span is None or len(span.reasoning) <= max(CAPS):
            continue
        mask = policy.tokenizer.pad_token_id
        found.append(
            Saliency(
                unit.prompt,
                span.reasoning,
                span.bridge,
                span.target,
                "perturb",
                "last",
                mask=mask,
            )
        )
    return found


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    if float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def compare(policy: Policy, asks: Sequence[Saliency]) -> None:
    began = time.perf_counter()
    whole = [perturbation_saliency(policy, ask) for ask in asks]
    seconds = (time.perf_counter() - began) / len(asks)
    tokens = sum(len(ask.tokens) for ask in asks) / len(asks)
    print(
        f"{len(asks)} spans of {tokens:.0f} tokens; all positions: {1000 * seconds:.1f} ms a span"
    )
    print("| way | copies | correlation | most important token found | ms a span |")
    print("|---|---|---|---|---|")
    for search in ("even", "fine"):
        for cap in CAPS:
            began = time.perf_counter()
            some = [
                perturbation_saliency(policy, replace(ask, positions=cap, search=search))
                for ask in asks
            ]
            spent = 1000 * (time.perf_counter() - began) / len(asks)
            both = list(zip(whole, some, strict=True))
            mean = sum(correlation(a, b) for a, b in both) / len(both)
            hits = sum(bool(b[a.argmax()] == b.max()) for a, b in both) / len(both)
            print(f"| {search} | {cap} | {mean:.2f} | {hits:.0%} | {spent:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=1, help="of the responses; a table each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_policy(model_path("package:data/tiny_policies/llama"), device="cpu")
    for seed in range(options.seeds):
        print(f"seed {seed}:")
        compare(policy, spans(policy, options.problems, seed))


if __name__ == "__main__":
    main()
