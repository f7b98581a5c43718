"""The demo: methods from the same start, at a fixed budget of steps, evaluated without hints; and
at equal rollouts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from sage_bench.utils.files import locked, make_folder, write_json, write_text

EQUAL = "grpo, equal rollouts"
MORE = "grpo_more"  # the same control as a backend of its own, where it is among the methods
MORE_STEPS = 20  # upper limit of its steps, in budgets
START_SAMPLES = 8  # samples a training prompt for the base policy's no-signal share: one group


@dataclass(frozen=True)
class DemoConfig:
    """methods: backends to compare (grpo is the reference where it is among them). steps: the
    budget of every method."""

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
    """Train, evaluate, compare; returns the table as Markdown. Run again after a kill, it goes on
    where it was."""
    out, began = make_folder(config.out), time.monotonic()
    with locked(out):
        folders = Jobs(jobs_of(config), out / "logs", quiet=quiet).run()
        evals = {"base": read_eval(Path(folders["eval base"]))} | {
            m: read_eval(Path(folders[f"eval {m}"])) for m in config.methods
        }
        if "eval equal" in folders:
            evals[EQUAL] = read_eval(Path(folders["eval equal"]))
        trains = {m: read_train(out / m) for m in config.methods}
        return write(
            config, evals, trains, Path(folders["base on training set"]), time.monotonic() - began
        )


def jobs_of(config: DemoConfig) -> list[Job]:
    """The commands of the demo; each is one a user could type."""
    out = config.out
    files = [w for f in config.backend_files for w in ("--backend-file", f)]

    def train(method: str, steps: int) -> list[str]:
        words = [
            "train",
            "--backend",
            method,
            *files,
            "--model",
            config.model,
            "--data",
            config.data,
            "--out",
            str(out / method),
        ]
        if method == MORE and "sage" in config.methods:
            words += [f"method.like={out / 'sage'}", f"method.like_steps={steps}"]
            steps *= MORE_STEPS
        return [*words, f"train.steps={steps}", f"train.seed={config.seed}", *config.overrides]

    def evaluate(model: str, label: str, tasks: str = config.tasks, *more: str) -> list[str]:
        return [
            "eval",
            "--model",
            model,
            "--tasks",
            tasks,
            "--out",
            str(out / "eval"),
            "--label",
            label,
            "--threads",
            "1",
            *more,
        ]

    def checkpoint(method: str, steps: int) -> str:
        return str(out / method / "checkpoints" / step_name(steps))

    def newest(method: str) -> str:
        return str(max((out / method / "checkpoints").glob("step_*")))

    equal = (
        config.equal_rollouts
        and {"grpo", "sage"} <= set(config.methods)
        and MORE not in config.methods
    )
    needs = {MORE: ("train sage",)} if "sage" in config.methods else {}
    # the longest chain first: it decides when everything ends
    jobs = [
        Job(
            f"train {m}",
            train(m, config.steps),
            needs.get(m, ()),
            weight=1.0 if m == "grpo" else 1.6,
        )
        for m in sorted(config.methods, key=lambda m: m != "sage")
    ]
    jobs += [
        Job("eval base", evaluate(config.model, "base"), weight=0.4),
        Job(
            "base on training set",
            [
                "eval",
                "--model",
                config.model,
                "--tasks",
                f"train_tiny:{START_SAMPLES}",
                "--temperature",
                "1",
                "--top-p",
                "1",
                "--out",
                str(out / "start"),
                "--label",
                "base",
                "--threads",
                "1",
            ],
            weight=0.4,
        ),
    ]
    jobs += [
        Job(
            f"eval {m}",
            (
                (lambda m=m: evaluate(newest(m), m))
                if m in needs
                else evaluate(checkpoint(m, config.steps), m)
            ),
            (f"train {m}",),
            weight=0.4,
        )
        for m in config.methods
    ]
    if equal:
        steps: list[int] = []

        def longer() -> list[str]:
            steps.append(equal_steps(config))
            return train("grpo", steps[0])

        jobs += [
            Job(
                "train grpo, equal rollouts",
                longer,
                ("train grpo", "train sage", "eval grpo"),
                weight=1.0,
            ),
            Job(
                "eval equal",
                lambda: evaluate(checkpoint("grpo", steps[0]), EQUAL),
                ("train grpo, equal rollouts",),
                weight=0.4,
            ),
        ]
    return jobs


def equal_steps(config: DemoConfig) -> int:
    """Steps after which GRPO has sampled as many completions as SAGE did within the budget."""
    grpo, sage = read_train(config.out / "grpo"), read_train(config.out / "sage")
    return max(
        config.steps,
        math.ceil(sage.rollouts(config.steps) * config.steps / grpo.rollouts(config.steps)),
    )


def write(
    config: DemoConfig,
    evals: Mapping[str, EvalRun],
    trains: Mapping[str, TrainRun],
    start: Path,
    seconds: float,
) -> str:
    """summary.json, leaderboard.csv, table.md, report.html."""
    out, steps = config.out, config.steps
    longest = {EQUAL: trains["grpo"]} if EQUAL in evals else {}
    columns: dict[str, dict[str, Any]] = {
        "base": {"no signal %": 100 * unsolved_share(start), "rollouts": 0, "extra rollouts": 0}
    }
    for method, train in trains.items():
        columns[method] = training_columns(train, max(steps, int(evals[method].label["step"])))
    for method, train in longest.items():
        columns[method] = training_columns(train, int(evals[EQUAL].label["step"]))
    pairs = [(m, "base") for m in config.methods]
    if "grpo" in config.methods:
        pairs = [(m, "grpo") for m in config.methods if m != "grpo"] + pairs
    pairs += [("sage", other) for other in (EQUAL, MORE) if other in evals and "sage" in evals]
    comparisons = [compare(a, b, evals) for a, b in pairs]
    if len(comparisons) > 1:
        comparisons = [
            {**c, "holm": p}
            for c, p in zip(comparisons, holm([c["p"] for c in comparisons]), strict=True)
        ]
    table = comparison(evals, columns)
    notes = [
        (
            f"Averages in percent over {len(evals['base'].tasks)} benchmarks,"
            f" {next(iter(evals['base'].tasks.values())).samples} samples a question, without"
            " hints; ± is the standard error clustered by question."
        ),
        (
            f"All methods start from {config.model} and stop after {steps} steps, before the curves"
            f" saturate (report.html shows the whole curves); one training seed ({config.seed})."
        ),
        (
            "no signal: share of training prompts that never had a right completion, partial credit"
            " or trace, for base in one group of 8; extra rollouts: beyond one group a prompt."
        ),
        *(
            [
                f"{MORE} goes on past the budget of steps, until it has sampled as many completions"
                " as sage did."
            ]
            if MORE in trains and "sage" in trains
            else []
        ),
        *[comparison_line(c) for c in comparisons],
        f"Wall time {seconds:.0f} s.",
    ]
    text = markdown(table, [f"{n}  " for n in notes])
    methods = {
        name: {
            "avg": 100 * average,
            "se": 100 * se,
            "no_signal": (
                columns[name]["no signal %"] / 100
                if columns[name]["no signal %"] is not None
                else None
            ),
            "rollouts": columns[name]["rollouts"],
            "extra_rollouts": columns[name]["extra rollouts"],
            "step": run.label.get("step") or 0,
            "tasks": {t: 100 * float(r.means.mean()) for t, r in run.tasks.items()},
        }
        for name, run in evals.items()
        for average, se in [macro(run.scores)]
    }
    write_json(
        out / "summary.json",
        {
            "methods": methods,
            "comparisons": comparisons,
            "budget_steps": steps,
            "model": config.model,
            "seed": config.seed,
            "seconds": round(seconds, 1),
        },
    )
    write_text(out / "table.md", text)
    write_text(out / "leaderboard.csv", leaderboard(list(evals.values())).to_csv(index=False))
    write_text(
        out / "report.html",
        html(
            "SAGE-Bench demo",
            f"{config.model}, {', '.join(config.methods)}",
            [Table("Comparison without hints", table, notes)],
            trains,
        ),
    )
    return text


def training_columns(train: TrainRun, until: int) -> dict[str, Any]:
    share = train.no_signal(until)
    return {
        "no signal %": None if share is None else 100 * share,
        "rollouts": train.rollouts(until),
        "extra rollouts": train.extra_rollouts(until),
    }


def unsolved_share(folder: Path) -> float:
    """Share of training prompts that the base policy did not solve in one group."""
    return float((load_grades(folder).groupby("doc_id")["correct"].sum() == 0).mean())
