"""Training curves of one or more runs, as plotly figures and as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sage_bench.methods.hooks import DIAGNOSTICS
from sage_bench.methods.registry import BACKENDS
from sage_bench.reporting.runs import TrainRun

# (title, what the axis shows, columns of metrics.jsonl; several columns are summed)
PANELS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    (
        "Reward without a hint",
        "mean reward of the first, un-hinted group of each prompt",
        ("plain_reward",),
    ),
    ("Reward of the groups trained on", "mean reward, hinted groups included", ("reward",)),
    (
        "No signal",
        "share of prompts of a step whose group is all wrong at every level",
        ("dead_wrong",),
    ),
    ("Hint use", "share of prompts of a step that were trained under a hint", ("hinted",)),
    (
        "Rescued",
        "share of prompts of a step whose first right completion came under a hint",
        ("rescued",),
    ),
    (
        "Partial credit",
        "share of prompts of a step whose all-wrong group still gave a signal (step judge, trace)",
        ("graded",),
    ),
    (
        "Hint gap",
        "nats a token by which a hinted completion is less likely without its hint: log p(o|q)"
        " − log p(o|q, h)",
        ("learner/hint_gap",),
    ),
    ("Length", "tokens of a completion", ("length",)),
    ("Entropy", "nats a token, over tokens trained on", ("learner/entropy",)),
    (
        "KL to the initial policy",
        "nats a token, exact over the vocabulary, on some rows of each step",
        ("learner/kl_start",),
    ),
    ("Rollouts", "completions sampled a step, re-rolls included", ("rollouts",)),
    ("Clip fraction", "share of tokens at the ratio clip", ("learner/clip_fraction",)),
)
COLOURS = (
    "#4269d0",
    "#ff725c",
    "#3ca951",
    "#a463f2",
    "#efb118",
    "#6cc5b0",
    "#9c6b4e",
    "#97bbf5",
    "#ff8ab7",
    "#9498a0",
    "#1f4e5f",
    "#b5651d",
)


def panels() -> list[tuple[str, str, tuple[str, ...]]]:
    """All panels: ours and those of the diagnostics that backends register."""
    BACKENDS.names()  # their modules register what they measure
    brought = [panel for _, diagnostic in DIAGNOSTICS.items() for panel in diagnostic.panels]
    return [*PANELS, *((p.title, p.caption, p.columns) for p in brought)]


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


def figures(runs: Mapping[str, TrainRun]) -> list[tuple[str, str, Any]]:
    """(title, caption, plotly figure) of every panel that has data, hint levels at the end."""
    out = []
    if any(len(r.validation) for r in runs.values()):
        out += _validation(runs)
    for title, caption, columns in panels():
        figure = _panel(runs, columns)
        if _shows_something(figure):
            out.append((title, caption, figure))
    for name, run in runs.items():
        levels = sorted(c for c in run.metrics.columns if c.startswith("rescued_level_"))
        if levels:
            caption = "share of prompts rescued at each level"
            out.append((f"Hint levels, {name}", caption, _hint_levels(run, levels)))
    for _, _, figure in out:
        _lay_out(figure)
    return out


def _lay_out(figure: Any) -> None:
    """Size, legend and axis title that all panels share."""
    figure.update_layout(
        template="plotly_white",
        height=300,
        margin={"l": 50, "r": 16, "t": 12, "b": 40},
        legend={"orientation": "h", "y": 1.12},
        showlegend=True,
    )
    if figure.layout.xaxis.title.text is None:
        figure.update_xaxes(title="step")


def _validation(runs: Mapping[str, TrainRun]) -> list[tuple[str, str, Any]]:
    import plotly.graph_objects as go

    by_steps = go.Figure()
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
        if len(run.validation):
            by_steps.add_scatter(
                x=run.validation.step,
                y=run.validation.reward,
                name=name,
                mode="lines+markers",
                line_color=colour,
            )
    caption = "un-hinted reward on the validation set at the rollout temperature"
    spent = "the same against all completions sampled so far: equal compute, not equal steps"
    return [
        ("Validation reward", caption, by_steps),
        ("Validation reward by rollouts", spent, _by_rollouts(runs)),
    ]


def _panel(runs: Mapping[str, TrainRun], columns: Sequence[str]) -> Any:
    """A line a run of the sum of some columns of its metrics."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
        if not set(columns) <= set(run.metrics.columns):
            continue
        y = run.metrics[list(columns)].sum(axis=1, min_count=1)
        # a diagnostic that some steps lack keeps its line, with marks where it was measured
        mode = "lines+markers" if y.isna().any() else "lines"
        figure.add_scatter(
            x=run.metrics.step, y=y, name=name, mode=mode, connectgaps=True, line_color=colour
        )
    return figure


def _shows_something(figure: Any) -> bool:
    """Whether any line leaves zero: a method that never hints needs no panel of hints."""
    return any(any(value for value in trace.y) for trace in figure.data)


def _hint_levels(run: TrainRun, levels: Sequence[str]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for level in levels:
        y = run.metrics[level].fillna(0)
        figure.add_bar(x=run.metrics.step, y=y, name=f"level {level[-1]}")
    figure.update_layout(barmode="stack")
    return figure


def _by_rollouts(runs: Mapping[str, TrainRun]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
        if not len(run.validation) or "rollouts" not in run.metrics:
            continue
        spent = run.metrics.rollouts.cumsum()
        x = []
        for step in run.validation.step:
            before = run.metrics.step < step
            if step == 0:
                x.append(0)
            elif before.any():
                x.append(int(spent[before].iloc[-1]))
        figure.add_scatter(
            x=x,
            y=run.validation.reward[: len(x)],
            name=name,
            mode="lines+markers",
            line_color=colour,
        )
    figure.update_xaxes(title="rollouts")
    return figure
