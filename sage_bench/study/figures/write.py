"""Write the figures and tables of a study: SVG, CSV and one Markdown page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sage_bench.reporting.method_table import method_table
from sage_bench.reporting.reference import unique
from sage_bench.reporting.render import to_csv, to_latex, to_markdown
from sage_bench.reporting.svg import Bars, Lines, Span, bars_svg, lines_svg
from sage_bench.study.figures import frames
from sage_bench.study.figures.collect import StudyRun, collect
from sage_bench.utils.cells import csv_text, markdown_cell
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_text

PERCENT = "percent, median over seeds with their range"
RANGE = "Median over the training seeds; in brackets the lowest and the highest."


@dataclass(frozen=True)
class Figure:
    """One of the paper's tables or figures, from our runs.

    name: of its files. pictures: SVG by file name. text: its table in Markdown. missing: what has
    to be run for it, where there is nothing to show.
    """

    name: str
    title: str
    frame: pd.DataFrame
    text: str
    pictures: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def write_figures(
    folder: Path, out: Path, *, baseline: str = frames.BASELINE, only: Sequence[str] = ()
) -> list[Path]:
    """Make the figures of all runs at or below a folder; returns what was written.

    baseline: the method that costs are multiples of and that others are tested against. only: names
    of figures, all unless given. `figures.md` shows them all and says what is missing for those
    that have no runs. Raises `UsageError` for a folder without a run and for an unknown name.
    """
    rows, on_prompts = collect(folder)
    makers: dict[str, Callable[[], Figure]] = {
        "table1": lambda: _table1(rows, baseline),
        "table2": lambda: _table2(rows, frames.signal_frame(rows, on_prompts)),
        "table3": lambda: _table3(rows, baseline),
        "figure3": lambda: _figure3(rows),
        "figure5": lambda: _figure5(rows),
        "figure6": lambda: _figure6(rows),
    }
    unknown = [name for name in only if name not in makers]
    if unknown:
        raise UsageError(
            f"there is no figure `{unknown[0]}`",
            where="--only",
            remedy="one of " + ", ".join(makers),
        )
    found = [make() for name, make in makers.items() if not only or name in only]
    make_folder(out)
    files = {}
    for figure in found:
        if len(figure.frame):
            files[f"{figure.name}.csv"] = csv_text(figure.frame)
        files |= figure.pictures
    if not only or "table1" in only:
        files |= _table1_files(rows, baseline)
    files["figures.md"] = _page(found)
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]


def _page(found: Sequence[Figure]) -> str:
    parts = ["# Figures of the study", "", RANGE]
    for figure in found:
        parts += ["", f"## {figure.title}", ""]
        if figure.missing:
            parts.append(f"Not here: {figure.missing}")
            continue
        for name in figure.pictures:
            parts += [f"![{figure.title}]({name})", ""]
        parts.append(figure.text)
    return "\n".join(parts).rstrip() + "\n"


# ---- the figures --------------------------------------------------------------------------------
def _table1(rows: Sequence[StudyRun], baseline: str) -> Figure:
    frame = frames.average_frame(rows)
    title = "Table 1: methods by model, average over benchmarks"
    if frame.empty:
        return Figure("table1-averages", title, frame, "", missing="no evaluation of a benchmark")
    series = {m: frames.spans(frame[frame.model == m], "method") for m in unique(frame.model)}
    chart = Bars("Average over benchmarks", PERCENT, unique(frame.method), series)
    text = "The whole table, with errors and tests, is in [table1.md](table1.md).\n\n"
    text += _pivot(frame, "method", "model")
    return Figure("table1-averages", title, frame, text, {"table1.svg": bars_svg(chart)})


def _table1_files(rows: Sequence[StudyRun], baseline: str) -> dict[str, str]:
    """Table 1 itself, as `report` makes it."""
    runs = [row.evaluated for row in rows if row.evaluated is not None]
    if not runs:
        return {}
    known = {run.method for run in runs}
    named = baseline if baseline in known else None
    table = method_table(runs, baseline=named, title="Methods by model")
    return {
        "table1.csv": to_csv(table),
        "table1.md": to_markdown(table),
        "table1.tex": to_latex(table),
    }


def _table2(rows: Sequence[StudyRun], frame: pd.DataFrame) -> Figure:
    title = "Table 2: training prompts that never gave a signal, percent"
    if frame.empty:
        return Figure("table2", title, frame, "", missing="no training run")
    steps = frames.signal_steps(rows)
    pictures = {}
    for model in unique(steps.model):
        part = steps[steps.model == model]
        series = {m: frames.spans(part[part.method == m], "step") for m in unique(part.method)}
        about = "percent of a step's groups that were all wrong at every level"
        chart = Lines(f"No signal, {model}", "step", about, series)
        pictures[f"table2-{_file(model)}.svg"] = lines_svg(chart)
    text = "Start and end: the first and the last tenth of the steps.\n\n"
    text += _pivot(frame.assign(row=frame.method + ", " + frame.phase), "row", "model")
    return Figure("table2", title, frame, text + _papers(frame), pictures)


def _table3(rows: Sequence[StudyRun], baseline: str) -> Figure:
    frame = frames.cost_frame(rows, baseline)
    title = f"Table 3: cost of a step as a multiple of {baseline}'s"
    if frame.empty:
        missing = f"no training run of {baseline} and another method of the same model and seed"
        return Figure("table3", title, frame, "", missing=missing)
    together = frame[frame.model == frames.ALL_MODELS]
    series = {c: frames.spans(together[together.cost == c], "method") for c in frames.COSTS}
    about = "multiple of the baseline, median over models and seeds with their range"
    chart = Bars("Cost of a step", about, unique(together.method), series, {baseline: 1.0})
    text = "Seconds were measured with as many other jobs beside as the study ran at once.\n\n"
    text += _pivot(together, "method", "cost", digits=2)
    pictures = {"table3.svg": bars_svg(chart)}
    return Figure("table3", title, frame, text + _papers(together), pictures)


def _figure3(rows: Sequence[StudyRun]) -> Figure:
    frame = frames.levels_frame(rows)
    title = "Figure 3: whose hints, of which level"
    if frame.empty or not frame.category.str.startswith("level").any():
        missing = (
            f"runs of {frames.SELF_HINTING} with method.fixed_level=1, 2 or 3, and"
            " method.hint_source=online or offline"
        )
        return Figure("figure3", title, frame.iloc[:0], "", missing=missing)
    pictures = {}
    for model in unique(frame.model):
        part = frame[frame.model == model]
        if not part.category.str.startswith("level").any():
            continue
        series = {s: frames.spans(part[part.series == s], "category") for s in unique(part.series)}
        there = [c for c in frames.CATEGORIES if c in set(part.category)]
        chart = Bars(f"Hints by level, {model}", PERCENT, there, series)
        pictures[f"figure3-{_file(model)}.svg"] = bars_svg(chart)
    named = frame.assign(row=frame.category + ", " + frame.series)
    return Figure("figure3", title, frame, _pivot(named, "row", "model", paper=True), pictures)


def _figure5(rows: Sequence[StudyRun]) -> Figure:
    frame = frames.ablation_frame(rows)
    title = "Figure 5: what each part of self-hinting is worth"
    if frame.empty or not frame.variant.str.contains(frames.SELF_HINTING).any():
        missing = f"runs of {frames.SELF_HINTING}"
        return Figure("figure5", title, frame.iloc[:0], "", missing=missing)
    pictures = {}
    for model in unique(frame.model):
        part = frame[frame.model == model]
        chart = Bars(
            f"Ablations, {model}",
            PERCENT,
            list(part.variant),
            {"average": frames.spans(part, "variant")},
        )
        pictures[f"figure5-{_file(model)}.svg"] = bars_svg(chart)
    return Figure("figure5", title, frame, _pivot(frame, "variant", "model", paper=True), pictures)


def _figure6(rows: Sequence[StudyRun]) -> Figure:
    frame = frames.hint_use(rows)
    title = "Figure 6: hint use over the steps"
    shown = frame[frame.method == frames.SELF_HINTING]
    if shown.empty:
        missing = f"training runs of {frames.SELF_HINTING}"
        return Figure("figure6", title, frame, "", missing=missing)
    pictures = {}
    for model in unique(shown.model):
        part = shown[shown.model == model]
        series = {
            _level(v): frames.spans(part[part.level == v], "step") for v in unique(part.level)
        }
        about = "percent of a step's prompts that were trained under a hint"
        chart = Lines(f"Hint use, {model}", "step", about, series)
        pictures[f"figure6-{_file(model)}.svg"] = lines_svg(chart)
    return Figure("figure6", title, frame, _use_text(shown), pictures)


def _level(level: str) -> str:
    return "any hint" if level == "any" else f"level {level}"


def _use_text(shown: pd.DataFrame) -> str:
    """The first and the last tenth of the steps, as words beside the picture."""
    last = shown.step.max()
    tenth = max(1, round((last + 1) / frames.PART))
    parts = {"start": shown[shown.step < tenth], "end": shown[shown.step > last - tenth]}
    out = []
    for name, part in parts.items():
        means = part.groupby(["model", "level"], sort=False)["median"].mean()
        out += [
            {"row": f"{_level(str(level))}, {name}", "model": model, "median": value}
            for (model, level), value in means.items()
        ]
    frame = pd.DataFrame(out)
    return _pivot(frame.assign(low=frame["median"], high=frame["median"], seeds=1), "row", "model")


# ---- Markdown -----------------------------------------------------------------------------------
def _pivot(
    frame: pd.DataFrame, down: str, across: str, *, digits: int = 1, paper: bool = False
) -> str:
    """Medians with their ranges, one column of a frame against another."""
    heads = unique(frame[across])
    extra = ["paper"] if paper else []
    lines = ["| | " + " | ".join(map(markdown_cell, [*heads, *extra])) + " |"]
    lines.append("|---|" + "---:|" * (len(heads) + len(extra)))
    for name in unique(frame[down]):
        row = frame[frame[down] == name]
        cells = [_cell(row[row[across] == head], digits) for head in heads]
        if paper:
            known = [str(v) for v in row.paper.dropna()]
            cells.append(known[0] if known else "–")
        lines.append("| " + " | ".join([markdown_cell(name), *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(part: pd.DataFrame, digits: int) -> str:
    if part.empty:
        return "–"
    row = part.iloc[0]
    span = Span(row["median"], row["low"], row["high"])
    if row["seeds"] < 2:
        return f"{span.median:.{digits}f}"
    return f"{span.median:.{digits}f} ({span.low:.{digits}f} to {span.high:.{digits}f})"


def _papers(frame: pd.DataFrame) -> str:
    """The paper's values of the methods that are here, one line each."""
    known = frame.drop_duplicates("method").dropna(subset=["paper"])
    lines = [f"- {row.method}: {row.paper}" for row in known.itertuples()]
    return "\nThe paper's:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _file(model: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in model.rsplit("/", 1)[-1])
