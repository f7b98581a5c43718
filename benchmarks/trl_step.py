"""A GRPO step of the local engine beside TRL's GRPOTrainer: the same random policy, prompts and
forced completion lengths; one torch thread; CPU seconds and peak memory.

Both run a process of their own a cell, so that neither's memory is the other's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import torch

from benchmarks.measure import (
    Clock,
    Result,
    forget_peak,
    gemm_gflops,
    in_a_process,
    machine,
    peak,
)
from benchmarks.models import make_folder, make_policy, make_prompts, make_tokenizer

PROMPTS = 4
RANK = 16  # of the adapters
SHAPES = [(512, 64), (128, 48), (64, 256)]  # tokens of prompt and completion
FULL = [
    *[("qwen2", "all", 8, shape) for shape in SHAPES],
    *[("qwen2", "all", 16, shape) for shape in SHAPES],
    ("llama", "all", 8, (128, 48)),
    ("qwen3", "all", 8, (128, 48)),
    ("qwen2", "adapters", 8, (128, 48)),
]
QUICK = [("qwen2", "all", 2, (16, 8)), ("qwen2", "adapters", 2, (16, 8))]
# how often every token's products are computed; adapters leave the gradients of the weights out
PRODUCTS = {"sampling": 2, "forward": 2, "backward": 4}
PARTS = (*PRODUCTS, "optimiser")


def run(quick: bool = False) -> Result:
    """A line for the step and one for each part of every cell: architecture, weights that learn,
    group size, tokens."""
    gflops = gemm_gflops()
    rows: list[dict[str, Any]] = []
    for architecture, learns, group, (prompt, completion) in QUICK if quick else FULL:
        cell = (architecture, learns, str(group), str(prompt), str(completion))
        ours, trl = (in_a_process("benchmarks.trl_step", side, *cell) for side in ("ours", "trl"))
        for part in ("step", *PRODUCTS, "optimiser"):
            rows.append(
                {
                    "policy": architecture,
                    "learns": learns,
                    "G": group,
                    "prompt": prompt,
                    "completion": completion,
                    "what": part,
                    "ours s": ours[part],
                    "TRL s": trl[part],
                    "TRL / ours": trl[part] / ours[part],
                    "floor s": ours[f"floor {part}"] / gflops if part != "optimiser" else None,
                    "memory ours / TRL": (
                        ours["memory"] / trl["memory"] if part == "step" else None
                    ),
                }
            )
    about = (
        f"A GRPO step of {PROMPTS} prompts x G completions, 4.9 M parameters, float32, one thread,"
        " CPU seconds, median of 3 steps after one. Memory: peak above what was resident before"
        " the first step. Floor: the products of every token, none twice, at the machine's speed of"
        " large float32 products. Optimiser: TRL's without the norm of the gradient"
    )
    return Result("trl_step", about, rows, machine())


def ours(
    architecture: str,
    learns: str,
    group: int,
    prompt: int,
    completion: int,
    size: str = "5M",
    vocabulary: int = 8000,
) -> dict[str, float]:
    """Seconds of a step and of its parts, MiB, and what a step must compute at least."""
    from sage_bench.config.schema import OptimConfig
    from sage_bench.engines.local.engine import LocalEngine
    from sage_bench.generation import adapters
    from sage_bench.methods.objective import Objective
    from sage_bench.types import Row, Sample, Sampling

    policy = make_policy(architecture, size, vocabulary)
    policy.eos_ids = frozenset({-1})  # no token is this one: all completions have full length
    if learns == "adapters":
        adapters.add(policy.model, rank=RANK, alpha=32, targets=adapters.ALL, dropout=0.0, seed=0)
    engine = LocalEngine(policy, OptimConfig(lr=1e-6))
    prompts = make_prompts(PROMPTS, prompt)
    generator = torch.Generator().manual_seed(0)
    clock = Clock()
    clock.part("sampling", engine, "run")
    clock.part("forward", engine.learner, "_loss")
    clock.part("backward", torch.autograd, "backward")
    clock.part("optimiser", engine.learner.optim, "step")
    before = forget_peak()
    for number in range(4):
        asks: list[Any] = [
            Sample(p, group, Sampling(1.0, 1.0, completion), key=(number, i))
            for i, p in enumerate(prompts)
        ]
        clock.begin()
        answers: Any = engine.run(asks)
        rows = []
        for i, completions in enumerate(answers):
            rewards = torch.rand(group, generator=generator)
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
            for c, advantage in zip(completions, advantages, strict=True):
                broadcast = advantage.expand(len(c.tokens))
                rows.append(Row(prompts[i], c.tokens, broadcast, str(i), sampler_logp=c.logp))
        engine.update(rows, Objective())
        clock.end()
    # the head is tied to the input
    head = policy.model.get_input_embeddings().weight.numel()
    parameters = sum(p.numel() for p in policy.model.parameters())
    body = parameters - head
    drawn = PROMPTS * group * completion
    once = (body * (PROMPTS * prompt + drawn) + head * drawn) / 1e9
    floors = {f"floor {part}": times * once for part, times in PRODUCTS.items()}
    if learns == "adapters":
        floors["floor backward"] = 2 * once
    return {
        "step": clock.median(),
        **{part: clock.median(part) for part in PARTS},
        "memory": peak() - before,
        **floors,
        "floor step": sum(floors.values()),
        "millions": parameters / 1e6,
    }


def trl(
    architecture: str, learns: str, group: int, prompt: int, completion: int
) -> dict[str, float]:
    """The same of TRL's own trainer, as it comes."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    clock = Clock()

    class Steps(TrainerCallback):  # type: ignore[misc]  # transformers has no types
        """Tells the clock when steps begin and end."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.end()

    def reward(completions: list[str], **_: Any) -> list[float]:
        return torch.rand(len(completions)).tolist()

    extra: dict[str, Any] = {}
    if learns == "adapters":
        from peft import LoraConfig

        extra["peft_config"] = LoraConfig(r=RANK, lora_alpha=32, target_modules="all-linear")
    texts = [" ".join(f"w{i}" for i in ids) for ids in make_prompts(PROMPTS, prompt)]
    clock.part("optimiser", torch.optim.AdamW, "step")
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=PROMPTS * group,
            num_generations=group,
            max_completion_length=completion,
            generation_kwargs={"min_new_tokens": completion},
            max_steps=4,
            learning_rate=1e-6,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=str(make_folder(architecture)),
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=make_tokenizer(),
            callbacks=[Steps()],
            **extra,
        )
        clock.part("sampling", trainer, "_generate")
        clock.part("forward", trainer, "_compute_loss")
        clock.part("backward", trainer.accelerator, "backward")
        before = forget_peak()
        trainer.train()
    return {
        "step": clock.median(),
        **{part: clock.median(part) for part in PARTS},
        "memory": peak() - before,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    side, architecture, learns, *sizes = sys.argv[1:]
    measured = {"ours": ours, "trl": trl}[side]
    print(json.dumps(measured(architecture, learns, *map(int, sizes))))
