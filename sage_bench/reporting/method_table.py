"""The table of a study: blocks of models, methods as rows, benchmarks as columns.

With averages in and out of distribution, the difference to the base policy, tests against a
baseline, the paper's cell beside ours, and a mark on every number that is not what it seems.
`render` turns it into Markdown, LaTeX, CSV, HTML and text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sage_bench.evaluation.tasks.spec import in_order, task_files
from sage_bench.reporting.compare import shared_scores
from sage_bench.reporting.leaderboard import watermarked
from sage_bench.reporting.method_rows import AVG_ID, AVG_OOD, MARKS, Cell, MethodRow, MethodTable
from sage_bench.reporting.method_tests import (
    completed,
    on_shared_questions,
    ranked,
    share_questions,
    with_tests,
)
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.protocols import model_names, protocol_differences
from sage_bench.reporting.reference import (
    AVERAGES,
    BENCHMARK_OF_TASK,
    Reference,
    differences_within,
    plain,
    unique,
)
from sage_bench.reporting.runs import EvalRun
from sage_bench.reporting.selected import (
    best_of_test,
    chosen_on_test,
    counting,
    is_selected,
    select_rule,
    worth_of_choosing,
)
from sage_bench.statistics import macro, over_seeds
from sage_bench.utils.errors import UsageError, did_you_mean

__all__ = [
    "AVG_ID",
    "AVG_OOD",
    "MARKS",
    "Cell",
    "MethodRow",
    "MethodTable",
    "column_of",
    "grouped",
    "method_table",
    "reference_table",
]

BASE = "base"
OUT_OF_DISTRIBUTION_GROUPS = ("sb_ood2",)
TRAINING = "train_"
TRUNCATED = 0.05  # share of answers cut at the token limit, from which a number is marked


def column_of(task: str) -> str:
    """The name of a task's column: the papers' where they have the benchmark."""
    return BENCHMARK_OF_TASK.get(task, task)


def out_of_distribution() -> set[str]:
    """Tasks that are not of the kind that methods train on."""
    files = task_files()
    return {t for group in OUT_OF_DISTRIBUTION_GROUPS if group in files for t in files[group].group}


def method_table(
    runs: Sequence[EvalRun],
    *,
    reference: Reference | None = None,
    baseline: str | None = None,
    title: str = "Methods by model",
    on_test: bool = False,
) -> MethodTable:
    """The table of evaluated runs; runs of one model and method are its training seeds.

    baseline: the method that others are tested against, `base` unless named. on_test: with a marked
    row for what the best checkpoint of the test set would have been, where several were evaluated.
    Raises `UsageError` where runs of one column were not asked alike, naming what differs, and for
    an unknown baseline.
    """
    # what a policy does on its training prompts is no benchmark
    runs = [r for r in runs if any(not t.startswith(TRAINING) for t in _asked(r))]
    if not runs:
        raise UsageError("there is no evaluation of a benchmark here")
    refuse_mixed_protocols(runs)
    tasks = in_order(unique(t for r in runs for t in _asked(r)))
    averages = averages_of(tasks)
    counted = counting(runs)
    best = best_of_test(runs, next(iter(averages.values()))) if on_test else []
    groups = grouped([*counted, *best])
    against = _baseline(unique(method for _, method in groups), baseline)
    rows = []
    for (model, method), members in groups.items():
        # the difference beside an average is to the base policy, whatever the tests are against
        base = groups.get((model, BASE)) or groups.get((model, against), [])
        rows.append(_row(model, method, members, base, tasks, averages, reference))
    rows, notes = with_tests(rows, groups, against, averages)
    columns = [column_of(t) for t in tasks] + list(averages)
    rows = ranked(rows, columns)
    notes = [_how(counted, against), *_how_chosen(runs, counted), *_recorded(groups), *notes]
    if on_test:
        found = worth_of_choosing(counted, best, next(iter(averages.values())))
        notes += found or ["best of test: no training run has several evaluated checkpoints."]
    if reference is not None:
        notes += [*_other_averages(reference, averages), *_missing_from(reference, rows)]
    return MethodTable(title, columns, rows, notes, reference.name if reference else None)


def averages_of(tasks: Sequence[str]) -> dict[str, list[str]]:
    """The benchmarks of each average that exists: in distribution, and out of it."""
    ood = out_of_distribution()
    averages = {AVG_ID: [t for t in tasks if t not in ood], AVG_OOD: [t for t in tasks if t in ood]}
    return {name: members for name, members in averages.items() if members}


def _baseline(methods: Sequence[str], named: str | None) -> str:
    """The method that others are tested against. Raises `UsageError` for an unknown one."""
    against = named or (BASE if BASE in methods else methods[0])
    if against not in methods:
        raise UsageError(
            f"there is no `{against}` here; {did_you_mean(against, methods)}".rstrip("; "),
            where="--baseline",
            remedy="one of " + ", ".join(methods),
        )
    return against


def grouped(runs: Sequence[EvalRun]) -> dict[tuple[str, str], list[EvalRun]]:
    """Runs by model and method; steps and folders are named where a method has several.

    A checkpoint that a rule selected goes without its step, which may differ by training seed; the
    rule is named where a method has several. Models stand in the order of their names, the base
    policy first in each.
    """
    models = model_names(runs)
    kinds: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        kinds.setdefault((models[run.folder], run.method), set()).add(_kind(run))
    groups: dict[tuple[str, str], list[EvalRun]] = {}
    for run in runs:
        model = models[run.folder]
        method = run.method
        if len(kinds[model, method]) > 1:
            method += _kind(run)
        seeds = [r.label.get("train_seed") for r in groups.get((model, method), [])]
        if run.label.get("train_seed") in seeds:
            method += f" ({run.folder.name})"
        groups.setdefault((model, method), []).append(run)
    order = unique(model for model, _ in sorted(groups, key=lambda key: plain(key[0])))
    return dict(
        sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1] != BASE))
    )


def _kind(run: EvalRun) -> str:
    """What tells checkpoints of one method apart: the rule that chose them, or their step."""
    return f" ({select_rule(run)})" if is_selected(run) else f" @{run.label.get('step')}"


def refuse_mixed_protocols(runs: Sequence[EvalRun]) -> None:
    """Raises `UsageError` where two runs answered one benchmark under different protocols."""
    found = protocol_differences(runs)
    if found:
        raise UsageError(
            "these runs were not asked alike and cannot stand in one column: "
            + "; ".join(found[:4])
            + ("; ..." if len(found) > 4 else ""),
            where=str(runs[0].folder),
            remedy="give folders of one protocol, or evaluate again with the same settings",
        )


# ---- rows ---------------------------------------------------------------------------------------
def _asked(run: EvalRun) -> list[str]:
    """The benchmarks of a run, those without a single answer included."""
    return [t for t in (*run.tasks, *run.missing) if not t.startswith(TRAINING)]


def _row(
    model: str,
    method: str,
    runs: Sequence[EvalRun],
    base: Sequence[EvalRun],
    tasks: Sequence[str],
    averages: Mapping[str, Sequence[str]],
    reference: Reference | None,
) -> MethodRow:
    cells = {column_of(t): _task_cell(runs, t) for t in tasks}
    for name, members in averages.items():
        cells[name] = _average_cell(runs, base, members)
    if reference is not None:
        for column in cells:
            found = reference.find(model, method, column)
            if found is not None:
                cells[column] = replace(cells[column], paper=found.text, paper_status=found.status)
    marks = {m for c in cells.values() for m in c.marks}
    status = ", ".join(m for m in MARKS if m in marks) or "ok"
    return MethodRow(model, method, cells, len(runs), status)


def _task_cell(runs: Sequence[EvalRun], task: str) -> Cell:
    """Mean over training seeds, its error over seeds and questions where there are several."""
    have = [r for r in runs if task in r.tasks]
    if not have:
        asked = any(task in r.missing for r in runs)
        return Cell(marks=("partial",) if asked else ())
    score, se = _mean_of(have, [task])
    return Cell(score, se, marks=_marks(runs, [task]))


def _average_cell(runs: Sequence[EvalRun], base: Sequence[EvalRun], members: Sequence[str]) -> Cell:
    """The average over benchmarks and its difference to the base, on the questions of both."""
    if not completed(runs, members):
        asked = any(t in r.missing for r in runs for t in members)
        return Cell(marks=("partial",) if asked else ())
    score, se = _mean_of(runs, members)
    delta = None
    if share_questions(runs, base, members):
        of_runs, of_base = on_shared_questions(runs, base, members)
        delta = 100 * (_macro(of_runs.values()) - _macro(of_base.values()))
    return Cell(score, se, delta, _marks(runs, members))


def _mean_of(runs: Sequence[EvalRun], tasks: Sequence[str]) -> tuple[float, float]:
    """Average in percent and its standard error."""
    if len(runs) == 1:
        average, se = macro({t: runs[0].tasks[t].means for t in tasks})
        return 100 * average, 100 * se
    named = {str(i): r for i, r in enumerate(runs)}
    scores, _ = shared_scores(named, Metric(), tasks)
    found = over_seeds(list(scores.values()))
    return 100 * float(found.mean), 100 * float(found.se)


def _macro(scores: Any) -> float:
    return float(np.mean([macro(s)[0] for s in scores]))


def _marks(runs: Sequence[EvalRun], tasks: Sequence[str]) -> tuple[str, ...]:
    found = set()
    for run in runs:
        for task in tasks:
            # a training seed that was not asked leaves the cell as incomplete as a killed one
            if task not in run.tasks or run.tasks[task].status != "ok":
                found.add("partial")
            elif watermarked(run, task).startswith("LIMITED"):
                found.add("limited")
            if task in run.tasks and run.tasks[task].truncated > TRUNCATED:
                found.add("truncated")
        if run.label.get("degraded"):
            found.add("degraded")
        if run.label.get("recorded"):
            found.add("recorded")
        if chosen_on_test(run):
            found.add("chosen on test")
    return tuple(m for m in MARKS if m in found)


# ---- notes --------------------------------------------------------------------------------------
def _how(runs: Sequence[EvalRun], against: str) -> str:
    samples = sorted({r.samples for run in runs for r in run.tasks.values()})
    counts = " or ".join(map(str, samples))
    return (
        f"Percent, {counts} samples a question, without hints; ± is the standard error, over"
        " training seeds and questions where a method has several seeds, else over questions."
        " Bold: best of its model; underlined: second. Δ: to the base policy, on the questions of"
        f" both. *: differs from {against} at 5 % after Holm's correction over the tests of this"
        " table."
    )


def _how_chosen(runs: Sequence[EvalRun], counted: Sequence[EvalRun]) -> list[str]:
    """How the checkpoints were chosen, where the evaluations say so."""
    steps: dict[str, set[str]] = {}
    for run in counted:
        if is_selected(run):
            steps.setdefault(str(select_rule(run)), set()).add(str(run.label.get("step")))
    others = len(runs) - len(counted)
    left_out = f" {others} further checkpoints were evaluated and not selected." if others else ""
    return [
        f"Checkpoints: {rule} (step {', '.join(sorted(found, key=_as_number))}).{left_out}"
        for rule, found in steps.items()
    ]


def _recorded(groups: Mapping[tuple[str, str], Sequence[EvalRun]]) -> list[str]:
    """On which records methods were trained, where they were."""
    methods: dict[str, list[str]] = {}
    for (_, method), runs in groups.items():
        for run in runs:
            for record in run.label.get("recorded") or ():
                methods.setdefault(str(record), []).append(method)
    return [
        f"Recorded groups {record}: {', '.join(unique(names))}."
        for record, names in methods.items()
    ]


def _as_number(word: str) -> int:
    return int(word) if word.isdigit() else -1


def _other_averages(reference: Reference, averages: Mapping[str, Sequence[str]]) -> list[str]:
    """Which averages are over other benchmarks than the paper's that stand beside them."""
    notes = []
    printed = reference.benchmarks()
    for name, members in averages.items():
        ours = [column_of(task) for task in members]
        theirs = [b for b in AVERAGES.get(name, ()) if b in printed]
        if theirs and sorted(ours) != sorted(theirs):
            notes.append(
                f"{name} is over {', '.join(ours)} here and over {', '.join(theirs)} in"
                f" {reference.name}: the difference beside it compares unlike averages."
            )
    return notes


def _missing_from(reference: Reference, rows: Sequence[MethodRow]) -> list[str]:
    """Which of the paper's methods are not in the table, by model."""
    notes = []
    for model in unique(r.model for r in rows):
        named = [m for m in reference.models() if plain(m) == plain(model)]
        if not named:
            notes.append(f"{reference.name} has no model called {model}.")
            continue
        have = {plain(r.method) for r in rows if r.model == model}
        lacking = [m for m in reference.methods(named[0]) if plain(m) not in have]
        if lacking:
            notes.append(f"{model}: in {reference.name} and not here: {', '.join(lacking)}.")
    return notes


# ---- the paper alone ----------------------------------------------------------------------------
def reference_table(reference: Reference) -> MethodTable:
    """The paper's own table: its printed numbers, the best of each model marked by the numbers."""
    found_wrong = [d for d in differences_within(reference) if d.misprint]
    misprints = {(d.model, d.method, d.benchmark) for d in found_wrong}
    columns = reference.benchmarks()
    columns += [c for c in (AVG_ID, AVG_OOD) if any(x.benchmark == c for x in reference.cells)]
    rows = []
    for model in reference.models():
        for method in reference.methods(model):
            cells = {}
            for column in columns:
                found = reference.find(model, method, column)
                if found is None:
                    cells[column] = Cell()
                    continue
                wrong = (model, method, column) in misprints
                delta = None
                if column.startswith("avg"):
                    printed = reference.find(model, method, column.replace("avg", "delta"))
                    delta = None if printed is None else printed.value
                    wrong = wrong or (model, method, column.replace("avg", "delta")) in misprints
                marks = ("misprint",) if wrong else ()
                cells[column] = Cell(None, None, delta, marks, found.text, found.status)
            rows.append(MethodRow(model, method, cells, 0, "printed"))
    title = f"{reference.cells[0].source}, as printed"
    return MethodTable(title, columns, ranked(rows, columns), (), reference.name)
