"""`compare` and `report` from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.reporting.compare import Comparison, compare_runs, comparison_markdown
from sage_bench.reporting.export import eval_runs
from sage_bench.reporting.method_table import MethodTable, method_table, reference_table
from sage_bench.reporting.metrics import parse_metric
from sage_bench.reporting.reference import load_reference
from sage_bench.reporting.report import report as write_report
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import UsageError

Paths = Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class CompareResult:
    """Paired differences between evaluations.

    table: one row a pair and benchmark, in percent points. notes: what was allowed to differ, what
    was left out, how the numbers are made. partial: questions are missing from some run. text: the
    table in Markdown.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]
    partial: bool
    text: str
    comparison: Comparison

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return self.comparison.as_json()


def compare(
    runs: Paths,
    metric: str = "avg",
    *,
    against: str | None = None,
    all_pairs: bool = False,
    seeds: bool = False,
    allow: Sequence[str] = (),
) -> CompareResult:
    """Compare evaluations question by question, with intervals and corrected tests.

    runs: evaluations, or folders that contain them; the others are compared with the first, or
    with the one named `against`. metric: avg, pass@4, maj@4 ... seeds: runs of one method are its
    training seeds. allow: differences in spite of which to compare (prompts, sampling, data,
    grader). Raises `UsageError` when there is nothing to compare or runs were not asked alike.
    """
    found = compare_runs(
        eval_runs(paths_of(runs)),
        parse_metric(metric),
        allow=allow,
        against=against,
        all_pairs=all_pairs,
        seeds=seeds,
    )
    rows = [asdict(row) | {"significant": row.significant} for row in found.rows]
    return CompareResult(
        pd.DataFrame(rows),
        tuple(found.notes),
        found.partial,
        comparison_markdown(found),
        found,
    )


@dataclass(frozen=True)
class ReportResult:
    """What a report wrote. leaderboard: one row an evaluation and benchmark, empty without any."""

    folder: Path
    files: tuple[Path, ...]

    @property
    def leaderboard(self) -> pd.DataFrame:
        file = self.folder / "leaderboard.csv"
        return pd.read_csv(file) if file in self.files else pd.DataFrame()


def report(
    runs: Paths, out: Path | str | None = None, *, grader: str | None = None
) -> ReportResult:
    """Write tables and training curves of runs as HTML, Markdown and CSV.

    runs: training runs and evaluations, or folders that contain them. out: the first folder unless
    given. grader: whose grades the tables show. Raises `UsageError` where there is no run.
    """
    folders = paths_of(runs)
    # beside what it is about, where a person looks for it
    folder = Path(out) if out is not None else folders[0]
    return ReportResult(folder, tuple(write_report(folders, folder, grader)))


def paths_of(runs: Paths) -> list[Path]:
    """One path or several as a list of paths."""
    given = [runs] if isinstance(runs, (str, Path)) else runs
    return [Path(run) for run in given]


def method_tables(
    runs: Paths,
    *,
    reference: str | None = None,
    baseline: str | None = None,
    grader: str | None = None,
    on_test: bool = False,
) -> MethodTable:
    """Methods by model beside a paper's cells; without runs the paper's table alone.

    runs: evaluations, or folders that contain them; those of one model and method are its training
    seeds. reference: `paper:sage-table1` and others. baseline: the method others are tested
    against. on_test: with a marked row for the best checkpoint of the test set. Raises `UsageError`
    for an unknown name and where runs were not asked alike.
    """
    cells = load_reference(reference) if reference else None
    folders = paths_of(runs)
    if not folders:
        if cells is None:
            raise UsageError("nothing to report", remedy="give run folders, or a --reference")
        return reference_table(cells)
    found = list(eval_runs(folders).values())
    if grader is not None:
        found = [read_eval(run.folder, grader) for run in found]
    return method_table(found, reference=cells, baseline=baseline, on_test=on_test)
