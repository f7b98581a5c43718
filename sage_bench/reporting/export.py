"""Files people and programs read: tables of a run, leaderboards over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from sage_bench.evaluation.grades import load_grades
from sage_bench.reporting.footers import data_notes
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.runs import EvalRun, find_kind, read_eval, readable
from sage_bench.reporting.tables import comparison, markdown
from sage_bench.utils.cells import csv_text
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import write_text

WORTH_A_WARNING = 0.05  # share of cut or unreadable answers that moves a score


def run_table(run: EvalRun) -> str:
    """The Markdown table of one evaluation."""
    rows = {run.method: run}
    return markdown(comparison(rows).drop(columns="delta"), data_notes(rows))


def write_eval(folder: Path, *, show: bool = True) -> EvalRun:
    """Write summary.csv and per_question.csv in the run folder, leaderboards beside it.

    Prints warnings about the run's answers, and with `show` its table.
    """
    grades = load_grades(folder)
    run = read_eval(folder, grades=grades)
    board = leaderboard([run], passes=True)
    write_text(folder / "summary.csv", csv_text(board))
    per_question = (
        grades.groupby(["task", "doc_id", "uid"], sort=False)
        .agg(n=("correct", "size"), correct=("correct", "sum"), tokens=("tokens", "mean"))
        .reset_index()
    )
    if run.limited:
        per_question["limited"] = run.limited
    write_text(folder / "per_question.csv", csv_text(per_question))
    write_leaderboard(folder.parent.parent, {folder: run})
    if show:
        print_markdown(run_table(run))
    _warn_of_answers(run)
    return run


def _warn_of_answers(run: EvalRun) -> None:
    console = Console(stderr=True)
    for task, result in run.tasks.items():
        if result.truncated > WORTH_A_WARNING:
            console.print(
                f"warning: {task}: {result.truncated:.0%} of the completions were cut at the token"
                " limit"
            )
        if result.no_answer > WORTH_A_WARNING:
            console.print(
                f"warning: {task}: {result.no_answer:.0%} of the completions have no boxed answer"
            )


def write_leaderboard(out: Path, known: Mapping[Path, EvalRun] | None = None) -> None:
    """leaderboard.csv and leaderboard.md of all evaluations below a folder. known: those that were
    read already, by folder."""
    known = known or {}
    # an evaluation that still draws has no summary, and perhaps no grade
    finished = [f for f in find_kind(out, "eval") if (f / "summary.csv").exists()]
    runs = list(readable(finished, lambda f: known.get(f) or read_eval(f)).values())
    if not runs:
        return
    write_text(out / "leaderboard.csv", csv_text(leaderboard(runs, passes=True)))
    tables = []
    for group in by_tasks(runs):
        rows = named(group)
        tables.append(markdown(comparison(rows), data_notes(rows)))
    write_text(out / "leaderboard.md", "\n".join(tables))


def named(runs: Sequence[EvalRun]) -> dict[str, EvalRun]:
    """Distinct names for a table's rows: the method, and what tells it from the others.

    That is the step, then the training seed, then the folder.
    """
    out: dict[str, EvalRun] = {}
    for run in runs:
        name = run.method
        if run.label.get("step") is not None:
            name += f" @{run.label['step']}"
        if name in out and run.label.get("train_seed") is not None:
            name += f" seed {run.label['train_seed']}"
        while name in out:
            name += "'" if name.endswith(")") else f" ({run.folder.name})"
        out[name] = run
    return out


def by_tasks(runs: Sequence[EvalRun]) -> list[list[EvalRun]]:
    """Runs that answered the same benchmarks on the same data: only those share a table."""
    groups: dict[tuple[tuple[str, str], ...], list[EvalRun]] = {}
    for run in runs:
        sampling = run.manifest["sampling"]
        key = tuple((t, sampling[t]["data_rev"]) for t in run.tasks)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def eval_runs(folders: Sequence[Path]) -> dict[str, EvalRun]:
    """The evaluations in or below some folders, each once, under distinct names.

    Raises `UsageError` for a folder without any.
    """
    below: dict[Path, Path] = {}
    for folder in folders:
        runs = find_kind(folder, "eval")
        if not runs:
            raise UsageError(
                "there is no evaluation here",
                where=str(folder),
                remedy=(
                    "give the folder that `sage-bench eval` printed, or one that contains such"
                    " folders"
                ),
            )
        for run in runs:
            below.setdefault(run.resolve(), run)
    return named(list(readable(list(below.values()), read_eval).values()))


def print_markdown(text: str) -> None:
    """A table on standard output, with one empty line after it."""
    print(text.rstrip() + "\n")
