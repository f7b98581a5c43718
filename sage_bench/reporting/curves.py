"""Training curves of one or more runs, as charts and as one tidy table.

Runs that differ in nothing but their training seed are one line: their median, in a band from the
least to the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from os.path import commonpath, isabs
from typing import Any

import numpy as np
import pandas as pd

from sage_bench.methods.hooks import DIAGNOSTICS
from sage_bench.methods.registry import BACKENDS
from sage_bench.reporting.charts import (
    Chart,
    Number,
    Series,
    middle_and_ends,
    range_of,
    rounded_all,
)
from sage_bench.reporting.runs import TrainRun

# (title, what the axis shows, its label, columns of metrics.jsonl; several columns are summed)
PANELS: Sequence[tuple[str, str, str, tuple[str, ...]]] = (
    (
        "Reward without a hint",
        "mean reward of the first, un-hinted group of each prompt",
        "mean reward",
        ("plain_reward",),
    ),
    (
        "Reward of the groups trained on",
        "mean reward, hinted groups included",
        "mean reward",
        ("reward",),
    ),
    (
        "No signal",
        "share of prompts of a step whose group is all wrong at every level",
        "share of prompts",
        ("dead_wrong",),
    ),
    (
        "Hint use",
        "share of prompts of a step that were trained under a hint",
        "share of prompts",
        ("hinted",),
    ),
    (
        "Rescued",
        "share of prompts of a step whose first right completion came under a hint",
        "share of prompts",
        ("rescued",),
    ),
    (
        "Partial credit",
        "share of prompts of a step whose all-wrong group still gave a signal (step judge, trace)",
        "share of prompts",
        ("graded",),
    ),
    (
        "Hint gap",
        "nats a token by which a hinted completion is less likely without its hint: log p(o|q)"
        " − log p(o|q, h)",
        "nats a token",
        ("learner/hint_gap",),
    ),
    ("Length", "tokens of a completion", "tokens", ("length",)),
    (
        "Truncated",
        "share of completions cut at the token limit",
        "share of completions",
        ("truncated",),
    ),
    ("Entropy", "nats a token, over tokens trained on", "nats a token", ("learner/entropy",)),
    (
        "KL to the initial policy",
        "nats a token, exact over the vocabulary, on some rows of each step",
        "nats a token",
        ("learner/kl_start",),
    ),
    ("Rollouts", "completions sampled a step, re-rolls included", "completions", ("rollouts",)),
    (
        "Clip fraction",
        "share of tokens at the ratio clip",
        "share of tokens",
        ("learner/clip_fraction",),
    ),
)
ALWAYS = (("plain_reward",), ("reward",), ("dead_wrong",))  # drawn even where all is 0
MOST_POINTS = 150  # of a line; a longer run is drawn as means of neighbouring steps
LEVEL = "rescued_level_"


def panels() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """All panels: ours and those of the diagnostics that backends register."""
    BACKENDS.names()  # their modules register what they measure
    brought = [panel for _, diagnostic in DIAGNOSTICS.items() for panel in diagnostic.panels]
    return [*PANELS, *((p.title, p.caption, p.title.lower(), p.columns) for p in brought)]


def tidy(runs: Mapping[str, TrainRun]) -> pd.DataFrame:
    """All numbers of all runs: method, step, metric, value."""
    columns = ["method", "step", "metric", "value"]
    parts = []
    for name, run in runs.items():
        for prefix, frame in (("", run.metrics), ("validation/", run.validation)):
            if not len(frame):
                continue
            numbers = frame.select_dtypes("number")
            long = numbers.melt(id_vars="step", var_name="metric").dropna()
            parts.append(long.assign(method=name, metric=prefix + long.metric))
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def by_seed(runs: Mapping[str, TrainRun]) -> dict[str, list[TrainRun]]:
    """Runs that differ in their training seed only, under the name of their method.

    Where two settings of one method are here, each has the name of the folder its seeds lie in, or
    of its first run.
    """
    groups: dict[str, list[tuple[str, TrainRun]]] = {}
    for name, run in runs.items():
        settings = {k: v for k, v in run.config.items() if k != "train.seed"}
        groups.setdefault(repr(sorted(settings.items())), []).append((name, run))
    backends = [members[0][1].backend for members in groups.values()]
    found: dict[str, list[TrainRun]] = {}
    for members in groups.values():
        names = [name for name, _ in members]
        name = members[0][1].backend
        if backends.count(name) > 1:
            relative = len(names) > 1 and not any(map(isabs, names))
            above = commonpath(names) if relative else ""
            name = above if above and above not in found else names[0]
        found[name] = [member for _, member in members]
    return found


def charts(runs: Mapping[str, TrainRun]) -> list[Chart]:
    """A chart for every panel that has data, validation first, hint levels at the end."""
    groups = by_seed(runs)
    out = _validation(groups) if any(len(r.validation) for r in runs.values()) else []
    for title, caption, unit, columns in panels():
        series = _lines(groups, partial(_steps, columns))
        # a reward of 0 in every step is news; a method that never hints needs no panel of hints
        if series and (columns in ALWAYS or _shows_something(series)):
            out.append(Chart(title, caption, "step", unit, series, y_range=range_of(series)))
    out += [chart for name, members in groups.items() if (chart := _levels(name, members))]
    return out


Points = Callable[[TrainRun], tuple[Sequence[Any], Sequence[Number]] | None]


def _lines(groups: Mapping[str, Sequence[TrainRun]], points: Points) -> list[Series]:
    """One series a group: its only run, or the median of its seeds with their range."""
    out = []
    for name, members in groups.items():
        found = [got for run in members if (got := points(run)) is not None]
        if not found:
            continue
        steps = sorted({x for xs, _ in found for x in xs})
        by_step = [dict(zip(xs, ys, strict=True)) for xs, ys in found]
        rows = [_thinned(steps, [ys.get(x) for x in steps]) for ys in by_step]
        xs = rows[0][0]
        if len(found) == 1:
            out.append(Series(name, xs, rounded_all(rows[0][1])))
            continue
        middle, low, high = middle_and_ends([ys for _, ys in rows])
        about = f"median and range of {len(found)} training seeds"
        out.append(Series(name, xs, middle, low, high, about=about))
    return out


def _thinned(xs: Sequence[Any], ys: Sequence[Number]) -> tuple[list[Any], list[Number]]:
    """Means of neighbouring steps where there are more than a chart can show."""
    if len(xs) <= MOST_POINTS:
        return list(xs), list(ys)
    values = np.array([np.nan if y is None else y for y in ys], dtype=float)
    starts = np.linspace(0, len(xs), MOST_POINTS + 1).astype(int)
    out: list[Number] = []
    for begin, end in pairwise(starts):
        known = values[begin:end][~np.isnan(values[begin:end])]
        out.append(float(known.mean()) if len(known) else None)
    return [xs[begin] for begin in starts[:-1]], out


def _steps(columns: Sequence[str], run: TrainRun) -> tuple[Sequence[Any], Sequence[Number]] | None:
    """The sum of some columns of a run's metrics by step, None where it lacks one."""
    if not set(columns) <= set(run.metrics.columns):
        return None
    y = run.metrics[list(columns)].sum(axis=1, min_count=1)
    measured = y.notna()
    return run.metrics.step[measured].tolist(), y[measured].tolist()


def _shows_something(series: Sequence[Series]) -> bool:
    """Whether any line leaves zero."""
    return any(value for line in series for part in (line.y, line.high) for value in part)


def _validation(groups: Mapping[str, Sequence[TrainRun]]) -> list[Chart]:
    def by_step(run: TrainRun) -> tuple[Sequence[Any], Sequence[Number]] | None:
        if not len(run.validation):
            return None
        return run.validation.step.tolist(), run.validation.reward.tolist()

    caption = "un-hinted reward on the validation set at the rollout temperature"
    spent = "the same against all completions sampled so far: equal compute, not equal steps"
    steps, rollouts = _lines(groups, by_step), _by_rollouts(groups)
    unit = "mean reward"
    return [
        Chart("Validation reward", caption, "step", unit, steps, y_range=range_of(steps)),
        Chart(
            "Validation reward by rollouts",
            spent,
            "rollouts",
            unit,
            rollouts,
            y_range=range_of(rollouts),
        ),
    ]


def _by_rollouts(groups: Mapping[str, Sequence[TrainRun]]) -> list[Series]:
    """Validation against what was sampled. Seeds meet at steps, so a group's x are medians too."""
    out = []
    for name, members in groups.items():
        found = [spent for run in members if (spent := _spent(run))]
        if not found:
            continue
        steps = sorted({step for spent in found for step in spent})
        xs, _, _ = middle_and_ends([[s.get(k, (None, None))[0] for k in steps] for s in found])
        ys = [[s.get(k, (None, None))[1] for k in steps] for s in found]
        middle, low, high = middle_and_ends(ys)
        if len(found) == 1:
            out.append(Series(name, xs, middle))
        else:
            about = f"median and range of {len(found)} training seeds"
            out.append(Series(name, xs, middle, low, high, about=about))
    return out


def _spent(run: TrainRun) -> dict[int, tuple[float, float]]:
    """Validated step: (completions sampled before it, validation reward)."""
    if not len(run.validation) or "rollouts" not in run.metrics:
        return {}
    sampled = run.metrics.rollouts.cumsum()
    out = {}
    for step, reward in zip(run.validation.step, run.validation.reward, strict=True):
        before = run.metrics.step < step
        if step == 0:
            out[0] = (0.0, float(reward))
        elif before.any():
            out[int(step)] = (float(sampled[before].iloc[-1]), float(reward))
    return out


def _levels(name: str, members: Sequence[TrainRun]) -> Chart | None:
    """The share of prompts rescued at each hint level, means over seeds and neighbouring steps."""
    frames = [run.metrics for run in members if len(run.metrics)]
    levels = sorted({c for f in frames for c in f.columns if c.startswith(LEVEL)})
    if not levels:
        return None
    series = []
    for level in levels:
        shares = [f.set_index("step")[level].fillna(0) for f in frames if level in f]
        mean = pd.concat(shares, axis=1).reindex(sorted(set().union(*(f.step for f in frames))))
        # a run without this level at all was never rescued there
        share = mean.fillna(0).sum(axis=1) / len(frames)
        xs, ys = _binned(share)
        title = f"level {level.removeprefix(LEVEL)}"
        series.append(Series(title, xs, rounded_all(ys)))
    over = f", mean of {len(frames)} training seeds" if len(frames) > 1 else ""
    caption = f"share of prompts rescued at each level{over}"
    return Chart(f"Hint levels, {name}", caption, "step", "share of prompts", series, "bars")


MOST_BARS = 60


def _binned(values: pd.Series[float]) -> tuple[list[Any], list[Number]]:
    """Means over neighbouring steps, so that bars stay wide enough to see."""
    width = -(-len(values) // MOST_BARS)
    if width == 1:
        return values.index.tolist(), values.tolist()
    bins = np.arange(len(values)) // width
    means = values.groupby(bins).mean()
    return [values.index[int(b) * width] for b in means.index], means.tolist()
