"""Runs against each other on the same questions: who differs by how much, and what may not be
compared at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import Scores, detectable, holm, macro, paired, paired_over_seeds
from sage_bench.utils.errors import UsageError, did_you_mean

KINDS = {  # what may differ: its name for --allow -> keys of a task's `sampling` in the manifest
    "prompts": ("prompt_id",),
    "sampling": ("temperature", "top_p", "max_gen_toks"),
    "data": ("data_rev",),
}
GRADER = "grader"
AVERAGE = "avg"
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """a - b on one benchmark, or on the average (task `avg`); in percent points. holm: p adjusted
    over all rows of the table."""

    a: str
    b: str
    task: str
    questions: int
    value_a: float
    value_b: float
    diff: float
    se: float
    low: float
    high: float
    p: float
    holm: float = float("nan")

    @property
    def significant(self) -> bool:
        """The interval leaves out 0, and so does the test after Holm's correction."""
        return (self.low > 0 or self.high < 0) and self.holm < SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    metric: Metric
    rows: Sequence[Row]
    notes: Sequence[str]
    partial: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN (nothing to compare) as null."""
        clean = [
            {
                k: None if isinstance(v, float) and isnan(v) else v
                for k, v in (asdict(r) | {"significant": r.significant}).items()
            }
            for r in self.rows
        ]
        return {
            "metric": self.metric.name,
            "unit": "percent points",
            "rows": clean,
            "notes": list(self.notes),
            "partial": self.partial,
        }


# ---- may they be compared? ----------------------------------------------------------------------
def differences(a: EvalRun, b: EvalRun) -> dict[str, list[str]]:
    """What differs between two runs on the tasks they share, by kind (`prompts`, `sampling`,
    `data`, `grader`), in words."""
    found: dict[str, list[str]] = {}
    for task in common_tasks([a, b]):
        one, two = a.manifest["sampling"][task], b.manifest["sampling"][task]
        for kind, keys in KINDS.items():
            found.setdefault(kind, []).extend(
                f"{task}: {k} {one.get(k)} and {two.get(k)}"
                for k in keys
                if one.get(k) != two.get(k)
            )
    if a.manifest["grader"] != b.manifest["grader"]:
        found[GRADER] = [f"{a.manifest['grader']} and {b.manifest['grader']}"]
    return {kind: lines for kind, lines in found.items() if lines}


def common_tasks(runs: Sequence[EvalRun]) -> list[str]:
    return [t for t in runs[0].tasks if all(t in r.tasks for r in runs)]


def check(runs: Mapping[str, EvalRun], allow: Collection[str]) -> list[str]:
    """Notes on what differs and was allowed. Raises `UsageError` naming a difference that was
    not."""
    known = (*KINDS, GRADER)
    for word in allow:
        if word not in known:
            raise UsageError(
                f"unknown difference `{word}`; {did_you_mean(word, known)}".rstrip("; "),
                where="--allow",
                remedy="one of " + ", ".join(known),
            )
    names, notes = list(runs), []
    for name in names[1:]:
        found = differences(runs[names[0]], runs[name])
        for kind, lines in found.items():
            said = (
                f"{names[0]} and {name} differ in {kind}"
                f" ({'; '.join(lines[:3])}{'; ...' if len(lines) > 3 else ''})"
            )
            if kind not in allow:
                raise UsageError(
                    said,
                    where=str(runs[name].folder),
                    remedy=f"compare runs that were asked alike, or add --allow {kind}",
                )
            notes.append(said)
    return notes


# ---- the comparison -----------------------------------------------------------------------------
def compare_runs(
    runs: Mapping[str, EvalRun],
    metric: Metric,
    *,
    allow: Collection[str] = (),
    against: str | None = None,
    all_pairs: bool = False,
    seeds: bool = False,
) -> Comparison:
    """Every run against the first (or the one named `against`), or every pair; on each common
    benchmark and on their unweighted average.

    seeds: runs of one method are its training seeds; methods are compared, and intervals contain
    the seed. Raises `UsageError` where there is nothing to compare or the runs were not asked
    alike.
    """
    if len(runs) < 2:
        raise UsageError(
            "there is only one run here",
            remedy="name two or more evaluation runs, or a folder that contains them",
        )
    tasks = common_tasks(list(runs.values()))
    if not tasks:
        raise UsageError(
            "these runs share no benchmark: "
            + "; ".join(f"{n}: {', '.join(r.tasks)}" for n, r in runs.items()),
            remedy="evaluate them on the same tasks",
        )
    notes = check(runs, allow)
    notes += [
        f"{n}: {', '.join(t for t in r.tasks if t not in tasks)} left out, not every run has it"
        for n, r in runs.items()
        if set(r.tasks) - set(tasks)
    ]
    notes += [
        f"{n}: {t} {r.tasks[t].status}; only complete questions are compared"
        for n, r in runs.items()
        for t in tasks
        if r.tasks[t].status != "ok"
    ]
    notes += [f"{n}: {r.limited}" for n, r in runs.items() if r.limited]
    notes += (
        [
            f"{n} has {', '.join(f'{t}:{r.tasks[t].samples}' for t in tasks)}"
            for n, r in runs.items()
        ]
        if len({r.tasks[t].samples for r in runs.values() for t in tasks}) > 1
        else []
    )
    scores, sizes = shared_scores(runs, metric, tasks)
    lacking = [t for t in tasks if any(np.isnan(s[t]).any() for s in scores.values())]
    if lacking:
        notes.append(
            f"{metric.name} needs {metric.k} samples a question; too few for {', '.join(lacking)}"
            + ("" if len(lacking) == len(tasks) else ", so there is no average")
        )
        if len(lacking) == len(tasks):
            raise UsageError(
                notes[-1],
                where="--metric",
                remedy=f"sample more (eval -n {metric.k} tops up), or ask for a smaller k",
            )
    groups = by_method(runs) if seeds else {n: [n] for n in runs}
    names = list(groups)
    if against is not None and against not in groups:
        raise UsageError(
            f"there is no `{against}` here; {did_you_mean(against, names)}".rstrip("; "),
            where="--against",
            remedy="one of " + ", ".join(names),
        )
    names.sort(key=lambda n: n != against)
    if len(names) < 2:
        raise UsageError(
            f"all runs are of the method {names[0]}",
            where="--seeds",
            remedy="compare at least two methods",
        )
    pairs = (
        [(a, b) for i, b in enumerate(names) for a in names[i + 1 :]]
        if all_pairs
        else [(a, names[0]) for a in names[1:]]
    )
    rows = [
        row
        for a, b in pairs
        for row in pair_rows(
            a, b, [scores[n] for n in groups[a]], [scores[n] for n in groups[b]], sizes, seeds
        )
    ]
    rows = [replace(r, holm=h) for r, h in zip(rows, holm([r.p for r in rows]), strict=True)]
    return Comparison(
        metric,
        rows,
        notes + footer(rows, groups if seeds else {}),
        any(runs[n].tasks[t].status != "ok" for n in runs for t in tasks),
    )


def shared_scores(
    runs: Mapping[str, EvalRun], metric: Metric, tasks: Sequence[str]
) -> tuple[dict[str, dict[str, NDArray[np.float64]]], dict[str, int]]:
    """Scores of each run on the questions that all runs completed, in one order; and how many these
    are."""
    scores: dict[str, dict[str, NDArray[np.float64]]] = {n: {} for n in runs}
    sizes = {}
    for task in tasks:
        common = set.intersection(*(set(r.tasks[task].names) for r in runs.values()))
        if not common:
            raise UsageError(
                f"no question of {task} is complete in every run",
                remedy="finish the evaluations: run the same `sage-bench eval` commands again",
            )
        order = [q for q in next(iter(runs.values())).tasks[task].names if q in common]
        sizes[task] = len(order)
        for name, run in runs.items():
            place = {q: i for i, q in enumerate(run.tasks[task].names)}
            scores[name][task] = metric.of(run, task)[[place[q] for q in order]]
    return scores, sizes


def by_method(runs: Mapping[str, EvalRun]) -> dict[str, list[str]]:
    """Runs of one method, by its name. Raises `UsageError` where a method has fewer than two
    training seeds, or one twice."""
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


def pair_rows(
    a: str,
    b: str,
    of_a: Sequence[Scores],
    of_b: Sequence[Scores],
    sizes: Mapping[str, int],
    seeds: bool,
) -> list[Row]:
    """The average first, where there is more than one benchmark, then each benchmark."""
    tasks = list(sizes)
    parts = [(AVERAGE, tasks)] if len(tasks) > 1 else []
    rows = []
    for name, members in [*parts, *((t, [t]) for t in tasks)]:
        one, two = ([{t: s[t] for t in members} for s in side] for side in (of_a, of_b))
        values = [100 * float(np.mean([macro(s)[0] for s in side])) for side in (one, two)]
        size = sum(sizes[t] for t in members)
        if any(isnan(v) for v in values):
            rows.append(Row(a, b, name, size, *values, *[float("nan")] * 5))
            continue
        r = paired_over_seeds(one, two) if seeds else paired(one[0], two[0])
        diff = r.mean if seeds else r.diff
        rows.append(
            Row(a, b, name, size, *values, 100 * diff, 100 * r.se, 100 * r.low, 100 * r.high, r.p)
        )
    return rows


def footer(rows: Sequence[Row], groups: Mapping[str, Sequence[str]]) -> list[str]:
    how = "Differences in percent points, paired by question; 95 % intervals and p "
    if groups:
        how += (
            "contain training seeds and questions ("
            + ", ".join(f"{m}: {len(n)} seeds" for m, n in groups.items())
            + ")."
        )
    else:
        how += (
            "by resampling questions within each benchmark and flipping the signs of their"
            " differences. One training seed a run says nothing of training again (--seeds does)."
        )
    seen = [r for r in rows if r.se > 0]
    power = (
        [
            f"A true difference below about {detectable(seen[0].se):.1f} points on {seen[0].task}"
            " would mostly go unseen (80 % power)."
        ]
        if seen
        else []
    )
    return [
        how + " Holm: p corrected for all rows of the table. Bold: significant at 5 % after the"
        " correction; n.s.: not.",
        *power,
    ]


def comparison_markdown(c: Comparison) -> str:
    """The table for people; one line a row, notes below."""
    lines = [
        f"| {c.metric.name} | questions | A | B | A − B | 95 % CI | p | p (Holm) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in c.rows:
        head = (
            f"| {r.a} − {r.b}, {r.task} | {r.questions} | {_number(r.value_a)} |"
            f" {_number(r.value_b)} | "
        )
        if isnan(r.diff):
            lines.append(head + "– | – | – | – |")
            continue
        diff = f"**{r.diff:+.1f}**" if r.significant else f"{r.diff:+.1f} n.s."
        lines.append(head + f"{diff} | {r.low:+.1f} to {r.high:+.1f} | {r.p:.2g} | {r.holm:.2g} |")
    return "\n".join([*lines, "", *(f"{n}  " for n in c.notes)]) + "\n"


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:.1f}"
