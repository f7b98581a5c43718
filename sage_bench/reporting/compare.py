"""Runs against each other on the same questions: who differs by how much."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sage_bench.reporting.comparable import check, common_tasks
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.protocols import shares_order
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import Scores, claim, detectable, holm, macro, paired
from sage_bench.utils.cells import markdown_cell, markdown_note
from sage_bench.utils.errors import UsageError, did_you_mean

AVERAGE = "avg"
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """a - b on one benchmark, or on the average (task `avg`); in percent points.

    holm: p adjusted over all rows of the table. What could not be computed is NaN.
    """

    a: str
    b: str
    task: str
    questions: int
    value_a: float
    value_b: float
    diff: float = nan
    se: float = nan
    low: float = nan
    high: float = nan
    p: float = nan
    holm: float = nan
    freedom: float = nan  # degrees of freedom of se

    @property
    def significant(self) -> bool:
        """The interval leaves out 0, and so does the test after Holm's correction."""
        return (self.low > 0 or self.high < 0) and self.holm < SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    """The rows of a comparison and what has to be said under them."""

    metric: Metric
    rows: Sequence[Row]
    notes: Sequence[str]
    partial: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN (nothing to compare) as null."""
        return {
            "metric": self.metric.name,
            "unit": "percent points",
            "rows": [_plain(asdict(r) | {"significant": r.significant}) for r in self.rows],
            "notes": list(self.notes),
            "partial": self.partial,
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows neither NaN nor infinity."""
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in row.items()}


def compare_runs(
    runs: Mapping[str, EvalRun],
    metric: Metric,
    *,
    allow: Collection[str] = (),
    against: str | None = None,
    all_pairs: bool = False,
    seeds: bool = False,
) -> Comparison:
    """Every run against the first (or the one named `against`), or every pair.

    On each common benchmark and on their unweighted average. seeds: runs of one method are its
    training seeds; methods are compared, and intervals contain the seed. Raises `UsageError` where
    there is nothing to compare or the runs were not asked alike.
    """
    tasks = _tasks_of(runs)
    notes = check(runs, allow) + _notes_on_data(runs, tasks)
    scores, sizes = shared_scores(runs, metric, tasks)
    notes += _notes_on_samples(metric, tasks, scores)
    groups = by_method(runs) if seeds else {n: [n] for n in runs}
    rows = []
    for a, b in _pairs(list(groups), against, all_pairs):
        sides = [Side([runs[n] for n in groups[m]], [scores[n] for n in groups[m]]) for m in (a, b)]
        rows += pair_rows(a, b, sides[0], sides[1], sizes, metric, seeds)
    rows = [replace(r, holm=h) for r, h in zip(rows, holm([r.p for r in rows]), strict=True)]
    partial = any(run.partial for run in runs.values())
    return Comparison(metric, rows, notes + footer(rows, groups if seeds else {}), partial)


def _tasks_of(runs: Mapping[str, EvalRun]) -> list[str]:
    """The benchmarks to compare on. Raises `UsageError` for a single run and for none in common."""
    if len(runs) < 2:
        raise UsageError(
            "there is only one run here",
            remedy="name two or more evaluation runs, or a folder that contains them",
        )
    tasks = common_tasks(list(runs.values()))
    if not tasks:
        found = "; ".join(f"{n}: {', '.join(r.tasks)}" for n, r in runs.items())
        raise UsageError(
            f"these runs share no benchmark: {found}",
            remedy="evaluate them on the same tasks",
        )
    return tasks


def _notes_on_data(runs: Mapping[str, EvalRun], tasks: Sequence[str]) -> list[str]:
    """Benchmarks left out, incomplete questions, limits, unequal numbers of samples."""
    notes = []
    for name, run in runs.items():
        left_out = [t for t in run.tasks if t not in tasks]
        if left_out:
            notes.append(f"{name}: {', '.join(left_out)} left out, not every run has it")
    for name, run in runs.items():
        for task in tasks:
            status = run.tasks[task].status
            if status != "ok":
                notes.append(f"{name}: {task} {status}; only complete questions are compared")
    notes += [f"{n}: {r.limited}" for n, r in runs.items() if r.limited]
    sample_counts = {run.tasks[task].samples for run in runs.values() for task in tasks}
    if len(sample_counts) > 1:
        for name, run in runs.items():
            per_task = ", ".join(f"{task}:{run.tasks[task].samples}" for task in tasks)
            notes.append(f"{name} has {per_task}")
    return notes


def _notes_on_samples(
    metric: Metric, tasks: Sequence[str], scores: Mapping[str, Scores]
) -> list[str]:
    """Benchmarks on which some run has too few samples for the metric.

    Raises `UsageError` where that holds for all of them.
    """
    lacking = [t for t in tasks if any(np.isnan(s[t]).any() for s in scores.values())]
    if not lacking:
        return []
    note = f"{metric.name} needs {metric.k} samples a question; too few for {', '.join(lacking)}"
    if len(lacking) == len(tasks):
        raise UsageError(
            note,
            where="--metric",
            remedy=f"sample more (eval -n {metric.k} tops up), or ask for a smaller k",
        )
    return [note + ", so there is no average"]


def _pairs(names: list[str], against: str | None, all_pairs: bool) -> list[tuple[str, str]]:
    """(a, b) of every difference a - b that is wanted."""
    if against is not None and against not in names:
        raise UsageError(
            f"there is no `{against}` here; {did_you_mean(against, names)}".rstrip("; "),
            where="--against",
            remedy="one of " + ", ".join(names),
        )
    names = sorted(names, key=lambda n: n != against)
    if len(names) < 2:
        raise UsageError(
            f"all runs are of the method {names[0]}",
            where="--seeds",
            remedy="compare at least two methods",
        )
    if all_pairs:
        return [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]
    return [(a, names[0]) for a in names[1:]]


def shared_scores(
    runs: Mapping[str, EvalRun], metric: Metric, tasks: Sequence[str]
) -> tuple[dict[str, dict[str, NDArray[np.float64]]], dict[str, int]]:
    """Scores of each run on the questions that all runs completed, in one order.

    Returns them by run and task, (N,), and N by task. Raises `UsageError` for a task without a
    question that is complete everywhere.
    """
    first = next(iter(runs.values()))
    scores: dict[str, dict[str, NDArray[np.float64]]] = {n: {} for n in runs}
    sizes = {}
    for task in tasks:
        common = set.intersection(*(set(r.tasks[task].names) for r in runs.values()))
        if not common:
            raise UsageError(
                f"no question of {task} is complete in every run",
                remedy="finish the evaluations: run the same `sage-bench eval` commands again",
            )
        order = [q for q in first.tasks[task].names if q in common]
        sizes[task] = len(order)
        for name, run in runs.items():
            # files of different machines may hold the same questions in another order
            place = {q: i for i, q in enumerate(run.tasks[task].names)}
            scores[name][task] = metric.of(run, task)[[place[q] for q in order]]
    return scores, sizes


def by_method(runs: Mapping[str, EvalRun]) -> dict[str, list[str]]:
    """Runs of one method, by its name.

    Raises `UsageError` where a method has fewer than two training seeds, or one twice.
    """
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        groups.setdefault(run.method, []).append(name)
    for method, names in groups.items():
        found = [runs[n].label.get("train_seed") for n in names]
        if len(names) < 2 or len(set(found)) < len(found):
            raise UsageError(
                f"{method} has the training seeds {', '.join(map(str, found))}",
                where="--seeds",
                remedy="give at least two runs of different train.seed for every method",
            )
    return groups


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, or the training seeds of a method, with their scores."""

    runs: Sequence[EvalRun]
    scores: Sequence[Scores]

    def on(self, tasks: Sequence[str]) -> list[dict[str, NDArray[np.float64]]]:
        """The scores on some of the tasks, a run each."""
        return [{t: s[t] for t in tasks} for s in self.scores]

    def by_seed(self, tasks: Sequence[str]) -> dict[Any, Scores]:
        """The scores on some of the tasks, by training seed."""
        seeds = [r.label.get("train_seed") for r in self.runs]
        return dict(zip(seeds, self.on(tasks), strict=True))


def pair_rows(
    a: str,
    b: str,
    side_a: Side,
    side_b: Side,
    sizes: Mapping[str, int],
    metric: Metric,
    seeds: bool,
) -> list[Row]:
    """The average first, where there is more than one benchmark, then each benchmark."""
    parts = {AVERAGE: list(sizes)} if len(sizes) > 1 else {}
    parts |= {task: [task] for task in sizes}
    rows = []
    for name, tasks in parts.items():
        value_a = 100 * float(np.mean([macro(s)[0] for s in side_a.on(tasks)]))
        value_b = 100 * float(np.mean([macro(s)[0] for s in side_b.on(tasks)]))
        row = Row(a, b, name, sum(sizes[t] for t in tasks), value_a, value_b)
        if not isnan(value_a) and not isnan(value_b):
            if seeds:
                row = _tested_over_seeds(row, side_a, side_b, tasks)
            else:
                row = _tested(row, side_a, side_b, tasks, metric)
        rows.append(row)
    return rows


def _tested(row: Row, a: Side, b: Side, tasks: Sequence[str], metric: Metric) -> Row:
    """The difference of two policies, with error, interval and p over questions."""
    samples = None
    if metric.kind == "avg":  # of other metrics the scores are not shares of right samples
        samples = (samples_of(a.runs[0], tasks), samples_of(b.runs[0], tasks))
    scores_a = a.on(tasks)[0]
    found = paired(scores_a, b.on(tasks)[0], samples=samples)
    return replace(
        row,
        diff=100 * found.diff,
        se=100 * found.se,
        low=100 * found.low,
        high=100 * found.high,
        p=found.p,
        freedom=float(min(len(x) for x in scores_a.values()) - 1),
    )


def _tested_over_seeds(row: Row, a: Side, b: Side, tasks: Sequence[str]) -> Row:
    """The difference of two methods, with error, interval and p over seeds and questions."""
    order = shares_order(a.runs, b.runs)
    found = claim(a.by_seed(tasks), b.by_seed(tasks), shared_order=order)
    if found.se is None or found.low is None or found.high is None:
        return replace(row, diff=100 * found.diff)
    return replace(
        row,
        diff=100 * found.diff,
        se=100 * found.se,
        low=100 * found.low,
        high=100 * found.high,
        p=nan if found.p is None else found.p,
        freedom=nan if found.freedom is None else found.freedom,
    )


def samples_of(run: EvalRun, tasks: Sequence[str]) -> dict[str, int]:
    """Samples a question, by task."""
    return {t: run.tasks[t].samples for t in tasks}


def footer(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """How the numbers were made, and how small a difference would have been seen.

    groups: the training seeds of each method; empty where single runs are compared.
    """
    how = "Differences in percent points, paired by question; 95 % intervals and p "
    if groups:
        counts = ", ".join(f"{m}: {len(n)} seeds" for m, n in groups.items())
        how += f"contain training seeds and questions ({counts})."
    else:
        how += (
            "by resampling questions within each benchmark and flipping the signs of their"
            " differences: about these policies. One training run each: no claim about the methods"
            " (--seeds compares those)."
        )
    how += (
        " Holm: p corrected for all rows of the table. Bold: significant at 5 % after the"
        " correction; n.s.: not."
    )
    seen = [r for r in rows if r.se > 0]
    if not seen:
        return [how]
    freedom = seen[0].freedom if seen[0].freedom > 0 else inf
    smallest = detectable(seen[0].se, freedom=freedom)
    power = (
        f"A true difference below about {smallest:.1f} points on {seen[0].task} would mostly go"
        " unseen (80 % power)."
    )
    return [how, power]


def comparison_markdown(c: Comparison) -> str:
    """The table for people; one line a row, notes below."""
    lines = [
        f"| {c.metric.name} | questions | A | B | A − B | 95 % CI | p | p (Holm) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in c.rows:
        name = markdown_cell(f"{r.a} − {r.b}, {r.task}")
        values = f"{_number(r.value_a)} | {_number(r.value_b)}"
        lines.append(f"| {name} | {r.questions} | {values} | {_difference_cells(r)} |")
    return "\n".join([*lines, "", *(f"{markdown_note(n)}  " for n in c.notes)]) + "\n"


def _difference_cells(r: Row) -> str:
    if isnan(r.diff):
        return "– | – | – | –"
    diff = f"**{r.diff:+.1f}**" if r.significant else f"{r.diff:+.1f} n.s."
    return f"{diff} | {r.low:+.1f} to {r.high:+.1f} | {r.p:.2g} | {r.holm:.2g}"


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.1f}"
