"""Which of a training run's evaluated checkpoints stand in a table.

One checkpoint of a run is its result, chosen by validation or by its step; where every step was
evaluated (`eval --checkpoints`) the others are not further methods. What choosing on the test set
itself would have given is a row of its own, and only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sage_bench.reporting.protocols import model_names
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import macro
from sage_bench.training.selection import NOT_SELECTED

ON_TEST = "test: best average"  # the select_rule of rows that were chosen on the test data
BEST_OF_TEST = "best of test"


def select_rule(run: EvalRun) -> str | None:
    """How the checkpoint was chosen; None where the evaluation does not say."""
    rule = run.label.get("select_rule")
    return None if rule is None else str(rule)


def is_selected(run: EvalRun) -> bool:
    """Whether a rule picked this checkpoint as the result of its run."""
    return select_rule(run) not in {None, NOT_SELECTED}


def chosen_on_test(run: EvalRun) -> bool:
    """Whether the checkpoint was chosen on the data it is evaluated on."""
    return (select_rule(run) or "").startswith("test")


def counting(runs: Sequence[EvalRun]) -> list[EvalRun]:
    """The runs without the checkpoints that were not selected, where another of theirs was."""
    with_result = {_training(run) for run in runs if is_selected(run)}
    return [
        run for run in runs if select_rule(run) != NOT_SELECTED or _training(run) not in with_result
    ]


def best_of_test(runs: Sequence[EvalRun], tasks: Sequence[str]) -> list[EvalRun]:
    """Of every training run with several evaluated checkpoints, the one with the best average.

    It is called `METHOD, best of test`. runs: all checkpoints, selected or not. tasks: of the
    average; checkpoints that lack one of them are passed over, and so is step 0.
    """
    candidates: dict[Any, list[EvalRun]] = {}
    for run in runs:
        complete = all(task in run.tasks for task in tasks)
        if select_rule(run) is not None and run.label.get("step") != 0 and complete:
            candidates.setdefault(_training(run), []).append(run)
    out = []
    for members in candidates.values():
        if len(members) > 1 and tasks:
            best = max(members, key=lambda run: _average(run, tasks))
            label = {**best.label, "select_rule": ON_TEST}
            method = f"{best.method}, {BEST_OF_TEST}"
            out.append(replace(best, method=method, label=label))
    return out


def worth_of_choosing(
    counted: Sequence[EvalRun], best: Sequence[EvalRun], tasks: Sequence[str]
) -> list[str]:
    """By model and method: what the best of the test set is above the checkpoint that counts."""
    selected = {_training(run): run for run in counted if is_selected(run)}
    models = model_names(list(counted))
    pairs: dict[tuple[str, str], list[tuple[EvalRun, EvalRun]]] = {}
    for run in best:
        chosen = selected.get(_training(run))
        if chosen is not None and all(task in chosen.tasks for task in tasks):
            pairs.setdefault((models[chosen.folder], chosen.method), []).append((run, chosen))
    lines = []
    for (model, method), found in pairs.items():
        gains = [100 * (_average(run, tasks) - _average(chosen, tasks)) for run, chosen in found]
        on_test = ", ".join(str(run.label.get("step")) for run, _ in found)
        by_rule = ", ".join(str(chosen.label.get("step")) for _, chosen in found)
        rules = ", ".join(dict.fromkeys(str(select_rule(chosen)) for _, chosen in found))
        lines.append(
            f"{model}: {method}, {BEST_OF_TEST} − {method} ({rules}):"
            f" {sum(gains) / len(gains):+.1f} points (step {on_test} instead of {by_rule}):"
            " what choosing on the test data is worth, and not a result."
        )
    return lines


def _average(run: EvalRun, tasks: Sequence[str]) -> float:
    return float(macro({task: run.tasks[task].means for task in tasks})[0])


def _training(run: EvalRun) -> tuple[Any, ...]:
    """What tells a training run from another: its folder, and what it is called."""
    label: Mapping[str, Any] = run.label
    folder = Path(str(run.manifest["model"])).parent.parent
    named = (label.get("method"), label.get("model_name"), label.get("train_seed"))
    return str(folder), *named
