"""What a step of each method costs relative to GRPO, in CPU-seconds, side by side in one run.

The policy is one in the middle of its training (`--warm` steps of SAGE from a tiny policy, then
frozen), the prompts are training prompts of which a third failed in 32 samples (the others were
solved in each of four groups of 8). The methods take turns, so that whatever else the machine does
falls on all of them. `dead rows too` is GRPO as most trainers run it: the update forwards groups
without an advantage as well; ours skips them, at the same gradient.

    python benchmarks/methods.py
    python benchmarks/methods.py --warm 12 --steps 20 --methods sage,oar_g
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from sage_bench.cli.common import quiet_libraries

# the libraries read the environment when they are imported, so this stands before them
quiet_libraries()

from sage_bench.api.settings import training_config  # noqa: E402
from sage_bench.methods.driver import collect  # noqa: E402
from sage_bench.training import loop, setup  # noqa: E402
from sage_bench.training.session import Run  # noqa: E402
from sage_bench.types import Problem  # noqa: E402

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


def a_third_failing(run: Run, prompts: int) -> list[Problem]:
    """`prompts` training problems of which a third always failed.

    They failed in each of four groups of 8; the others were solved in each.
    """
    solved: Counter[str] = Counter()
    for step in range(4):
        items = collect(run.method, run.data.problems, run.engine, step=10_000 + step)
        solved.update(i.group.problem.uid for i in items if i.group.solved)
    never = [p for p in run.data.problems if not solved[p.uid]]
    always = [p for p in run.data.problems if solved[p.uid] == 4]
    third = round(prompts / 3)
    if len(never) < third or len(always) < prompts - third:
        raise SystemExit(
            f"{len(never)} prompts always fail and {len(always)} never do after these warm-up"
            " steps; change --warm or --prompts"
        )
    return never[:third] + always[: prompts - third]


def as_row(p: Problem) -> dict[str, Any]:
    """A problem as a row of a data file."""
    row = {"uid": p.uid, "question": p.question, "answer": p.answer, "solution": p.solution}
    return {**row, **p.extra}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument(
        "--warm", type=int, default=16, help="steps of SAGE before the policy is frozen"
    )
    parser.add_argument(
        "--steps", type=int, default=10, help="measured steps a method, after two that are not"
    )
    parser.add_argument("--prompts", type=int, default=30, help="prompts a step")
    parser.add_argument(
        "--methods", default="", help="comma-separated parts of names; all by default"
    )
    args = parser.parse_args()
    parts = args.methods.split(",")
    wanted = {}
    for name, variant in VARIANTS.items():
        # grpo is what the others are measured by
        if name.startswith("grpo") or not args.methods or any(part in name for part in parts):
            wanted[name] = variant

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = build("sage", args.model, "tiny", out / "warm", f"train.steps={args.warm}")
        warm = str(loop.train(run))
        chosen = a_third_failing(build("grpo", warm, "tiny", out / "probe"), args.prompts)
        data = out / "problems.jsonl"
        data.write_text("".join(json.dumps(as_row(p)) + "\n" for p in chosen))
        frozen = ["optim.lr=1e-12", f"train.prompts_per_step={args.prompts}", "train.steps=1000"]
        costs = {}
        for i, (name, (backend, words)) in enumerate(wanted.items()):
            run = build(backend, warm, str(data), out / f"run{i}", *frozen, *words)
            costs[name] = Cost(run)
        failing: dict[str, list[float]] = {n: [] for n in costs}
        for number in range(args.steps + 2):
            for name, cost in costs.items():
                failing[name].append(cost.step(number))
        print_table(args, costs, failing)


def mid(values: Sequence[float]) -> float:
    """The median step; the first two warm caches up."""
    return median(values[2:])


def print_table(args: Any, costs: dict[str, Cost], failing: dict[str, list[float]]) -> None:
    """Seconds, ratios to grpo, and what a completion costs."""
    base = costs["grpo"]
    base_roll = mid(base.roll)
    base_total = base_roll + mid(base.update)
    base_rollout = base_total / mid(base.rollouts)
    dead = costs["grpo, dead rows too"]
    usual = mid(dead.roll) + mid(dead.update)
    print(
        f"{args.model} after {args.warm} steps of SAGE, {args.prompts} prompts x 8 a step, median"
        f" of {args.steps} steps, CPU-seconds"
    )
    print(
        "ratios to grpo of its rollout phase and of the whole step; `usual`: to grpo with dead"
        " rows; `a rollout`: whole step by completion sampled"
    )
    print(
        f"{'method':<22} {'failing':>7} {'rollouts':>8} {'trained tokens':>14} {'roll':>7}"
        f" {'update':>7} {'total':>7} | {'roll':>6} {'total':>6} {'usual':>6} {'a rollout':>9}"
    )
    for name, cost in costs.items():
        roll = mid(cost.roll)
        update = mid(cost.update)
        total = roll + update
        per_rollout = total / mid(cost.rollouts) / base_rollout
        print(
            f"{name:<22} {mid(failing[name]):>7.0%} {mid(cost.rollouts):>8.0f}"
            f" {mid(cost.trained):>14.0f} {roll:>7.3f} {update:>7.3f} {total:>7.3f} |"
            f" {roll / base_roll:>6.2f} {total / base_total:>6.2f}"
            f" {total / usual:>6.2f} {per_rollout:>9.2f}"
        )


if __name__ == "__main__":
    main()
