"""The demo: methods from the same start, at a fixed budget of steps, and at equal rollouts.

All are evaluated without hints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sage_bench.evaluation.grades import load_grades
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.report import Table, comparison_line, html
from sage_bench.reporting.runs import EvalRun, TrainRun, read_eval, read_train
from sage_bench.reporting.tables import compare, comparison, markdown
from sage_bench.statistics import holm, macro
from sage_bench.study.jobs import Job, Jobs
from sage_bench.training.checkpoint import name as step_name
from sage_bench.utils.cells import csv_text
from sage_bench.utils.files import locked, make_folder, write_json, write_text

EQUAL = "grpo, equal rollouts"
MORE = "grpo_more"  # the same control as a backend of its own, where it is among the methods
MORE_STEPS = 20  # upper limit of its steps, in budgets
START_SAMPLES = 8  # samples a training prompt for the base policy's no-signal share: one group


@dataclass(frozen=True)
class DemoConfig:
    """What the demo compares.

    methods: backends (grpo is the reference where it is among them). steps: the budget of every
    method.
    """

    out: Path
    methods: Sequence[str] = ("grpo", "sage")
    model: str = "tiny-llama"
    data: str = "tiny"
    tasks: str = "tiny:4"
    steps: int = 40
    seed: int = 0
    backend_files: Sequence[str] = ()
    equal_rollouts: bool = True
    overrides: Sequence[str] = ()


def run(config: DemoConfig, *, quiet: bool = False) -> str:
    """Train, evaluate, compare; returns the table as Markdown.

    Run again after a kill, it goes on where it was.
    """
    out = make_folder(config.out)
    began = time.monotonic()
    with locked(out):
        folders = Jobs(jobs_of(config), out / "logs", quiet=quiet).run()
        evals = {m: read_eval(Path(folders[f"eval {m}"])) for m in ("base", *config.methods)}
        if "eval equal" in folders:
            evals[EQUAL] = read_eval(Path(folders["eval equal"]))
        trains = {m: read_train(out / m) for m in config.methods}
        start = Path(folders["base on training set"])
        return write(config, evals, trains, start, time.monotonic() - began)


def jobs_of(config: DemoConfig) -> list[Job]:
    """The commands of the demo; each is one a user could type."""
    # grpo_more trains until it has sampled as much as sage: it has to know how much that was
    needs = {MORE: ("train sage",)} if "sage" in config.methods else {}
    jobs = []
    # the longest chain first: it decides when everything ends
    for method in sorted(config.methods, key=lambda m: m != "sage"):
        words = _train_words(config, method, config.steps)
        weight = 1.0 if method == "grpo" else 1.6
        jobs.append(Job(f"train {method}", words, needs.get(method, ()), weight=weight))
    jobs.append(Job("eval base", _eval_words(config, config.model, "base"), weight=0.4))
    jobs.append(Job("base on training set", _start_words(config), weight=0.4))
    for method in config.methods:
        evaluate: Sequence[str] | Callable[[], Sequence[str]]
        evaluate = _eval_checkpoint(config, method, config.steps, method)
        if method in needs:
            # where it stops is known only when it has stopped
            evaluate = partial(_eval_newest, config, method)
        jobs.append(Job(f"eval {method}", evaluate, (f"train {method}",), weight=0.4))
    both = {"grpo", "sage"} <= set(config.methods)
    if config.equal_rollouts and both and MORE not in config.methods:
        jobs += _equal_jobs(config)
    return jobs


def _train_words(config: DemoConfig, method: str, steps: int) -> list[str]:
    words = ["train", "--backend", method]
    for file in config.backend_files:
        words += ["--backend-file", file]
    words += ["--model", config.model, "--data", config.data, "--out", str(config.out / method)]
    if method == MORE and "sage" in config.methods:
        words += [f"method.like={config.out / 'sage'}", f"method.like_steps={steps}"]
        steps *= MORE_STEPS
    return [*words, f"train.steps={steps}", f"train.seed={config.seed}", *config.overrides]


def _eval_words(config: DemoConfig, model: str, label: str) -> list[str]:
    words = ["eval", "--model", model, "--tasks", config.tasks, "--out", str(config.out / "eval")]
    return [*words, "--label", label, "--threads", "1"]


def _start_words(config: DemoConfig) -> list[str]:
    """The base policy on the training prompts, sampled as in training."""
    words = ["eval", "--model", config.model, "--tasks", f"train_tiny:{START_SAMPLES}"]
    words += ["--temperature", "1", "--top-p", "1", "--out", str(config.out / "start")]
    return [*words, "--label", "base", "--threads", "1"]


def _eval_checkpoint(config: DemoConfig, method: str, steps: int, label: str) -> list[str]:
    model = config.out / method / "checkpoints" / step_name(steps)
    return _eval_words(config, str(model), label)


def _eval_newest(config: DemoConfig, method: str) -> list[str]:
    model = max((config.out / method / "checkpoints").glob("step_*"))
    return _eval_words(config, str(model), method)


def _equal_jobs(config: DemoConfig) -> list[Job]:
    """GRPO goes on until it has sampled as many completions as SAGE did within its budget."""
    name = "train grpo, equal rollouts"

    # both ask `equal_steps` when they start: before that the number is not known
    def train() -> list[str]:
        return _train_words(config, "grpo", equal_steps(config))

    def evaluate() -> list[str]:
        return _eval_checkpoint(config, "grpo", equal_steps(config), EQUAL)

    return [
        Job(name, train, ("train grpo", "train sage", "eval grpo"), weight=1.0),
        Job("eval equal", evaluate, (name,), weight=0.4),
    ]


def equal_steps(config: DemoConfig) -> int:
    """Steps after which GRPO has sampled as many completions as SAGE did within the budget."""
    grpo = read_train(config.out / "grpo")
    sage = read_train(config.out / "sage")
    ratio = sage.rollouts(config.steps) * config.steps / grpo.rollouts(config.steps)
    return max(config.steps, math.ceil(ratio))


def write(
    config: DemoConfig,
    evals: Mapping[str, EvalRun],
    trains: Mapping[str, TrainRun],
    start: Path,
    seconds: float,
) -> str:
    """summary.json, leaderboard.csv, table.md, report.html; returns the table as Markdown."""
    columns = _columns(config, evals, trains, start)
    comparisons = _comparisons(config, evals)
    table = comparison(evals, columns)
    notes = _notes(config, evals, trains, comparisons, seconds)
    text = markdown(table, [f"{n}  " for n in notes])
    summary = {
        "methods": {name: _method_summary(run, columns[name]) for name, run in evals.items()},
        "comparisons": comparisons,
        "budget_steps": config.steps,
        "model": config.model,
        "seed": config.seed,
        "seconds": round(seconds, 1),
    }
    write_json(config.out / "summary.json", summary)
    write_text(config.out / "table.md", text)
    board = leaderboard(list(evals.values()))
    write_text(config.out / "leaderboard.csv", csv_text(board))
    subtitle = f"{config.model}, {', '.join(config.methods)}"
    tables = [Table("Comparison without hints", table, notes)]
    write_text(config.out / "report.html", html("SAGE-Bench demo", subtitle, tables, trains))
    return text


def _columns(
    config: DemoConfig, evals: Mapping[str, EvalRun], trains: Mapping[str, TrainRun], start: Path
) -> dict[str, dict[str, Any]]:
    """What training cost each row of the table, and what signal it had."""
    columns: dict[str, dict[str, Any]] = {
        "base": {"no signal %": 100 * unsolved_share(start), "rollouts": 0, "extra rollouts": 0}
    }
    for method, train in trains.items():
        # grpo_more goes on past the budget; the others stop there
        until = max(config.steps, int(evals[method].label["step"]))
        columns[method] = training_columns(train, until)
    if EQUAL in evals:
        columns[EQUAL] = training_columns(trains["grpo"], int(evals[EQUAL].label["step"]))
    return columns


def _comparisons(config: DemoConfig, evals: Mapping[str, EvalRun]) -> list[dict[str, Any]]:
    """Every method against grpo and against the base, sage against grpo at equal rollouts."""
    pairs = [(m, "base") for m in config.methods]
    if "grpo" in config.methods:
        pairs = [(m, "grpo") for m in config.methods if m != "grpo"] + pairs
    if "sage" in evals:
        pairs += [("sage", other) for other in (EQUAL, MORE) if other in evals]
    found = [compare(a, b, evals) for a, b in pairs]
    if len(found) < 2:
        return found
    adjusted = holm([c["p"] for c in found])
    return [{**c, "holm": p} for c, p in zip(found, adjusted, strict=True)]


def _notes(
    config: DemoConfig,
    evals: Mapping[str, EvalRun],
    trains: Mapping[str, TrainRun],
    comparisons: Sequence[Mapping[str, Any]],
    seconds: float,
) -> list[str]:
    """The lines under the table."""
    base = evals["base"]
    samples = next(iter(base.tasks.values())).samples
    notes = [
        f"Averages in percent over {len(base.tasks)} benchmarks, {samples} samples a question,"
        " without hints; ± is the standard error clustered by question.",
        f"All methods start from {config.model} and stop after {config.steps} steps, before the"
        " curves saturate (report.html shows the whole curves); one training seed"
        f" ({config.seed}).",
        "no signal: share of training prompts that never had a right completion, partial credit or"
        " trace, for base in one group of 8; extra rollouts: beyond one group a prompt.",
    ]
    if MORE in trains and "sage" in trains:
        notes.append(
            f"{MORE} goes on past the budget of steps, until it has sampled as many completions as"
            " sage did."
        )
    notes += [comparison_line(c) for c in comparisons]
    return [*notes, f"Wall time {seconds:.0f} s."]


def _method_summary(run: EvalRun, columns: Mapping[str, Any]) -> dict[str, Any]:
    average, se = macro(run.scores)
    no_signal = columns["no signal %"]
    return {
        "avg": 100 * average,
        "se": 100 * se,
        "no_signal": None if no_signal is None else no_signal / 100,
        "rollouts": columns["rollouts"],
        "extra_rollouts": columns["extra rollouts"],
        "step": run.label.get("step") or 0,
        "tasks": {t: 100 * float(r.means.mean()) for t, r in run.tasks.items()},
    }


def training_columns(train: TrainRun, until: int) -> dict[str, Any]:
    """What a training run sampled in the steps before `until`."""
    share = train.no_signal(until)
    return {
        "no signal %": None if share is None else 100 * share,
        "rollouts": train.rollouts(until),
        "extra rollouts": train.extra_rollouts(until),
    }


def unsolved_share(folder: Path) -> float:
    """Share of training prompts that the base policy did not solve in one group."""
    return float((load_grades(folder).groupby("doc_id")["correct"].sum() == 0).mean())
