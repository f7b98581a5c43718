"""The table of a study: blocks of models, methods as rows, benchmarks as columns.

With averages in and out of distribution, the difference to the base policy, tests against a
baseline, the paper's cell beside ours, and a mark on every number that is not what it seems.
`render` turns it into Markdown, LaTeX, CSV, HTML and text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any

import numpy as np

from sage_bench.evaluation.tasks.spec import in_order, task_files
from sage_bench.reporting.compare import samples_of, shared_scores
from sage_bench.reporting.leaderboard import watermarked
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.protocols import model_names, protocol_differences, shares_order
from sage_bench.reporting.reference import (
    BENCHMARK_OF_TASK,
    Reference,
    differences_within,
    number,
    plain,
    unique,
)
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import Claim, claim, holm, macro, over_seeds, paired
from sage_bench.utils.errors import UsageError, did_you_mean

BASE = "base"
OUT_OF_DISTRIBUTION_GROUPS = ("sb_ood2",)
TRAINING = "train_"
AVG_ID = "avg_id"
AVG_OOD = "avg_ood"
SIGNIFICANT = 0.05
TRUNCATED = 0.05  # share of answers cut at the token limit, from which a number is marked

# marks of cells, in the order of their letters
MARKS = {
    "partial": "some questions have no or too few samples; only complete questions are averaged",
    "limited": "only some questions of the benchmark were asked",
    "truncated": "more than 5 % of the answers were cut at the token limit",
    "degraded": "the method was trained without data that it reads",
    "chosen on test": "the checkpoint was chosen on the data of this table",
    "misprint": "does not follow from the printed cells; see `report --misprints`",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table, in percent; None where there is none.

    marks: keys of `MARKS`. paper: the paper's number beside it. best, second: among the methods of
    the model.
    """

    score: float | None = None
    se: float | None = None
    delta: float | None = None
    marks: tuple[str, ...] = ()
    paper: str | None = None
    paper_status: str | None = None
    best: bool = False
    second: bool = False
    significant: bool = False


@dataclass(frozen=True)
class MethodRow:
    """One method of one model. cells: by column, `avg_id` and `avg_ood` among them."""

    model: str
    method: str
    cells: Mapping[str, Cell]
    seeds: int = 0
    status: str = "ok"


@dataclass(frozen=True)
class MethodTable:
    """Rows in blocks of models, in order. columns: benchmarks, then the averages that exist."""

    title: str
    columns: Sequence[str]
    rows: Sequence[MethodRow]
    notes: Sequence[str] = field(default_factory=tuple)
    reference: str | None = None

    def models(self) -> list[str]:
        """The models, in the order of their blocks."""
        return unique(r.model for r in self.rows)

    def marks(self) -> dict[str, str]:
        """The marks that occur, each with its letter."""
        used = {m for r in self.rows for c in r.cells.values() for m in c.marks}
        names = [m for m in MARKS if m in used]
        return {name: letter for name, letter in zip(names, "abcdef", strict=False)}


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
) -> MethodTable:
    """The table of evaluated runs; runs of one model and method are its training seeds.

    baseline: the method that others are tested against, `base` unless named. Raises `UsageError`
    where runs of one column were not asked alike, naming what differs, and for an unknown baseline.
    """
    # what a policy does on its training prompts is no benchmark
    runs = [r for r in runs if any(not t.startswith(TRAINING) for t in _asked(r))]
    if not runs:
        raise UsageError("there is no evaluation of a benchmark here")
    refuse_mixed_protocols(runs)
    groups = grouped(runs)
    methods = unique(method for _, method in groups)
    against = baseline or (BASE if BASE in methods else methods[0])
    if against not in methods:
        raise UsageError(
            f"there is no `{against}` here; {did_you_mean(against, methods)}".rstrip("; "),
            where="--baseline",
            remedy="one of " + ", ".join(methods),
        )
    ood = out_of_distribution()
    tasks = in_order(unique(t for r in runs for t in _asked(r)))
    averages = {AVG_ID: [t for t in tasks if t not in ood], AVG_OOD: [t for t in tasks if t in ood]}
    averages = {name: members for name, members in averages.items() if members}
    rows = []
    for (model, method), members in groups.items():
        base = groups.get((model, against), [])
        rows.append(_row(model, method, members, base, tasks, averages, reference))
    rows, notes = _with_tests(rows, groups, against, averages)
    columns = [column_of(t) for t in tasks] + list(averages)
    rows = _ranked(rows, columns)
    notes = [_how(runs, against), *notes]
    if reference is not None:
        notes += _missing_from(reference, rows)
    return MethodTable(title, columns, rows, notes, reference.name if reference else None)


def grouped(runs: Sequence[EvalRun]) -> dict[tuple[str, str], list[EvalRun]]:
    """Runs by model and method; steps and folders are named where a method has several.

    Models stand in the order of their names, the base policy first in each.
    """
    models = model_names(runs)
    steps: dict[tuple[str, str], set[Any]] = {}
    for run in runs:
        steps.setdefault((models[run.folder], run.method), set()).add(run.label.get("step"))
    groups: dict[tuple[str, str], list[EvalRun]] = {}
    for run in runs:
        model = models[run.folder]
        method = run.method
        if len(steps[model, method]) > 1:
            method += f" @{run.label.get('step')}"
        seeds = [r.label.get("train_seed") for r in groups.get((model, method), [])]
        if run.label.get("train_seed") in seeds:
            method += f" ({run.folder.name})"
        groups.setdefault((model, method), []).append(run)
    order = unique(model for model, _ in sorted(groups, key=lambda key: plain(key[0])))
    return dict(
        sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1] != BASE))
    )


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
    if not all(t in r.tasks for r in runs for t in members):
        asked = any(t in r.missing for r in runs for t in members)
        return Cell(marks=("partial",) if asked else ())
    score, se = _mean_of(runs, members)
    delta = None
    if base and all(t in r.tasks for r in base for t in members):
        of_runs, of_base = _on_shared_questions(runs, base, members)
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


def _on_shared_questions(
    runs: Sequence[EvalRun], base: Sequence[EvalRun], tasks: Sequence[str]
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Scores of both, by training seed, on the questions that all of them completed."""
    named = {("a", i): r for i, r in enumerate(runs)} | {("b", i): r for i, r in enumerate(base)}
    keys = {f"{side}{i}": r for (side, i), r in named.items()}
    scores, _ = shared_scores(keys, Metric(), tasks)

    def by_seed(side: str, members: Sequence[EvalRun]) -> dict[Any, Any]:
        return {r.label.get("train_seed"): scores[f"{side}{i}"] for i, r in enumerate(members)}

    return by_seed("a", runs), by_seed("b", base)


def _marks(runs: Sequence[EvalRun], tasks: Sequence[str]) -> tuple[str, ...]:
    found = set()
    for run in runs:
        for task in tasks:
            if task in run.missing or run.tasks[task].status != "ok":
                found.add("partial")
            elif watermarked(run, task).startswith("LIMITED"):
                found.add("limited")
            if task in run.tasks and run.tasks[task].truncated > TRUNCATED:
                found.add("truncated")
        if run.label.get("degraded"):
            found.add("degraded")
        if str(run.label.get("select_rule") or "").startswith("test"):
            found.add("chosen on test")
    return tuple(m for m in MARKS if m in found)


# ---- tests, ranks, notes ------------------------------------------------------------------------
def _with_tests(
    rows: Sequence[MethodRow],
    groups: Mapping[tuple[str, str], Sequence[EvalRun]],
    against: str,
    averages: Mapping[str, Sequence[str]],
) -> tuple[list[MethodRow], list[str]]:
    """Rows with their significance against the baseline, and lines that say what was tested."""
    lines: list[tuple[int, str, str, float | None]] = []  # row, column, words, p
    for i, row in enumerate(rows):
        base = groups.get((row.model, against))
        if row.method == against or not base:
            continue
        for column, members in averages.items():
            if row.cells[column].delta is None:
                continue
            text, p = _test(groups[row.model, row.method], base, members)
            lines.append((i, column, f"{row.model}: {row.method} − {against}, {column}: {text}", p))
    adjusted = holm([float("nan") if p is None else p for *_, p in lines])
    out = list(rows)
    notes = []
    for (i, column, words, p), corrected in zip(lines, adjusted, strict=True):
        notes.append(words if p is None else f"{words} (Holm {corrected:.2g})")
        if p is not None and corrected < SIGNIFICANT:
            cell = replace(out[i].cells[column], significant=True)
            out[i] = replace(out[i], cells={**out[i].cells, column: cell})
    return out, notes


def _test(
    runs: Sequence[EvalRun], base: Sequence[EvalRun], tasks: Sequence[str]
) -> tuple[str, float | None]:
    """The difference in words, and its p; None where nothing can be claimed."""
    of_runs, of_base = _on_shared_questions(runs, base, tasks)
    if None in of_runs:
        return _of_policies(runs[0], base[0], of_runs[None], next(iter(of_base.values())))
    trained = None not in of_base
    found = claim(of_runs, of_base, trained=trained, shared_order=shares_order(runs, base))
    return claim_words(found), found.p


def claim_words(found: Claim) -> str:
    """`+12.3 [9.1, 15.4], p = 0.01, over the training seeds 0, 1, 2 (by seed)`, or no claim."""
    if found.p is None or found.low is None or found.high is None:
        return f"{100 * found.diff:+.1f}; {found.note}"
    seeds = ", ".join(map(str, found.seeds))
    return (
        f"{100 * found.diff:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}], p ="
        f" {found.p:.2g}, over the training seeds {seeds} ({found.pairing})"
    )


def _of_policies(run: EvalRun, base: EvalRun, a: Any, b: Any) -> tuple[str, float]:
    """Policies that nobody trained here are compared as they are, over questions."""
    tasks = list(a)
    found = paired(a, b, samples=(samples_of(run, tasks), samples_of(base, tasks)))
    text = (
        f"{100 * found.diff:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}], p ="
        f" {found.p:.2g}, over questions: of these two policies"
    )
    return text, found.p


def _ranked(rows: Sequence[MethodRow], columns: Sequence[str]) -> list[MethodRow]:
    """Best and second of each model and column; equal numbers share their place."""
    out = list(rows)
    for model in unique(r.model for r in rows):
        block = [i for i, r in enumerate(rows) if r.model == model]
        for column in columns:
            shown = {i: _number(out[i], column) for i in block}
            values = {i: round(v, 1) for i, v in shown.items() if v is not None}
            if len(values) < 2:
                continue
            places = sorted(set(values.values()), reverse=True)
            for i, value in values.items():
                cell = replace(
                    out[i].cells[column],
                    best=value == places[0],
                    second=len(places) > 1 and value == places[1],
                )
                out[i] = replace(out[i], cells={**out[i].cells, column: cell})
    return out


def _number(row: MethodRow, column: str) -> float | None:
    """Ours, or the paper's in a table of the paper alone."""
    cell = row.cells[column]
    if row.seeds or cell.paper is None:
        return cell.score
    printed = number(cell.paper)
    return None if isnan(printed) else printed


def _how(runs: Sequence[EvalRun], against: str) -> str:
    samples = sorted({r.samples for run in runs for r in run.tasks.values()})
    counts = " or ".join(map(str, samples))
    return (
        f"Percent, {counts} samples a question, without hints; ± is the standard error, over"
        " training seeds and questions where a method has several seeds, else over questions."
        " Bold: best of its model; underlined: second. *: differs from"
        f" {against} at 5 % after Holm's correction over the tests of this table."
    )


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
    return MethodTable(title, columns, _ranked(rows, columns), (), reference.name)
