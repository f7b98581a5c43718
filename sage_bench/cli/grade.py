"""`sage-bench grade`: stored samples of evaluations, graded again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.api.grading import GradeResult

EXAMPLES = """
Examples:

`sage-bench grade runs/eval --grader oat` (every evaluation below the folder; the grades there \
are stay)

`sage-bench grade runs/eval/llama/1f2e3d4c --grader math_verify --grader string --agreement`

`sage-bench grade runs/eval --agreement --json` (only compare what has been graded)

`sage-bench grade-file outputs.jsonl` (completions recorded elsewhere have a verb of their own)
"""
MOVED = (
    "warning: `sage-bench grade FILE` is now `sage-bench grade-file FILE`; the next release takes"
    " folders only"
)


def grade(
    runs: options.EvalFolders,
    grader: options.Graders = None,
    agreement: Annotated[
        bool,
        typer.Option(
            "--agreement",
            help="Print how far all graders of a run agree, pair by pair.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    # the hidden ones moved to `grade-file` and are taken here for one release
    by: Annotated[Optional[str], typer.Option("--by", hidden=True)] = None,
    gold_field: Annotated[Optional[str], typer.Option("--gold-field", hidden=True)] = None,
    text_field: Annotated[Optional[str], typer.Option("--text-field", hidden=True)] = None,
    stated: Annotated[bool, typer.Option("--stated", hidden=True)] = False,
    adjudications: Annotated[Optional[Path], typer.Option("--adjudications", hidden=True)] = None,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", hidden=True)] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.grading import GOLD, TEXT
    from sage_bench.api.grading import grade as grade_folders
    from sage_bench.cli.output import emit
    from sage_bench.utils.errors import UsageError

    if any(run.is_file() for run in runs):
        if any(run.is_dir() for run in runs):
            raise UsageError(
                "files and folders in one call",
                where=" ".join(map(str, runs)),
                remedy="`sage-bench grade` takes run folders, `sage-bench grade-file` files",
            )
        from sage_bench.cli.grade_file import grade_file

        print(MOVED, file=sys.stderr)
        grade_file(
            runs,
            grader=grader,
            by=by,
            gold_field=gold_field or GOLD,
            text_field=text_field or TEXT,
            stated=stated,
            adjudications=adjudications,
            out=out,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if by or stated or adjudications or out or gold_field or text_field:
        raise UsageError(
            "--by, --gold-field, --text-field, --stated, --adjudications and --out are for files of"
            " completions",
            where=str(runs[0]),
            remedy="use `sage-bench grade-file` with a JSONL file, or leave them out",
        )
    names = grader or []
    if not names and not agreement and all(run.exists() for run in runs):
        raise UsageError(
            "nothing to do", remedy="give --grader, or --agreement to compare the grades there are"
        )
    result = grade_folders(runs, names, agreement=agreement, quiet=quiet)
    emit(as_json, by_run(result, agreement), lambda: text_of(result))


grade.__doc__ = (
    "Grade stored samples again, without a GPU. The grades of other graders stay; `sage-bench"
    " report --grader` chooses.\n" + EXAMPLES
)


def by_run(result: GradeResult, agreement: bool) -> list[dict[str, Any]]:
    """One entry a run for `--json`: its scores by grader and task, and how its graders agree."""
    out = []
    for folder in result.folders:
        scores: dict[str, dict[str, float]] = {}
        for row in result.scores[result.scores.run == str(folder)].to_dict("records"):
            scores.setdefault(row["grader"], {})[row["task"]] = row["percent"]
        pairs = None
        if agreement:
            mine = result.agreement[result.agreement.run == str(folder)]
            pairs = mine.drop(columns="run").to_dict("records")
        out.append({"run": str(folder), "scores": scores, "agreement": pairs})
    return out


def text_of(result: GradeResult) -> str:
    """Mean score (percent over samples) of every task by every grader, the pairs, the folder."""
    return "\n".join(
        line for run in by_run(result, not result.agreement.empty) for line in _run(run)
    )


def _run(run: dict[str, Any]) -> list[str]:
    scores = run["scores"]
    tasks = sorted({task for by_task in scores.values() for task in by_task})
    width = max(map(len, [*tasks, "task"]))
    lines = [f"{'task':<{width}}  " + "  ".join(f"{name:>11}" for name in scores)]
    for task in tasks:
        cells = [_percent(by_task.get(task)) for by_task in scores.values()]
        lines.append(f"{task:<{width}}  " + "  ".join(cells))
    for pair in run["agreement"] or []:
        lines.append(
            f"{pair['a']} / {pair['b']}: {100 * pair['agree']:.2f} % of {pair['samples']} alike;"
            f" right for both {pair['both']}, for neither {pair['neither']}, only {pair['a']}"
            f" {pair['only_a']}, only {pair['b']} {pair['only_b']}"
        )
    return [*lines, run["run"]]


def _percent(value: float | None) -> str:
    return f"{'–':>11}" if value is None else f"{value:>11.2f}"
