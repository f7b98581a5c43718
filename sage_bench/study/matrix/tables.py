"""The tables of a matrix, with a mark where cells are missing and the reason under the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sage_bench.reporting.method_table import MethodRow, MethodTable, method_table
from sage_bench.reporting.reference import load_reference
from sage_bench.reporting.render import write_tables
from sage_bench.reporting.runs import EvalRun, find_kind, read_eval, readable
from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.spec import MatrixSpec
from sage_bench.study.matrix.state import read_record


def write_study_tables(spec: MatrixSpec, out: Path, cells: Sequence[Cell]) -> list[Path]:
    """table.csv, table.md, table.tex and index.html of what has been evaluated so far; nothing
    where that is nothing. Returns what was written."""
    table = study_table(spec, out, cells)
    return [] if table is None else write_tables(table, out)


def study_table(spec: MatrixSpec, out: Path, cells: Sequence[Cell]) -> MethodTable | None:
    """The table, with a line for every cell that is missing and why."""
    runs = evaluated(out, cells)
    if not runs:
        return None
    reference = load_reference(spec.reference) if spec.reference else None
    methods = {run.method for run in runs}
    baseline = spec.baseline if spec.baseline in methods else None
    table = method_table(runs, reference=reference, baseline=baseline, title=spec.name)
    reasons = missing(out, cells)
    rows = _with_missing(table.rows, cells, reasons)
    notes = [*table.notes, *(f"missing: {name}: {why}" for name, why in reasons.items())]
    return replace(table, rows=rows, notes=notes)


def evaluated(out: Path, cells: Sequence[Cell]) -> list[EvalRun]:
    """The evaluations of these cells, those included that stopped half-way."""
    folders: list[Path] = []
    for cell in cells:
        if cell.kind == "eval" and cell.folder.is_dir():
            folders += find_kind(cell.folder, "eval")
    return list(readable(folders, read_eval).values())


def missing(out: Path, cells: Sequence[Cell]) -> dict[str, str]:
    """Why a cell is not done, by its name; of cells that wait for a failed one only that."""
    reasons = {}
    for cell in cells:
        record = read_record(out, cell.name)
        if record.state == "done" or _waits_for_a_failure(out, cell):
            continue
        reasons[cell.name] = f"{record.state}: {record.reason}".rstrip(": ")
    waiting = [name for name, why in reasons.items() if why == "waiting"]
    if len(waiting) > 3:  # a table of a study that has just begun has no need of hundreds of lines
        for name in waiting:
            del reasons[name]
        reasons[f"{len(waiting)} cells"] = "waiting"
    return reasons


def _waits_for_a_failure(out: Path, cell: Cell) -> bool:
    record = read_record(out, cell.name)
    if record.state != "waiting" or not cell.after:
        return False
    return any(read_record(out, need).state != "done" for need in cell.after)


def _with_missing(
    rows: Sequence[MethodRow], cells: Sequence[Cell], reasons: Mapping[str, str]
) -> list[MethodRow]:
    """A row, without numbers, for every one of which nothing was evaluated."""
    have = {(row.model, row.method.split(" (")[0].split(" @")[0]) for row in rows}
    out = list(rows)
    for cell in cells:
        key = (cell.model.name, cell.row)
        if cell.kind != "eval" or key in have:
            continue
        have.add(key)
        wrong = [n for n in reasons if n.split("/")[1:3] == cell.name.split("/")[1:3]]
        status = "failed" if any(reasons[n].startswith("failed") for n in wrong) else "missing"
        at = max((i + 1 for i, row in enumerate(out) if row.model == cell.model.name), default=None)
        row = MethodRow(cell.model.name, f"{cell.row} ({status})", {}, 0, status)
        out.insert(len(out) if at is None else at, row)
    return out
