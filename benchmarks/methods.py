"""What a step of each method costs relative to GRPO, in CPU-seconds, side by side in one run.

The policy is one in the middle of its training (20 steps of SAGE from a tiny policy, then frozen),
the prompts are training prompts of which a share is seldom or never solved in four groups of 8, the
others mostly. `dead rows too` is GRPO as most trainers run it: the update runs groups
without an advantage as well; ours skips them, at the same gradient.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Result, machine
from sage_bench.api.settings import training_config
from sage_bench.methods.driver import collect
from sage_bench.training import loop, setup
from sage_bench.training.session import Run
from sage_bench.types import Problem

MODEL = "tiny-llama"
PLAIN, USUAL = "grpo", "grpo, dead rows too"
GROWING = [PLAIN, USUAL, "sage", "sage, one level"]
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "grpo": ("grpo", []),
    "grpo, dead rows too": ("grpo", ["engine.skip_dead=false"]),
    "sage": ("sage", []),
    "sage, one level": ("sage", ["method.fixed_level=3"]),
    "sage, one call": ("sage", ["method.hint_calls=one"]),
    "sage, speculative": ("sage", ["method.probe=speculative"]),
    "sage_light": ("sage_light", []),
    "sgpo, reference judge": ("sgpo", ["method.judge_share=1"]),
    "hint": ("hint", []),
    "oar_g": ("oar_g", []),
    "oar_p, 12 positions": ("oar_p", ["method.positions=12"]),
    "oar_p, all positions": ("oar_p", []),
    "luffy": ("luffy", []),
    "scaf_grpo": ("scaf_grpo", ["method.exempt_share=0"]),
}


@dataclass
class Cost:
    """What the steps of one method cost, one number a step.

    roll, update: CPU-seconds, of rolling out with hints, judging and probing in it. rollouts:
    completions. trained: tokens with an advantage.
    """

    run: Run
    roll: list[float] = field(default_factory=list)
    update: list[float] = field(default_factory=list)
    rollouts: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)

    def step(self, number: int) -> float:
        """Runs one step; returns the share of prompts whose first group failed."""
        run = self.run
        run.context.step = number
        run.context.progress = 0.5
        run.context.events.clear()
        run.context.trail.clear()
        began = time.process_time()
        items = collect(run.method, run.data.problems, run.engine, step=number)
        rolled = time.process_time()
        run.engine.update([row for item in items for row in item.rows], run.config.objective)
        self.roll.append(rolled - began)
        self.update.append(time.process_time() - rolled)
        self.rollouts.append(sum(i.usage.rollouts for i in items))
        trained = 0
        for item in items:
            # rows without an advantage are skipped by the learner: they cost nothing
            trained += sum(len(r.tokens) for r in item.rows if bool((r.advantage != 0).any()))
        self.trained.append(trained)
        first = [trail[0].reward for trail in run.context.trail.values() if trail]
        return sum(r == 0 for r in first) / len(first)


def build(backend: str, model: str, data: str, out: Path, *words: str) -> Run:
    """A training run with its method, engine and data, ready to step."""
    config = training_config(
        backend=backend,
        model=model,
        data=data,
        engine=None,
        configs=[],
        backend_files=[],
        overrides=["log.kl_rows=0", "log.tensorboard=false", "validation.source=null", *words],
    )
    return setup.build(config, out, quiet=True)


def some_failing(run: Run, prompts: int, share: float) -> list[Problem]:
    """`prompts` training problems: this share of them the least often solved in four groups of 8,
    the others the most often."""
    solved: Counter[str] = Counter()
    for step in range(4):
        items = collect(run.method, run.data.problems, run.engine, step=10_000 + step)
        solved.update(i.group.problem.uid for i in items if i.group.solved)
    ordered = sorted(run.data.problems, key=lambda p: solved[p.uid])
    failing = round(prompts * share)
    return ordered[:failing] + ordered[len(ordered) - prompts + failing :]


def as_row(p: Problem) -> dict[str, Any]:
    """A problem as a row of a data file."""
    row = {"uid": p.uid, "question": p.question, "answer": p.answer, "solution": p.solution}
    return {**row, **p.extra}


def run(quick: bool = False) -> Result:
    """One line a variant and share of failing prompts: all variants at a third, GRPO and SAGE at
    none, two thirds and all."""
    steps, warm, prompts = (1, 1, 4) if quick else (6, 20, 24)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        first = build("sage", MODEL, "tiny", out / "warm", f"train.steps={warm}")
        policy = str(loop.train(first))
        for share in (1.0,) if quick else (0.0, 1 / 3, 2 / 3, 1.0):
            names = list(VARIANTS) if share == 1 / 3 else GROWING
            probe = build("grpo", policy, "tiny", out / f"probe{share:.2f}")
            data = out / f"problems{share:.2f}.jsonl"
            chosen = some_failing(probe, prompts, share)
            data.write_text("".join(json.dumps(as_row(p)) + "\n" for p in chosen))
            rows += measured(names, policy, data, prompts, steps, out / f"runs{share:.2f}")
    about = (
        f"A step of each method on {MODEL} after {warm} steps of SAGE, {prompts} prompts x 8, CPU"
        f" seconds, median of {steps} steps. failing: prompts whose first group failed. GRPO, dead"
        " rows too: GRPO as most trainers run it, the update runs groups without an advantage"
    )
    return Result("methods", about, rows, machine())


def measured(
    names: Sequence[str], policy: str, data: Path, prompts: int, steps: int, out: Path
) -> list[dict[str, Any]]:
    """The variants take turns, so that whatever else the machine does falls on all of them."""
    frozen = ["optim.lr=1e-12", f"train.prompts_per_step={prompts}", "train.steps=1000"]
    costs: dict[str, Cost] = {}
    for i, name in enumerate(names):
        backend, words = VARIANTS[name]
        costs[name] = Cost(build(backend, policy, str(data), out / str(i), *frozen, *words))
    failing: dict[str, list[float]] = {name: [] for name in costs}
    for number in range(steps + 2):
        for name, cost in costs.items():
            failing[name].append(cost.step(number))
    rows = []
    for name, cost in costs.items():
        roll, update = mid(cost.roll), mid(cost.update)
        rows.append(
            {
                "failing": mid(failing[name]),
                "method": name,
                "rollouts": int(mid(cost.rollouts)),
                "trained tokens": int(mid(cost.trained)),
                "rollout s": roll,
                "update s": update,
                "step s": roll + update,
            }
        )
    for base in (PLAIN, USUAL):
        of = next(row["step s"] for row in rows if row["method"] == base)
        for row in rows:
            row[f"step, {base} = 1"] = row["step s"] / of
    return rows


def mid(values: Sequence[float]) -> float:
    """The median step; the first two warm caches up."""
    return median(values[2:])
