"""Do the engines `local` and `trl` draw the same groups and take the same gradients?

    python scripts/engine_conformance.py
    torchrun --standalone --nproc-per-node 2 scripts/engine_conformance.py
    python scripts/engine_conformance.py engine.lora.rank=4

For every backend, and for every kind of row and mean: problems of the tiny world are rolled out by
both engines from the same seeds, and the rows of the local one get their gradient from both. Prints
a table, on rank 0; exits with 1 where groups differ, or gradients by more than 1e-5 of their norm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from sage_bench.api.settings import training_config
from sage_bench.engines.base import RolloutBatch, Stats, TrainingProgram
from sage_bench.engines.local.learner import PLAIN, Learner
from sage_bench.engines.ranks import ranks_of
from sage_bench.engines.trl.engine import TrlEngine
from sage_bench.generation import adapters
from sage_bench.methods.driver import collect
from sage_bench.methods.objective import Objective
from sage_bench.methods.registry import BACKENDS
from sage_bench.training import setup
from sage_bench.training.batches import batch_of
from sage_bench.training.session import Run
from sage_bench.training.sharing import rolled_by_all
from sage_bench.types import Kind, Row

MOST = 1e-5
WORDS = (
    "train.steps=1 train.prompts_per_step=6 train.updates_per_step=1"
    " optim.lr=1e-30 optim.weight_decay=0 optim.grad_clip=1e9"
    " engine.micro_tokens=1024 train.allow_degraded=true validation.source=null log.kl_rows=0"
).split()
MEANS = ("token-mean", "seq-mean", "micro-batch token-mean", "constant")


class Capture(TrainerCallback):
    """Keeps the gradient TRL is about to apply."""

    def __init__(self) -> None:
        self.gradient = torch.zeros(0)

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **now: Any) -> None:
        self.gradient = flat(model)


def flat(model: Any) -> Tensor:
    """The gradient of what learns."""
    parts = []
    for parameter in (p for p in model.parameters() if p.requires_grad):
        gradient = parameter.grad
        parts.append((torch.zeros_like(parameter) if gradient is None else gradient).flatten())
    return torch.cat(parts).detach().clone()


def build(backend: str, engine: str, model: str, words: Sequence[str]) -> Run:
    resolved = training_config(
        backend=backend,
        model=model,
        data="tiny",
        engine=engine,
        configs=[],
        overrides=[*WORDS, *words],
        backend_files=[],
    )
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    run = setup.build(resolved, folder, quiet=True)
    stir(run.engine.policy.model)  # type: ignore[attr-defined]
    return run


@torch.no_grad()
def stir(model: Any, seed: int = 0) -> None:
    """Adapters as if they had learned something: fresh ones have no gradient on their A."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in adapters.layers(model):
        weight = layer.lora_B["default"].weight
        weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))


def rolled(run: Run, engine: Any) -> list[Row]:
    problems = batch_of(run.data.problems, 0, run.config.train.prompts_per_step, seed=0)

    def roll(mine: Sequence[Any]) -> list[Any]:
        return collect(run.method, mine, engine)

    items = rolled_by_all(ranks_of(engine), run.method, run.context, problems, roll)
    return [row for item in items for row in item.rows]


def moved(rows: Sequence[Row], seed: int = 0) -> list[Row]:
    """The rows as a later optimiser step sees them: ratios off 1, some beyond the clip. Groups
    without an advantage get one: there would be nothing to compare."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for row in rows:
        if row.kind == Kind.PG and row.sampler_logp is not None:
            noise = 0.2 * torch.randn(len(row.tokens), generator=generator)
            row = replace(row, old_logp=row.sampler_logp + noise)
        if not bool((row.advantage != 0).any()):
            row = replace(
                row, advantage=torch.randn(1, generator=generator).expand(len(row.tokens))
            )
        out.append(row)
    return out


def random_rows(kinds: Sequence[Kind]) -> list[Row]:
    """Ragged rows of random tokens; the last group is dead."""
    generator = torch.Generator().manual_seed(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(6, 60, (count,), generator=generator).tolist())

    rows = []
    for i in range(5):
        prompt = ids(5 + 3 * i)
        for k in range(3):
            count = int(torch.randint(1, 14, (1,), generator=generator))
            advantage = torch.randn(count, generator=generator) * (i < 4)
            kind = kinds[(i + k) % len(kinds)]
            old = -4 * torch.rand(count, generator=generator) if k and kind == Kind.PG else None
            rows.append(Row(prompt, ids(count), advantage, f"g{i}", kind, old_logp=old))
    return rows


def batches(
    model: str, words: Sequence[str], trl: TrlEngine
) -> Iterator[tuple[str, str, bool, RolloutBatch, Learner]]:
    """(name, kinds, same groups, batch, local learner) of every case."""
    learner = None
    for backend in BACKENDS.names():
        run = build(backend, "local", model, words)
        rows = rolled(run, run.engine)
        # a method of its own: some remember what they rolled out
        again = rolled(build(backend, "local", model, words), trl)
        same = [(r.prompt, r.tokens) for r in rows] == [(r.prompt, r.tokens) for r in again]
        kinds = ", ".join(sorted({row.kind.name for row in rows}))
        learner = run.engine.learner  # type: ignore[attr-defined]
        batch = RolloutBatch(moved(rows), run.config.objective, run.method)
        yield backend, kinds, same, batch, learner
    assert learner is not None
    for kind in Kind:
        batch = RolloutBatch(random_rows([kind]), Objective(), PLAIN)
        yield f"rows of kind {kind.name}", kind.name, True, batch, learner
    for mean in MEANS:
        objective = Objective(aggregation=mean, constant_length=32, entropy_coef=0.01)
        batch = RolloutBatch(random_rows(list(Kind)), objective, PLAIN)
        yield f"{mean}, entropy bonus", "all", True, batch, learner


def program(
    cases: Iterator[tuple[str, str, bool, RolloutBatch, Learner]],
    capture: Capture,
    table: list[Any],
) -> TrainingProgram:
    for name, kinds, same, batch, learner in cases:
        learner.policy.model.zero_grad()
        learner.gradient(batch.rows, batch.objective, hooks=batch.hooks)
        ours = flat(learner.policy.model)
        stats: Stats = yield batch
        distance = float((capture.gradient - ours).norm() / ours.norm().clamp(min=1e-12))
        table.append((name, kinds, len(batch.rows), int(stats["trained_rows"]), same, distance))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-qwen2", help="preset or folder of a small policy")
    parser.add_argument("words", nargs="*", metavar="key=value", help="such as engine.lora.rank=4")
    given = parser.parse_args()
    model, words = given.model, given.words
    run = build("grpo", "trl", model, words)
    trl = run.engine
    assert isinstance(trl, TrlEngine)
    # more optimiser steps than a run of one step has
    trl.trainer.args.max_steps = 1000
    capture, table = Capture(), []
    trl.trainer.add_callback(capture)
    trl.follow(program(batches(model, words, trl), capture, table))
    trl.ranks.close()
    if not trl.ranks.first:
        return 0
    with_words = "".join(f" {word}" for word in words)
    print(
        f"engine trl, {trl.ranks.size} processes, against engine local; model {model}{with_words}"
    )
    print(f"{'case':34} {'kinds':10} {'rows':>5} {'live':>5} {'same groups':>12} {'relative':>10}")
    for name, kinds, rows, live, same, distance in table:
        shown = "yes" if same else "NO"
        print(f"{name:34} {kinds:10} {rows:5} {live:5} {shown:>12} {distance:10.1e}")
    return int(any(not same or not distance < MOST for *_, same, distance in table))


if __name__ == "__main__":
    sys.exit(main())
