"""The demo: methods from the same start, trained from several seeds, evaluated without hints.

All stop at a fixed budget of steps; GRPO is also trained until it has sampled as much as SAGE.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from sage_bench.reporting.runs import EvalRun, read_eval, read_train
from sage_bench.study.demo_config import EQUAL, MORE, DemoConfig
from sage_bench.study.demo_report import Trained, write
from sage_bench.study.jobs import Job, Jobs
from sage_bench.training.checkpoint import name as step_name
from sage_bench.utils.files import locked, make_folder

MORE_STEPS = 20  # upper limit of its steps, in budgets
START_SAMPLES = 8  # samples a training prompt for the base policy's no-signal share: one group


def run(config: DemoConfig, *, quiet: bool = False) -> str:
    """Train, evaluate, compare; returns the table as Markdown.

    Run again after a kill, it goes on where it was.
    """
    out = make_folder(config.out)
    began = time.monotonic()
    with locked(out):
        # a driver does not survive a fork: with a GPU every job is a Python of its own
        forks = torch.cuda.device_count() == 0
        folders = Jobs(jobs_of(config), out / "logs", quiet=quiet, forks=forks).run()
        start = Path(folders["base on training set"])
        found = trained_by(config, folders)
        return write(config, found, start, time.monotonic() - began)


def trained_by(config: DemoConfig, folders: dict[str, str]) -> dict[str, Trained]:
    """What came of every row of the table, by seed. folders: where each evaluation lies, by job."""

    def evaluation(job: str) -> EvalRun:
        return read_eval(Path(folders[job]))

    rows = {"base": Trained({None: evaluation("eval base")}, {})}
    for method in config.methods:
        rows[method] = Trained(
            {s: evaluation(config.name(f"eval {method}", s)) for s in config.train_seeds},
            {s: read_train(config.folder(method, s)) for s in config.train_seeds},
        )
    if config.equal_for:
        rows[EQUAL] = Trained(
            {s: evaluation(config.name("eval equal", s)) for s in config.equal_for},
            {s: read_train(config.folder("grpo", s)) for s in config.equal_for},
        )
    return rows


def jobs_of(config: DemoConfig) -> list[Job]:
    """The commands of the demo; each is one a user could type.

    Jobs start in this order when they can: the first seed first, because equal rollouts wait for
    it, and in each seed the longest training.
    """
    jobs = []
    for seed in config.train_seeds:
        for method in sorted(config.methods, key=lambda m: m != "sage"):
            words = _train_words(config, method, config.steps, seed)
            weight = 1.0 if method == "grpo" else 1.6
            after = _needs(config, method, seed)
            jobs.append(Job(config.name(f"train {method}", seed), words, after, weight=weight))
        if seed in config.equal_for:
            jobs += _equal_jobs(config, seed)
    jobs.append(Job("eval base", _eval_words(config, config.model, "base"), weight=0.4))
    jobs.append(Job("base on training set", _start_words(config), weight=0.4))
    for seed in config.train_seeds:
        for method in config.methods:
            evaluate: Sequence[str] | Callable[[], Sequence[str]]
            evaluate = _eval_checkpoint(config, method, config.steps, method, seed)
            if _needs(config, method, seed):
                # where it stops is known only when it has stopped
                evaluate = partial(_eval_newest, config, method, seed)
            name = config.name(f"eval {method}", seed)
            after = (config.name(f"train {method}", seed),)
            jobs.append(Job(name, evaluate, after, weight=0.4))
    return jobs


def _needs(config: DemoConfig, method: str, seed: int) -> tuple[str, ...]:
    """grpo_more trains until it has sampled as much as sage: it has to know how much that was."""
    if method == MORE and "sage" in config.methods:
        return (config.name("train sage", seed),)
    return ()


def _train_words(config: DemoConfig, method: str, steps: int, seed: int) -> list[str]:
    words = ["train", "--backend", method]
    for file in config.backend_files:
        words += ["--backend-file", file]
    out = config.folder(method, seed)
    words += ["--model", config.model, "--data", config.data, "--out", str(out)]
    if _needs(config, method, seed):
        like = config.folder("sage", seed)
        words += [f"method.like={like}", f"method.like_steps={steps}"]
        steps *= MORE_STEPS
    return [*words, f"train.steps={steps}", f"train.seed={seed}", *config.overrides]


def _eval_words(config: DemoConfig, model: str, label: str) -> list[str]:
    words = ["eval", "--model", model, "--tasks", config.tasks, "--out", str(config.out / "eval")]
    return [*words, "--label", label, "--threads", "1"]


def _start_words(config: DemoConfig) -> list[str]:
    """The base policy on the training prompts, sampled as in training."""
    words = ["eval", "--model", config.model, "--tasks", f"train_tiny:{START_SAMPLES}"]
    words += ["--temperature", "1", "--top-p", "1", "--out", str(config.out / "start")]
    return [*words, "--label", "base", "--threads", "1"]


def _eval_checkpoint(
    config: DemoConfig, method: str, steps: int, label: str, seed: int
) -> list[str]:
    model = config.folder(method, seed) / "checkpoints" / step_name(steps)
    return _eval_words(config, str(model), label)


def _eval_newest(config: DemoConfig, method: str, seed: int) -> list[str]:
    model = max((config.folder(method, seed) / "checkpoints").glob("step_*"))
    return _eval_words(config, str(model), method)


def _equal_jobs(config: DemoConfig, seed: int) -> list[Job]:
    """GRPO goes on until it has sampled as many completions as SAGE did within its budget."""

    # both ask `equal_steps` when they start: before that the number is not known
    def train() -> list[str]:
        return _train_words(config, "grpo", equal_steps(config, seed), seed)

    def evaluate() -> list[str]:
        return _eval_checkpoint(config, "grpo", equal_steps(config, seed), EQUAL, seed)

    name = config.name("train grpo, equal rollouts", seed)
    after = ("train grpo", "train sage", "eval grpo")
    return [
        Job(name, train, tuple(config.name(job, seed) for job in after), weight=1.0),
        Job(config.name("eval equal", seed), evaluate, (name,), weight=0.4),
    ]


def equal_steps(config: DemoConfig, seed: int) -> int:
    """Steps after which GRPO has sampled as many completions as SAGE did within the budget."""
    grpo = read_train(config.folder("grpo", seed))
    sage = read_train(config.folder("sage", seed))
    ratio = sage.rollouts(config.steps) * config.steps / grpo.rollouts(config.steps)
    return max(config.steps, math.ceil(ratio))
