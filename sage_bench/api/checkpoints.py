"""Evaluate the saved steps of a training run, or the one that a rule selects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.api.evaluation import Asked, EvalResult, run_evaluation
from sage_bench.training.selection import (
    NOT_SELECTED,
    Choice,
    checkpoints,
    select,
    validation_rewards,
)
from sage_bench.utils.errors import PartialError

AVERAGE = "avg"


@dataclass(frozen=True)
class CheckpointsResult:
    """The evaluations of a training run's checkpoints.

    choice: the one that counts. results: by step. table: a row a step, in percent. text: the table
    in Markdown. partial: what is missing from some of them, None for nothing.
    """

    choice: Choice
    results: Mapping[int, EvalResult] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    text: str = field(repr=False)
    partial: PartialError | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "selected": {
                "step": self.choice.step,
                "folder": str(self.choice.folder),
                "select_rule": self.choice.rule,
                "validation_reward": self.choice.reward,
            },
            "folders": {step: str(result.folder) for step, result in self.results.items()},
            "table": self.table.to_dict("records"),
            "partial": None if self.partial is None else self.partial.what,
        }


def evaluate_checkpoints(
    run: Path,
    asked: Asked,
    out: Path,
    *,
    rule: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    quiet: bool = True,
) -> CheckpointsResult:
    """Evaluate every saved step of a training run, one evaluation a step.

    The same call again goes on where it was interrupted. rule: which checkpoint is the run's
    result (`training.selection.select`); its manifest gets the rule as `select_rule`, those of the
    others say that they were not selected. What is missing is `partial` of the result. Raises
    `UsageError` before anything is drawn where there is nothing to evaluate or to select by.
    """
    saved = checkpoints(run)
    choice = select(run, rule)
    results = {}
    partial = None
    for step, folder in saved.items():
        label = {"select_rule": choice.rule if step == choice.step else NOT_SELECTED}
        results[step] = run_evaluation(
            of_model(asked, folder),
            out,
            label=label,
            overwrite=overwrite,
            strict=strict,
            quiet=quiet,
        )
        partial = partial or results[step].partial
    table = table_by_step(results, validation_rewards(run), choice)
    return CheckpointsResult(choice, results, table, step_text(table, choice), partial)


def of_training_run(
    asked: Asked, run: Path | None, rule: str | None
) -> tuple[Asked, dict[str, Any]]:
    """What is asked with the selected checkpoint in place of a training run, and its label.

    run: of `--checkpoints`; else `--model` is the run where a rule is given, and anything else
    stays as it is.
    """
    if run is None and rule is None:
        return asked, {}
    choice = select(run or Path(asked.config.model.path), rule)
    return of_model(asked, choice.folder), {"select_rule": choice.rule}


def steps_line(run: Path | None) -> str:
    """What a dry run of `--checkpoints` adds to the plan of one of them."""
    if run is None:
        return ""
    steps = list(checkpoints(run))
    listed = ", ".join(map(str, steps))
    return f"\nThis {len(steps)} times: for each of the saved steps {listed}.\n"


def of_model(asked: Asked, folder: Path) -> Asked:
    """The same questions, asked of the weights in a folder."""
    model = asked.config.model.model_copy(update={"path": str(folder)})
    config = asked.config.model_copy(update={"model": model})
    return Asked(config, asked.tasks, asked.data, asked.sampling, asked.limit)


def table_by_step(
    results: Mapping[int, EvalResult], rewards: Mapping[int, float], choice: Choice
) -> pd.DataFrame:
    """step, validation reward, benchmarks, average with its error, selected; in percent."""
    rows = []
    for step, result in results.items():
        board = result.table[result.table.metric == "avg@n"].set_index("task")
        reward = rewards.get(step)
        row: dict[str, Any] = {
            "step": step,
            "validation": None if reward is None else 100 * reward,
        }
        row |= {str(task): board.value[task] for task in board.index if task != AVERAGE}
        if AVERAGE in board.index:
            row["avg"] = board.value[AVERAGE]
            row["se"] = board.se_question[AVERAGE]
        row["selected"] = choice.rule if step == choice.step else None
        rows.append(row)
    return pd.DataFrame(rows)


def step_text(table: pd.DataFrame, choice: Choice) -> str:
    """The table in Markdown, with a line on what was selected and by what."""
    names = [str(c) for c in table.columns]
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    for row in table.to_dict("records"):
        lines.append("| " + " | ".join(_cell(name, row[name]) for name in table.columns) + " |")
    reward = "" if choice.reward is None else f", validation reward {100 * choice.reward:.1f}"
    lines += ["", f"Selected: step {choice.step} ({choice.rule}{reward}), {choice.folder}"]
    return "\n".join(lines) + "\n"


def _cell(name: Any, value: Any) -> str:
    if value is None or value != value:
        return "" if name == "selected" else "–"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
