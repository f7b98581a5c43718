"""A GRPO step of the local engine beside TRL's GRPOTrainer: the same random policy, prompts and
forced completion lengths; one torch thread; CPU seconds and peak memory.

Both run a process of their own a cell, so that neither's memory is the other's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

import torch

from benchmarks.measure import Result, forget_peak, gemm_gflops, machine, once, peak
from benchmarks.models import make_folder, make_policy, make_prompts, make_tokenizer

PROMPTS = 4
SHAPES = [(512, 64), (128, 48), (64, 256)]  # tokens of prompt and completion
FULL = [
    *[("qwen2", 8, shape) for shape in SHAPES],
    *[("qwen2", 16, shape) for shape in SHAPES],
    ("llama", 8, (128, 48)),
    ("qwen3", 8, (128, 48)),
]
QUICK = [("qwen2", 2, (16, 8))]


def run(quick: bool = False) -> Result:
    """One line a cell: architecture, group size, prompt and completion tokens."""
    gflops = gemm_gflops()
    rows = []
    for architecture, group, (prompt, completion) in QUICK if quick else FULL:
        cell = (architecture, str(group), str(prompt), str(completion))
        ours, trl = (_in_a_process(side, *cell) for side in ("ours", "trl"))
        floor = ours["floor_gflop"] / gflops
        rows.append(
            {
                "policy": architecture,
                "G": group,
                "prompt": prompt,
                "completion": completion,
                "ours s": ours["step"],
                "TRL s": trl["step"],
                "TRL / ours": trl["step"] / ours["step"],
                "sampling, ours s": ours["sampling"],
                "sampling, TRL s": trl["sampling"],
                "update, ours s": ours["step"] - ours["sampling"],
                "update, TRL s": trl["step"] - trl["sampling"],
                "floor of the update s": floor,
                "memory ours / TRL": ours["memory"] / trl["memory"],
            }
        )
    about = (
        f"A GRPO step of {PROMPTS} prompts x G completions, 4.2 M parameters, float32, one thread,"
        " CPU seconds, median of 3 steps after one. Memory: peak above what was resident before"
        " the first step. Floor: 6 x parameters x tokens an update must run, at the machine's"
        " speed of float32 products"
    )
    return Result("trl_step", about, rows, machine())


def _in_a_process(side: str, *cell: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.trl_step", side, *cell]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def ours(architecture: str, group: int, prompt: int, completion: int) -> dict[str, float]:
    """Seconds of a step and of its sampling, MiB, and what an update must compute at least."""
    from sage_bench.config.schema import OptimConfig
    from sage_bench.engines.local.engine import LocalEngine
    from sage_bench.methods.objective import Objective
    from sage_bench.types import Row, Sample, Sampling

    policy = make_policy(architecture)
    policy.eos_ids = frozenset({-1})  # no token is this one: all completions have full length
    engine = LocalEngine(policy, OptimConfig(lr=1e-6))
    prompts = make_prompts(PROMPTS, prompt)
    generator = torch.Generator().manual_seed(0)
    before = forget_peak()
    steps, sampling = [], []
    for number in range(4):
        asks: list[Any] = [
            Sample(p, group, Sampling(1.0, 1.0, completion), key=(number, i))
            for i, p in enumerate(prompts)
        ]
        began = time.process_time()
        answers: Any = engine.run(asks)
        sampling.append(time.process_time() - began)
        rows = []
        for i, completions in enumerate(answers):
            rewards = torch.rand(group, generator=generator)
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
            for c, advantage in zip(completions, advantages, strict=True):
                broadcast = advantage.expand(len(c.tokens))
                rows.append(Row(prompts[i], c.tokens, broadcast, str(i), sampler_logp=c.logp))
        engine.update(rows, Objective())
        steps.append(time.process_time() - began)
    head = policy.model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in policy.model.parameters()) - head  # the head is tied to the input
    scored = PROMPTS * group * completion
    floor = 6 * body * (PROMPTS * prompt + scored) + 6 * head * scored
    return {
        "step": median(steps[1:]),
        "sampling": median(sampling[1:]),
        "memory": peak() - before,
        "floor_gflop": floor / 1e9,
    }


def trl(architecture: str, group: int, prompt: int, completion: int) -> dict[str, float]:
    """The same of TRL's own trainer, as it comes."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: dict[str, list[float]] = {"step": [], "sampling": []}

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers has no types
        """Notes when steps begin and end."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds["step"].append(time.process_time() - self.began)

    def reward(completions: list[str], **_: Any) -> list[float]:
        return torch.rand(len(completions)).tolist()

    texts = [" ".join(f"w{i}" for i in ids) for ids in make_prompts(PROMPTS, prompt)]
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
            callbacks=[Clock()],
        )
        generate = trainer._generate

        def timed(*args: Any) -> Any:
            answer: list[Any] = []
            seconds["sampling"].append(once(lambda: answer.append(generate(*args))))
            return answer[0]

        trainer._generate = timed
        before = forget_peak()
        trainer.train()
    return {
        "step": median(seconds["step"][1:]),
        "sampling": median(seconds["sampling"][1:]),
        "memory": peak() - before,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    side, architecture, *sizes = sys.argv[1:]
    measured = {"ours": ours, "trl": trl}[side]
    print(json.dumps(measured(architecture, *map(int, sizes))))
