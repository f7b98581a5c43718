"""The numbers of the figures: tidy tables, medians over training seeds with their range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import pandas as pd

from sage_bench.evaluation.grades import load_grades
from sage_bench.reporting.method_table import averages_of
from sage_bench.reporting.protocols import known_model
from sage_bench.reporting.reference import PaperCell, Reference, load_reference, plain, unique
from sage_bench.reporting.runs import EvalRun, TrainRun
from sage_bench.reporting.svg import Span
from sage_bench.statistics import macro
from sage_bench.study.figures.collect import StudyRun
from sage_bench.training.no_signal import no_signal_share

BASE = "base"
BASELINE = "grpo"
SELF_HINTING = "sage"
ALL_MODELS = "all models"
PART = 10  # the start and the end of a training are a tenth of its steps
LEVELS = (1, 2, 3)


def span_of(values: Sequence[float]) -> Span:
    """Median and range.

    >>> span_of([3.0, 1.0, 2.0])
    Span(median=2.0, low=1.0, high=3.0)
    """
    return Span(median(values), min(values), max(values))


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The columns of a median over seeds; empty cells where there is nothing."""
    if not values:
        return {"median": None, "low": None, "high": None, "seeds": 0}
    span = span_of(values)
    return {"median": span.median, "low": span.low, "high": span.high, "seeds": len(values)}


def average(run: EvalRun) -> float | None:
    """The average over the benchmarks in distribution, percent; None where one is missing."""
    tasks = next(iter(averages_of([*run.tasks, *run.missing]).values()))
    if run.missing or not tasks:
        return None
    return 100 * float(macro({t: run.tasks[t].means for t in tasks})[0])


def by_row(rows: Sequence[StudyRun]) -> dict[tuple[str, str], list[StudyRun]]:
    """The seeds of each model and method, in the order of first appearance, base first."""
    groups: dict[tuple[str, str], list[StudyRun]] = {}
    for row in rows:
        groups.setdefault((row.model, row.method), []).append(row)
    return dict(sorted(groups.items(), key=lambda item: item[0][1] != BASE))


# ---- figure 1, table 1: averages ----------------------------------------------------------------
def average_frame(rows: Sequence[StudyRun]) -> pd.DataFrame:
    """model, method, then the average over seeds; percent."""
    out = []
    for (model, method), members in by_row(rows).items():
        found = [average(row.evaluated) for row in members if row.evaluated is not None]
        values = [v for v in found if v is not None]
        if values:
            out.append({"model": model, "method": method, **spread(values)})
    return pd.DataFrame(out)


# ---- table 2: prompts without a signal ----------------------------------------------------------
def signal_frame(rows: Sequence[StudyRun], on_prompts: Sequence[EvalRun]) -> pd.DataFrame:
    """Percent of the training prompts seen that never gave a signal.

    phase: `start`, the first tenth of the steps; `end`, the last; `all`, the whole training, which
    is what the paper's table 2 has. Of a policy whose answers to the training prompts were
    evaluated: the share of prompts without a right one, as phase `start`.
    """
    out = []
    for (model, method), members in by_row(rows).items():
        runs = [row.trained for row in members if row.trained is not None and row.trained.ledger]
        for phase, share in PHASES.items():
            values = [v for v in map(share, runs) if v is not None]
            if values:
                out.append({"model": model, "method": method, "phase": phase, **spread(values)})
    for run in on_prompts:
        share = load_grades(run.folder).groupby("doc_id")["correct"].sum() == 0
        found = {"model": known_model(run) or run.model, "method": run.method, "phase": "start"}
        out.append({**found, **spread([100 * float(share.mean())])})
    return with_paper(pd.DataFrame(out), "paper:sage-table2")


def _phase(first: float, last: float) -> Callable[[TrainRun], float | None]:
    """The share without a signal in a stretch of the steps, percent."""

    def share(run: TrainRun) -> float | None:
        steps = 1 + max(row["step"] for row in run.ledger)
        begin = min(int(first * steps), steps - 1)
        end = max(round(last * steps), begin + 1)
        found = no_signal_share(row for row in run.ledger if begin <= row["step"] < end)
        return None if found is None else 100 * found

    return share


PHASES = {
    "start": _phase(0.0, 1 / PART),
    "end": _phase(1 - 1 / PART, 1.0),
    "all": _phase(0.0, 1.0),
}


def signal_steps(rows: Sequence[StudyRun]) -> pd.DataFrame:
    """model, method, step: percent of a step's groups that were all wrong at every level."""
    return over_steps(rows, lambda run: 100 * run.metrics.set_index("step")["dead_wrong"])


def over_steps(
    rows: Sequence[StudyRun], column: Callable[[TrainRun], pd.Series[Any]]
) -> pd.DataFrame:
    """A number of every step, over the seeds that reached it."""
    out = []
    for (model, method), members in by_row(rows).items():
        runs = [row.trained for row in members if row.trained is not None]
        series = [column(run) for run in runs if len(run.metrics)]
        if not series:
            continue
        table = pd.concat(series, axis=1)
        for step, values in table.iterrows():
            known = [float(v) for v in values.dropna()]
            if known:
                out.append({"model": model, "method": method, "step": step, **spread(known)})
    return pd.DataFrame(out)


# ---- table 3: relative cost ---------------------------------------------------------------------
COSTS = {"rollouts": "rollouts", "tokens": "tokens", "seconds": "seconds/step"}


def cost_frame(rows: Sequence[StudyRun], baseline: str = BASELINE) -> pd.DataFrame:
    """Rollouts, tokens and seconds a step, as multiples of the baseline of the same model and seed.

    Rows for each model, and for all models together. paper: relative training time.
    """
    of_baseline = {(r.model, r.seed): r.trained for r in rows if r.method == baseline}
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        base = of_baseline.get((row.model, row.seed))
        if row.trained is None or base is None:
            continue
        for cost, column in COSTS.items():
            ratio = _ratio(row.trained, base, column)
            if ratio is not None:
                for model in (row.model, ALL_MODELS):
                    found.setdefault((model, row.method, cost), []).append(ratio)
    out = []
    for (model, method, cost), values in found.items():
        out.append({"model": model, "method": method, "cost": cost, **spread(values)})
    return with_paper(pd.DataFrame(out), "paper:sage-table3", "train_time_rel")


def _ratio(run: TrainRun, base: TrainRun, column: str) -> float | None:
    """The mean a step of one run over that of another; None where one has none."""
    if column not in run.metrics or column not in base.metrics:
        return None
    below = float(base.metrics[column].mean())
    return float(run.metrics[column].mean()) / below if below > 0 else None


# ---- figures 3 and 5: whose hints, and what they are worth ---------------------------------------
def describe_variant(row: StudyRun) -> dict[str, Any] | None:
    """What kind of self-hinting a run is; None for another method.

    source: `online`, `offline` or `data`; level: the only one that is tried, None where they are
    climbed; hints: per prompt when offline; off_policy: scored without the hint.
    """
    if row.trained is None or row.trained.backend != SELF_HINTING:
        return None
    return {
        "source": row.setting("method.hint_source", "online"),
        "level": row.setting("method.fixed_level"),
        "hints": row.setting("method.offline_hints", 1),
        "off_policy": bool(row.setting("method.score_plain", False)),
    }


def level_bar(row: StudyRun) -> tuple[str, str] | None:
    """(category, series) of a run in figure 3; None for runs that are not in it."""
    if row.method == BASE:
        return "no training", "no hint"
    if row.method == BASELINE:
        return "no hint", "no hint"
    kind = describe_variant(row)
    if kind is None or kind["level"] is None or kind["off_policy"] or kind["hints"] > 1:
        return None
    return f"level {kind['level']}", SOURCES[kind["source"]]


SOURCES = {
    "online": "self-hint, online",
    "offline": "self-hint, offline",
    "data": "hints of the data",
}
CATEGORIES = ("no training", "no hint", *(f"level {level}" for level in LEVELS))


def ablation_bar(row: StudyRun) -> str | None:
    """The bar of a run in figure 5; None for runs that are not in it."""
    if row.method == BASE:
        return "no training"
    if row.method == BASELINE:
        return "no hint"
    kind = describe_variant(row)
    if kind is None or kind["source"] == "data":
        return None
    if kind["level"] is not None:
        more = f", {kind['hints']} hints" if kind["hints"] > 1 else ""
        return f"{kind['source']}{more} (level {kind['level']})"
    if kind["source"] == "offline":
        return f"{SELF_HINTING}, offline"
    if kind["off_policy"]:
        return f"{SELF_HINTING}, off-policy"
    # a longer training at an equal budget is a row of its own in table 1, and not an ablation
    return SELF_HINTING if row.method == SELF_HINTING else None


def levels_frame(rows: Sequence[StudyRun]) -> pd.DataFrame:
    """model, category, series: the average over benchmarks, percent; the paper's bar beside it."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        bar = level_bar(row)
        value = None if row.evaluated is None else average(row.evaluated)
        if bar is not None and value is not None:
            found.setdefault((row.model, *bar), []).append(value)
    out = []
    for (model, category, series), values in found.items():
        paper = PAPER_LEVELS.get((category, series))
        out.append(
            {
                "model": model,
                "category": category,
                "series": series,
                **spread(values),
                "paper": _bar_of_paper("Figure 3-left", paper),
            }
        )
    return pd.DataFrame(out)


def ablation_frame(rows: Sequence[StudyRun]) -> pd.DataFrame:
    """model, variant: the average over benchmarks, percent; the paper's bar beside it."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        bar = ablation_bar(row)
        value = None if row.evaluated is None else average(row.evaluated)
        if bar is not None and value is not None:
            found.setdefault((row.model, bar), []).append(value)
    out = []
    places = list(PAPER_ABLATIONS)
    order = sorted(found, key=lambda bar: places.index(bar[1]) if bar[1] in places else len(places))
    for model, variant in order:
        values = found[model, variant]
        paper = _bar_of_paper("Figure 5", PAPER_ABLATIONS.get(variant))
        out.append({"model": model, "variant": variant, **spread(values), "paper": paper})
    return pd.DataFrame(out)


# the paper's names of its bars
PAPER_LEVELS = {
    ("no training", "no hint"): "w/o training",
    ("no hint", "no hint"): "No hint (hint level 0)",
    **{
        (f"level {level}", series): f"{name} (hint level {level})"
        for level in LEVELS
        for series, name in (
            ("self-hint, online", "Self-hint online"),
            ("self-hint, offline", "Self-hint offline"),
        )
    },
}
PAPER_ABLATIONS = {
    "no training": "w/o training",
    "no hint": "No hint (hint level 0)",
    "offline (level 2)": "offline (hint level 2)",
    "online (level 2)": "online (hint level 2)",
    "offline, 10 hints (level 2)": "offline w/ more hint (10 hints, T=1.0) (hint level 2)",
    "sage, off-policy": "SAGE off-policy (hint level adaptive)",
    "sage": "SAGE (hint level adaptive)",
}


def _bar_of_paper(figure: str, name: str | None) -> str | None:
    if name is None:
        return None
    reference = load_reference("paper:sage-figures")
    return next((c.text for c in reference.cells if (c.table, c.method) == (figure, name)), None)


# ---- figure 6: hint use -------------------------------------------------------------------------
def hint_use(rows: Sequence[StudyRun]) -> pd.DataFrame:
    """model, method, level, step: percent of a step's prompts whose group had a hint of a level.

    level: `any`, or its number. Methods that never hint are left out.
    """
    parts = []
    hinting = [row for row in rows if row.trained is not None and _hints(row.trained)]
    for level in ("any", *LEVELS):
        frame = over_steps(hinting, partial(_share_at, level=level))
        parts.append(frame.assign(level=str(level)))
    columns = ["model", "method", "level", "step", "median", "low", "high", "seeds"]
    joined = pd.concat(parts) if hinting else pd.DataFrame(columns=columns)
    return joined[columns]


def _hints(run: TrainRun) -> bool:
    return any(row["level"] > 0 for row in run.ledger)


def _share_at(run: TrainRun, *, level: str | int) -> pd.Series[Any]:
    """By step, the percentage of groups at a level."""
    frame = pd.DataFrame(
        {"step": row["step"], "level": row["level"]} for row in run.ledger if not row.get("part")
    )
    at = frame.level > 0 if level == "any" else frame.level == level
    return 100 * at.groupby(frame.step).mean()


# ---- the paper's numbers ------------------------------------------------------------------------
def with_paper(frame: pd.DataFrame, name: str, benchmark: str | None = None) -> pd.DataFrame:
    """The paper's values of each method, of all its models, beside ours.

    >>> frame = pd.DataFrame({"method": ["grpo"]})
    >>> with_paper(frame, "paper:sage-table2").paper[0]
    '40.2 (Llama-3.2-3B-Instruct), 10.3 (Qwen2.5-7B-Instruct), 1.3 (Qwen3-4B-Instruct-2507)'
    """
    if frame.empty:
        return frame
    reference = load_reference(name)
    found = {m: _paper_values(reference, m, benchmark) for m in unique(frame.method)}
    return frame.assign(paper=[found[m] for m in frame.method])


def _paper_values(reference: Reference, method: str, benchmark: str | None) -> str | None:
    cells: list[PaperCell] = []
    for cell in reference.cells:
        if plain(cell.method) == plain(method) and benchmark in {None, cell.benchmark}:
            cells.append(cell)
    return ", ".join(f"{c.text} ({c.model})" for c in cells) or None


def spans(frame: pd.DataFrame, key: str) -> Mapping[Any, Span]:
    """The medians of a part of a frame, by one of its columns."""
    return {
        row[key]: Span(row["median"], row["low"], row["high"]) for row in frame.to_dict("records")
    }
