"""Training curves of one or more runs, as plotly figures and as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sage_bench.methods.registry import BACKENDS, DIAGNOSTICS
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
        (
            "nats a token by which a hinted completion is less likely without its hint: log p(o|q)"
            " − log p(o|q, h)"
        ),
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
    parts = []
    for name, run in runs.items():
        for prefix, frame in (("", run.metrics), ("validation/", run.validation)):
            if len(frame):
                long = (
                    frame.select_dtypes("number").melt(id_vars="step", var_name="metric").dropna()
                )
                parts.append(long.assign(method=name, metric=prefix + long.metric))
    return (
        pd.concat(parts)[["method", "step", "metric", "value"]]
        if parts
        else pd.DataFrame(columns=["method", "step", "metric", "value"])
    )


def figures(runs: Mapping[str, TrainRun]) -> list[tuple[str, str, Any]]:
    """(title, caption, plotly figure) of every panel that has data, and the hint levels of each run
    that used hints."""
    import plotly.graph_objects as go

    out = []
    if any(len(r.validation) for r in runs.values()):
        fig = go.Figure()
        for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
            if len(run.validation):
                fig.add_scatter(
                    x=run.validation.step,
                    y=run.validation.reward,
                    name=name,
                    mode="lines+markers",
                    line_color=colour,
                )
        out.append(
            (
                "Validation reward",
                "un-hinted reward on the validation set at the rollout temperature",
                fig,
            )
        )
        out.append(
            (
                "Validation reward by rollouts",
                "the same against all completions sampled so far: equal compute, not equal steps",
                _by_rollouts(runs),
            )
        )
    for title, caption, columns in panels():
        fig = go.Figure()
        for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
            if set(columns) <= set(run.metrics.columns):
                y = run.metrics[list(columns)].sum(axis=1, min_count=1)
                # a diagnostic that some steps lack keeps its line, with marks where it was measured
                fig.add_scatter(
                    x=run.metrics.step,
                    y=y,
                    name=name,
                    mode="lines+markers" if y.isna().any() else "lines",
                    connectgaps=True,
                    line_color=colour,
                )
        if fig.data and any(any(v for v in t.y) for t in fig.data):
            out.append((title, caption, fig))
    for name, run in runs.items():
        levels = sorted(c for c in run.metrics.columns if c.startswith("rescued_level_"))
        if levels:
            fig = go.Figure()
            for level in levels:
                fig.add_bar(
                    x=run.metrics.step, y=run.metrics[level].fillna(0), name=f"level {level[-1]}"
                )
            fig.update_layout(barmode="stack")
            out.append((f"Hint levels, {name}", "share of prompts rescued at each level", fig))
    for _, _, fig in out:
        fig.update_layout(
            template="plotly_white",
            height=300,
            margin={"l": 50, "r": 16, "t": 12, "b": 40},
            legend={"orientation": "h", "y": 1.12},
            showlegend=True,
        )
        fig.update_xaxes(
            title="step" if fig.layout.xaxis.title.text is None else fig.layout.xaxis.title.text
        )
    return out


def _by_rollouts(runs: Mapping[str, TrainRun]) -> Any:
    import plotly.graph_objects as go

    fig = go.Figure()
    for colour, (name, run) in zip(COLOURS, runs.items(), strict=False):
        if len(run.validation) and "rollouts" in run.metrics:
            spent = run.metrics.rollouts.cumsum()
            x = [
                0 if s == 0 else int(spent[run.metrics.step < s].iloc[-1])
                for s in run.validation.step
                if s == 0 or (run.metrics.step < s).any()
            ]
            fig.add_scatter(
                x=x,
                y=run.validation.reward[: len(x)],
                name=name,
                mode="lines+markers",
                line_color=colour,
            )
    fig.update_xaxes(title="rollouts")
    return fig
