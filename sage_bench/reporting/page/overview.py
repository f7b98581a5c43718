"""The first page: what was run, under which settings, and the table of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sage_bench.reporting.export import by_tasks
from sage_bench.reporting.method_table import MethodTable, method_table
from sage_bench.reporting.page.provenance import SAMPLING, date, last_written
from sage_bench.reporting.protocols import model_names
from sage_bench.reporting.render import footnotes, html_rows
from sage_bench.reporting.runs import EvalRun
from sage_bench.utils.errors import UsageError


@dataclass(frozen=True)
class PageTable:
    """A table of methods: head and body are HTML, notes are text."""

    head: str
    body: str
    notes: Sequence[str]


@dataclass(frozen=True)
class Overview:
    """The facts of a report in a few lines, and its tables of methods."""

    facts: Mapping[str, str] | None = None
    tables: Sequence[PageTable] = ()


def overview(evals: Mapping[str, EvalRun]) -> Overview:
    """The overview of some evaluations (at least one)."""
    runs = list(evals.values())
    return Overview(_facts(runs), [_page_table(t) for t in method_tables(runs)])


def method_tables(runs: Sequence[EvalRun]) -> list[MethodTable]:
    """One table where all runs were asked alike, else one for each set that was."""
    tables = []
    for group in by_tasks(runs):
        try:
            tables.append(method_table(group))
        except UsageError:  # other sampling, or no benchmark: the detailed tables say what differs
            continue
    return tables


def _page_table(table: MethodTable) -> PageTable:
    head, body = html_rows(table)
    return PageTable(head, body, footnotes(table))


def _facts(runs: Sequence[EvalRun]) -> dict[str, str]:
    models = list(dict.fromkeys(model_names(runs).values()))
    written = [w for run in runs if (w := last_written(run.folder)) is not None]
    questions = {task: len(r.means) for run in runs for task, r in run.tasks.items()}
    drawn = sum(len(r.means) * r.samples for run in runs for r in run.tasks.values())
    facts = {
        "models": ", ".join(models),
        "benchmarks": ", ".join(f"{t} ({n})" for t, n in questions.items()),
        "samples": f"{drawn:,}",
        "sampling": _settings(runs),
        "grader": ", ".join(dict.fromkeys(str(run.manifest["grader"]) for run in runs)),
        "last sample": date(max(written)) if written else "",
    }
    return {name: value for name, value in facts.items() if value}


def _settings(runs: Sequence[EvalRun]) -> str:
    """Temperature, top_p and token limit, every value that occurs."""
    sampling = [s for run in runs for s in run.manifest["sampling"].values()]
    parts = []
    for key in SAMPLING[:3]:
        values = dict.fromkeys(str(s.get(key)) for s in sampling if s.get(key) is not None)
        if values:
            parts.append(f"{key} {' or '.join(values)}")
    return ", ".join(parts)
