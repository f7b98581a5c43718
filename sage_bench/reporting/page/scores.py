"""Charts of evaluations: averages with intervals, pass@k, and what accuracy cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sage_bench.evaluation.tasks.spec import in_order
from sage_bench.reporting.charts import (
    Chart,
    Choice,
    Number,
    Series,
    middle_and_ends,
    range_of,
    rounded,
    rounded_all,
)
from sage_bench.reporting.compare import shared_scores
from sage_bench.reporting.method_table import TRAINING, grouped
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.runs import EvalRun, TrainRun
from sage_bench.statistics import (
    accuracy_interval,
    macro,
    macro_interval,
    over_seeds,
    pass_at_k,
)

AVERAGE = "average"
MOST_K = 32  # every k up to here, then a spread of them up to n
Groups = Mapping[str, Sequence[EvalRun]]


def eval_groups(runs: Sequence[EvalRun]) -> dict[str, list[EvalRun]]:
    """Runs of one model and method (its training seeds), by a name for charts; runs that answered
    no benchmark are left out."""
    found = grouped([run for run in runs if benchmarks_of(run)])
    models = {model for model, _ in found}
    return {
        method if len(models) == 1 else f"{model}: {method}": members
        for (model, method), members in found.items()
    }


def benchmarks_of(run: EvalRun) -> list[str]:
    """The tasks of a run without those that ask training prompts."""
    return [task for task in run.tasks if not task.startswith(TRAINING)]


def tasks_of(groups: Groups) -> list[str]:
    """All benchmarks that some run answered, in their order."""
    return in_order({t: 0 for rs in groups.values() for r in rs for t in benchmarks_of(r)})


def averaged(groups: Groups) -> list[str]:
    """The benchmarks that averages are taken over: those that most runs answered, together."""
    sets = Counter(tuple(benchmarks_of(run)) for rs in groups.values() for run in rs)
    # the larger set where two are equally frequent
    best = max(sets, key=lambda tasks: (sets[tasks], len(tasks)), default=())
    return list(best)


def score_charts(runs: Sequence[EvalRun], trains: Mapping[Path, TrainRun]) -> dict[str, Choice]:
    """Every choice of charts that has something to show, by name: scores, passes, cost."""
    groups = eval_groups(runs)
    found = {
        "scores": _scores(groups),
        "passes": _passes(groups),
        "cost": _cost(groups, trains),
    }
    return {name: choice for name, choice in found.items() if choice.charts}


# ---- averages -----------------------------------------------------------------------------------
def _scores(groups: Groups) -> Choice:
    tasks = tasks_of(groups)
    together = averaged(groups)
    charts = {}
    for name in [AVERAGE, *tasks] if len(together) > 1 else tasks:
        wanted = together if name == AVERAGE else [name]
        series = []
        for group, members in groups.items():
            have = [r for r in members if set(wanted) <= set(r.tasks)]
            if not have:
                continue
            value, low, high = (rounded(100 * v) for v in _interval(have, wanted))
            seeds = rounded_all(100 * macro(_of(r, wanted))[0] for r in have)
            about = f"{len(have)} training seeds" if len(have) > 1 else "over questions"
            labels = [group] * len(seeds)
            series.append(Series(group, seeds, [value], [low], [high], labels, about))
        if series:
            charts[name] = Chart(name, "", "percent", "", series, "intervals")
    caption = (
        "Mean and 95 % interval: over training seeds and questions where a method has several"
        " seeds (small points), else over questions."
    )
    return Choice("Accuracy", caption, charts)


def _of(run: EvalRun, tasks: Sequence[str]) -> dict[str, Any]:
    return {t: run.tasks[t].means for t in tasks}


def _interval(runs: Sequence[EvalRun], tasks: Sequence[str]) -> tuple[float, float, float]:
    """Mean, low and high of the average over some benchmarks, as shares."""
    if len(runs) > 1:
        named = {str(i): r for i, r in enumerate(runs)}
        scores, _ = shared_scores(named, Metric(), tasks)
        found = over_seeds(list(scores.values()))
        return float(found.mean), float(found.low), float(found.high)
    run = runs[0]
    mean, _ = macro(_of(run, tasks))
    if len(tasks) == 1:
        result = run.tasks[tasks[0]]
        return mean, *accuracy_interval(result.means, result.samples)
    samples = {t: run.tasks[t].samples for t in tasks}
    return mean, *macro_interval(_of(run, tasks), samples=samples)


# ---- pass@k -------------------------------------------------------------------------------------
def ks(n: int) -> list[int]:
    """Every k that a curve up to n has.

    >>> ks(4), len(ks(1024)), ks(1024)[-1]
    ([1, 2, 3, 4], 52, 1024)
    """
    few = list(range(1, min(n, MOST_K) + 1))
    if n <= MOST_K:
        return few
    more = np.unique(np.geomspace(MOST_K + 1, n, 20).round().astype(int))
    return few + [int(k) for k in more]


def _passes(groups: Groups) -> Choice:
    tasks = [
        t
        for t in tasks_of(groups)
        if max(r.tasks[t].samples for g in groups.values() for r in g if t in r.tasks) > 1
    ]
    together = [t for t in averaged(groups) if t in tasks]
    charts = {}
    for name in [AVERAGE, *tasks] if len(together) > 1 else tasks:
        wanted = together if name == AVERAGE else [name]
        series = [s for group, runs in groups.items() if (s := _pass_line(group, runs, wanted))]
        if series:
            unit = "pass@k, percent"
            limits = range_of(series)
            charts[name] = Chart(name, "", "k", unit, series, y_range=limits, log_x=True)
    caption = (
        "Chance that k samples hold a right one: unbiased, up to the samples there are."
        " Of several training seeds the median and the range."
    )
    return Choice("pass@k", caption, charts)


def _pass_line(name: str, runs: Sequence[EvalRun], tasks: Sequence[str]) -> Series | None:
    have = [r for r in runs if set(tasks) <= set(r.tasks)]
    if not have:
        return None
    n = min(r.tasks[t].samples for r in have for t in tasks)
    at = ks(n)
    curves = [[rounded(100 * _pass(r, tasks, k)) for k in at] for r in have]
    if len(have) == 1:
        return Series(name, at, curves[0])
    middle, low, high = middle_and_ends(curves)
    about = f"median and range of {len(have)} training seeds"
    return Series(name, at, middle, low, high, about=about)


def _pass(run: EvalRun, tasks: Sequence[str], k: int) -> float:
    """pass@k as the mean over questions, then over benchmarks."""
    results = [run.tasks[t] for t in tasks]
    return float(np.mean([pass_at_k(r.right, r.samples, k).mean() for r in results]))


# ---- cost ---------------------------------------------------------------------------------------
SPENT = {
    "rollouts": ("completions sampled in training", ("rollouts",)),
    "tokens": ("tokens sampled in training", ("tokens",)),
    "hours": ("hours of training on the wall clock", ("seconds/step",)),
}
ANSWER = "tokens of an answer"


def _cost(groups: Groups, trains: Mapping[Path, TrainRun]) -> Choice:
    tasks = averaged(groups)
    groups = {g: [r for r in rs if set(tasks) <= set(r.tasks)] for g, rs in groups.items()}
    caption = (
        "Average accuracy against what it cost; the line joins what no other point beats in both."
        " Of several training seeds the median, with the range of their accuracy."
    )
    charts: dict[str, Chart] = {}
    for name, (label, columns) in SPENT.items() if tasks else ():
        costs = {g: [_spent(r, trains, columns, name) for r in rs] for g, rs in groups.items()}
        # an axis on which only the untrained policy lies, at 0, shows nothing
        if any(cost for of_group in costs.values() for cost in of_group):
            charts[name] = _scatter(name, label, groups, costs, tasks)
    if tasks:
        lengths = {
            g: [float(np.mean([r.tasks[t].tokens for t in tasks])) for r in rs]
            for g, rs in groups.items()
        }
        charts[ANSWER] = _scatter(ANSWER, "tokens of an answer, mean", groups, lengths, tasks)
    return Choice("Cost", caption, charts)


def _scatter(
    name: str,
    label: str,
    groups: Groups,
    costs: Mapping[str, Sequence[Number]],
    tasks: Sequence[str],
) -> Chart:
    series, points = [], []
    for group, members in groups.items():
        scores = [100 * macro(_of(r, tasks))[0] for r in members]
        known = [(c, s) for c, s in zip(costs[group], scores, strict=True) if c is not None]
        if not known:
            continue
        xs, ys = rounded_all(c for c, _ in known), rounded_all(s for _, s in known)
        (x,), _, _ = middle_and_ends([[v] for v in xs])
        (y,), low, high = middle_and_ends([[v] for v in ys])
        about = f"median of {len(known)} training seeds" if len(known) > 1 else ""
        series.append(Series(group, [x], [y], low, high, [group], about))
        if x is not None and y is not None:
            points.append((x, y))
    unit = "average accuracy, percent"
    limits = range_of(series)
    return Chart(name, "", label, unit, series, "points", limits, front=front_of(points))


def front_of(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats: cheaper and better.

    >>> front_of([(0, 10.0), (5, 30.0), (6, 20.0), (9, 40.0)])
    [(0, 10.0), (5, 30.0), (9, 40.0)]
    """
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _spent(
    run: EvalRun, trains: Mapping[Path, TrainRun], columns: Sequence[str], name: str
) -> Number:
    """What the training of an evaluated policy cost until its step; 0 for one nobody trained here,
    None where its training run is not among these."""
    if run.label.get("method") in {None, "base"}:
        return 0.0
    train = trained_by(run, trains)
    if train is None or not set(columns) <= set(train.metrics.columns):
        return None
    until = run.label.get("step")
    rows = train.metrics if until is None else train.metrics[train.metrics.step < until]
    total = float(rows[list(columns)].sum().sum())
    return total / 3600 if name == "hours" else total


def trained_by(run: EvalRun, trains: Mapping[Path, TrainRun]) -> TrainRun | None:
    """The training run whose checkpoint was evaluated; the training seed must agree.

    Found by the path given to `eval`, of which only the end may still be true, else by its method.
    None where that leaves none, or two.
    """
    model = Path(str(run.manifest["model"]))
    folder = model.parent.parent if model.parent.name == "checkpoints" else model
    seed = run.label.get("train_seed")
    shared: dict[Path, int] = {}
    for place, train in trains.items():
        if seed is None or train.config.get("train.seed", 0) == seed:
            shared[place] = _same_end(place.resolve().parts, folder.parts)
    closest = max(shared.values(), default=0)
    best = [place for place, parts in shared.items() if parts == closest]
    if closest == 0:
        best = [place for place in best if trains[place].backend == run.label.get("method")]
    return trains[best[0]] if len(best) == 1 else None


def _same_end(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts two paths share, from their ends."""
    shared = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one != other:
            break
        shared += 1
    return shared
