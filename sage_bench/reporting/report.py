"""The report: a page that opens without a server or a network (`page`), and its tables.

The tables are also written as Markdown and CSV.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.data.schema import TrainStatus
from sage_bench.reporting.comparable import common_tasks, differences
from sage_bench.reporting.curves import tidy
from sage_bench.reporting.export import by_tasks, named
from sage_bench.reporting.footers import data_notes
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.page.provenance import train_state
from sage_bench.reporting.page.site import Content, Fault, write_site
from sage_bench.reporting.protocols import model_names
from sage_bench.reporting.runs import (
    EvalRun,
    TrainRun,
    find_runs,
    kind_of,
    read_eval,
    read_train,
    readable,
)
from sage_bench.reporting.tables import (
    answers,
    compare,
    comparison,
    delta_note,
    markdown,
    seed_table,
)
from sage_bench.statistics import holm
from sage_bench.utils.cells import csv_text
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import make_folder, write_text

NUMBER = "{:.1f}".format
ABOUT_POLICIES = (
    "These differences, intervals and p are over questions: about these policies. A claim about"
    " methods needs several training seeds of each (`sage-bench compare --seeds`, `report --format"
    " text`); with one training run each there is none."
)


@dataclass(frozen=True)
class Table:
    """A table of the report with the lines under it."""

    title: str
    frame: pd.DataFrame
    notes: Sequence[str] = field(default_factory=tuple)


def comparison_line(c: Mapping[str, Any]) -> str:
    """One comparison in words: `sage − grpo: +12.3 [9.1, 15.4], p = 0.0001`.

    Says n.s. when the interval covers 0; with Holm's p where there is one. A claim about methods
    names its training seeds; where there is none, that stands in place of interval and p.
    """
    head = f"{c['a']} − {c['b']}: {c['diff']:+.1f}"
    if c["p"] is None:
        return f"{head}; {c['note']}"
    verdict = "" if c["ci"][0] > 0 or c["ci"][1] < 0 else ", n.s."
    corrected = f" (Holm {c['holm']:.2g})" if "holm" in c else ""
    seeds = ""
    if c.get("over") == "seeds":
        seeds = f"; over the training seeds {', '.join(map(str, c['seeds']))} ({c['pairing']})"
    return (
        f"{head} [{c['ci'][0]:.1f}, {c['ci'][1]:.1f}], p = {c['p']:.2g}{corrected}{verdict}{seeds}"
    )


def page_tables(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Tables as the page takes them: title, HTML, notes."""
    return [{"title": t.title, "html": _table_html(t), "notes": t.notes} for t in tables]


def _table_html(table: Table) -> str:
    frame = table.frame.reset_index()
    return str(frame.to_html(float_format=NUMBER, na_rep="–", border=0, index=False))


def _text(table: Table) -> str:
    return markdown(table.frame, table.notes)


def _with_title(table: Table) -> str:
    return f"### {table.title}\n\n{_text(table)}"


def report(folders: Sequence[Path], out: Path, grader: str | None = None) -> list[Path]:
    """Write index.html, table.md, leaderboard.csv and curves.csv for all runs in these folders.

    grader: whose grades the tables show; each run's own unless named. A run that cannot be read is
    told on standard error and listed on the page; where none can, the first error is raised.
    Returns what was written.
    """
    evals, trains, faults = _read(folders, grader)
    make_folder(out)
    tables = []
    for group in by_tasks(list(evals.values())):
        tables += blocks_of([r for r in evals.values() if r in group])
    content = Content(
        title="SAGE-Bench report",
        subtitle=f"{len(evals)} evaluations, {len(trains)} training runs",
        tables=page_tables(tables),
        evals=evals,
        trains=trains,
        faults=faults,
        grader=grader,
    )
    pages = write_site(out, content)
    files = {}
    if evals:
        many = len(set(model_names(list(evals.values())).values())) > 1
        files["table.md"] = "\n".join(_with_title(t) if many else _text(t) for t in tables)
        board = leaderboard(list(evals.values()), passes=True)
        files["leaderboard.csv"] = csv_text(board)
    if trains:
        files["curves.csv"] = csv_text(tidy(trains))
    for name, text in files.items():
        write_text(out / name, text)
    return [*pages, *(out / name for name in files)]


def _read(
    folders: Sequence[Path], grader: str | None
) -> tuple[dict[str, EvalRun], dict[str, TrainRun], list[Fault]]:
    """The runs at or below some folders, under distinct names, and those that cannot be read, with
    their reasons. Where none can be, the first error is raised."""

    def read(folder: Path) -> EvalRun | TrainRun:
        return read_eval(folder, grader) if kind_of(folder) == "eval" else read_train(folder)

    found = [f for folder in folders for f in find_runs(folder)] or list(folders)
    errors: dict[Path, SageBenchError] = {}
    runs = readable(found, read, errors)
    evals = named([run for run in runs.values() if isinstance(run, EvalRun)])
    trains = unique({f: run for f, run in runs.items() if isinstance(run, TrainRun)})
    faults = [Fault(str(folder), str(error)) for folder, error in errors.items()]
    return evals, trains, faults + unfinished(evals, trains)


def unfinished(evals: Mapping[str, EvalRun], trains: Mapping[str, TrainRun]) -> list[Fault]:
    """Runs that are shown and not whole, each with what it lacks."""
    faults = []
    for run in evals.values():
        if run.lacking:
            lacks = ", ".join(f"{task}: {status}" for task, status in run.lacking.items())
            faults.append(Fault(str(run.folder), f"unfinished; {lacks}"))
    for train in trains.values():
        status = TrainStatus.read_or_none(train.folder / "status.json")
        if status is not None and status.state != "done":
            faults.append(Fault(str(train.folder), f"unfinished; {train_state(status)}"))
    return faults


def comparison_of(runs: Mapping[str, EvalRun]) -> Table:
    """The comparison table with every row tested against the first."""
    base, *others = runs
    found = {name: differences(runs[base], runs[name]) for name in others}
    alike = [name for name in others if not found[name] and common_tasks([runs[base], runs[name]])]
    tested = [compare(name, base, runs) for name in alike]
    if len(tested) > 1:
        adjusted = holm([c["p"] for c in tested])
        tested = [{**c, "holm": p} for c, p in zip(tested, adjusted, strict=True)]
    notes = [
        "Percent; ± is the standard error of the average, clustered by question. Evaluated without"
        " hints."
    ]
    notes += [comparison_line(c) for c in tested]
    if tested:
        notes.append(ABOUT_POLICIES)
    for name in others:
        if found[name]:
            lines = [line for kind in found[name].values() for line in kind[:2]]
            notes.append(f"{name} is not compared with {base}: {'; '.join(lines)}")
    notes += delta_note(runs)
    return Table("Comparison", comparison(runs), (*notes, *data_notes(runs)))


def blocks_of(runs: Sequence[EvalRun]) -> list[Table]:
    """The tables of every model, under its name where there are several."""
    models = model_names(runs)
    names = list(dict.fromkeys(models.values()))
    if len(names) == 1:
        return tables_of(named(runs))
    out = []
    for name in names:
        block = named([r for r in runs if models[r.folder] == name])
        out += [replace(t, title=f"{name}: {t.title.lower()}") for t in tables_of(block)]
    return out


def tables_of(runs: Mapping[str, EvalRun]) -> list[Table]:
    """The comparison, how the answers ended, and methods over their training seeds.

    The last only where a method has several.
    """
    ended = (
        "Means over benchmarks; tokens of a completion; pass@k is unbiased, over all samples of a"
        " question."
    )
    tables = [
        comparison_of(runs),
        Table("How the answers ended", answers(runs), (ended, *data_notes(runs))),
    ]
    seeds = seed_table(list(runs.values()))
    if seeds is not None:
        note = "Percent; ± and the 95 % interval (low, high) contain training seeds and questions."
        tables.append(Table("Over training seeds", seeds, (note,)))
    return tables


def unique(runs: Mapping[Path, TrainRun]) -> dict[str, TrainRun]:
    """Names for curves: the backend, or as much of the folder's end as tells it from the others."""
    backends = Counter(run.backend for run in runs.values())
    shared = [folder for folder, run in runs.items() if backends[run.backend] > 1]
    ends = Counter("/".join(f.parts[-n:]) for f in shared for n in range(1, len(f.parts) + 1))
    names = {}
    for folder, run in runs.items():
        name = run.backend
        if folder in shared:
            parts = range(1, len(folder.parts) + 1)
            tails = ("/".join(folder.parts[-n:]) for n in parts)
            name = next((tail for tail in tails if ends[tail] == 1), str(folder))
        names[name] = run
    return names
