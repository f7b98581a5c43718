"""Files people and programs read: per-question and summary tables of a run, leaderboards over
runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sage_bench.evaluation.grades import load_grades
from sage_bench.reporting.footers import data_notes
from sage_bench.reporting.runs import EvalRun, find_runs, kind_of, read_eval
from sage_bench.reporting.tables import comparison, leaderboard, markdown
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import write_text


def run_table(run: EvalRun) -> str:
    """The Markdown table of one evaluation."""
    rows = {run.method: run}
    return markdown(comparison(rows).drop(columns="delta"), data_notes(rows))


def write_eval(folder: Path, *, show: bool = True) -> EvalRun:
    """Write summary.csv and per_question.csv of a run, and leaderboard.csv over all runs beside it.

    show: also print the run's table.
    """
    run = read_eval(folder)
    board = leaderboard([run], passes=True)
    write_text(folder / "summary.csv", board.to_csv(index=False))
    grades = load_grades(folder)
    per_question = (
        grades.groupby(["task", "doc_id", "uid"], sort=False)
        .agg(n=("correct", "size"), correct=("correct", "sum"), tokens=("tokens", "mean"))
        .reset_index()
    )
    if run.limited:
        per_question["limited"] = run.limited
    write_text(folder / "per_question.csv", per_question.to_csv(index=False))
    write_leaderboard(folder.parent.parent)
    if show:
        print_markdown(run_table(run))
    for task, r in run.tasks.items():
        for share, what in (
            (r.truncated, "completions were cut at the token limit"),
            (r.no_answer, "completions have no boxed answer"),
        ):
            if share > 0.05:
                Console(stderr=True).print(f"warning: {task}: {share:.0%} of the {what}")
    return run


def write_leaderboard(out: Path) -> None:
    """leaderboard.csv and leaderboard.md of all evaluations below a folder."""
    runs = [
        read_eval(f)
        for f in find_runs(out)
        if kind_of(f) == "eval" and (f / "summary.csv").exists()
    ]
    if runs:
        write_text(out / "leaderboard.csv", leaderboard(runs, passes=True).to_csv(index=False))
        write_text(
            out / "leaderboard.md",
            "\n".join(
                markdown(comparison(rows), data_notes(rows))
                for group in by_tasks(runs)
                for rows in [named(group)]
            ),
        )


def named(runs: Sequence[EvalRun]) -> dict[str, EvalRun]:
    """Distinct names for a table's rows: method, with step, training seed and folder where
    needed."""
    out: dict[str, EvalRun] = {}
    for run in runs:
        name = run.method + (f" @{run.label['step']}" if run.label.get("step") is not None else "")
        if name in out and run.label.get("train_seed") is not None:
            name += f" seed {run.label['train_seed']}"
        while name in out:
            name += f" ({run.folder.name})" if not name.endswith(")") else "'"
        out[name] = run
    return out


def by_tasks(runs: Sequence[EvalRun]) -> list[list[EvalRun]]:
    """Runs that answered the same benchmarks, on the same data: only those belong in one table."""
    groups: dict[tuple[tuple[str, str], ...], list[EvalRun]] = {}
    for run in runs:
        groups.setdefault(
            tuple((t, run.manifest["sampling"][t]["data_rev"]) for t in run.tasks), []
        ).append(run)
    return list(groups.values())


def eval_runs(folders: Sequence[Path]) -> dict[str, EvalRun]:
    """The evaluations in or below some folders, each once, under distinct names. Raises
    `UsageError` for a folder without any."""
    found: dict[Path, EvalRun] = {}
    for folder in folders:
        runs = [f for f in find_runs(folder) if kind_of(f) == "eval"]
        if not runs:
            raise UsageError(
                "there is no evaluation here",
                where=str(folder),
                remedy=(
                    "give the folder that `sage-bench eval` printed, or one that contains such"
                    " folders"
                ),
            )
        found.update({f.resolve(): read_eval(f) for f in runs if f.resolve() not in found})
    return named(list(found.values()))


def print_markdown(text: str) -> None:
    print(text.rstrip() + "\n")
