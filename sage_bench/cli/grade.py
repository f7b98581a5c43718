"""`sage-bench grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench grade runs/eval --grader oat` (every evaluation below the folder; the grades there are stay)

`sage-bench grade runs/eval/llama/1f2e3d4c --grader math_verify --grader string --agreement`

`sage-bench grade runs/eval --agreement --json` (only compare what has been graded)

`sage-bench grade outputs.jsonl --by model --grader robust --grader math_verify` (completions recorded elsewhere: a gold and a response a row)
"""
# the fields of a file of completions unless others are named
GOLD, TEXT = "gold", "response"


def grade(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help=(
                "Folders of evaluations, or folders that contain them; or JSONL files of"
                " completions recorded elsewhere."
            )
        ),
    ],
    grader: Annotated[
        Optional[list[str]],
        typer.Option(
            "--grader",
            "-g",
            help=(
                "Grade the stored samples with this grader (`sage-bench ls graders`). May be"
                " repeated."
            ),
        ),
    ] = None,
    agreement: Annotated[
        bool,
        typer.Option("--agreement", help="Print how far all graders of a run agree, pair by pair."),
    ] = False,
    by: Annotated[
        Optional[str],
        typer.Option(
            "--by", help="Files: one line of the table for each value of this field, such as model."
        ),
    ] = None,
    gold_field: Annotated[str, typer.Option(help="Files: the field with the gold.")] = GOLD,
    text_field: Annotated[str, typer.Option(help="Files: the field with the completion.")] = TEXT,
    stated: Annotated[
        bool,
        typer.Option(
            "--stated", help="Files: a text without a box counts by the answer it states."
        ),
    ] = False,
    adjudications: Annotated[
        Optional[Path],
        typer.Option(
            help=(
                "Files: JSON lines with set, row, label and reason, which explain where a grader"
                " and a row's label differ."
            )
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option("--out", "-o", help="Files: write every verdict here (JSON lines)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    import json

    from sage_bench.evaluation.grades import agreement as agree
    from sage_bench.evaluation.grades import grade_run, graders_of, verdicts
    from sage_bench.grading.registry import GRADERS
    from sage_bench.reporting.runs import find_runs, kind_of
    from sage_bench.utils.errors import UsageError
    from sage_bench.utils.files import locked
    from sage_bench.utils.progress import Bar

    names = list(dict.fromkeys(grader or []))
    for name in names:
        GRADERS.get(name)
    for run in runs:
        if not run.exists():
            raise UsageError(
                "no such file or folder",
                where=str(run),
                remedy="give the folder `sage-bench eval` printed, or a JSONL file",
            )
    if any(run.is_file() for run in runs):
        from sage_bench.cli.grade_files import grade_files

        grade_files(
            runs,
            names,
            by=by,
            gold=gold_field,
            text=text_field,
            stated=stated,
            adjudications=adjudications,
            out=out,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if by or stated or adjudications or out or (gold_field, text_field) != (GOLD, TEXT):
        raise UsageError(
            "--by, --gold-field, --text-field, --stated, --adjudications and --out are for files of"
            " completions",
            where=str(runs[0]),
            remedy="give a JSONL file, or leave them out",
        )
    if not names and not agreement:
        raise UsageError(
            "nothing to do", remedy="give --grader, or --agreement to compare the grades there are"
        )
    folders = [f for run in runs for f in find_runs(run) or [run] if kind_of(f) == "eval"]
    if not folders:
        raise UsageError(
            "no evaluation here",
            where=", ".join(map(str, runs)),
            remedy="give the folder `sage-bench eval` printed",
        )
    found = []
    for folder in folders:
        with locked(folder):
            total = sum(f.read_bytes().count(b"\n") for f in (folder / "samples").glob("*.jsonl"))
            for name in names:
                with Bar(
                    f"grade {folder.parent.name}/{folder.name} {name}", total, quiet=quiet
                ) as bar:
                    grade_run(folder, name, bar.set)
        scores = {
            n: {
                t: round(100 * float(s), 2)
                for t, s in verdicts(folder, n).groupby("task")["correct"].mean().items()
            }
            for n in graders_of(folder)
        }
        found.append(
            {
                "run": str(folder),
                "scores": scores,
                "agreement": agree(folder).to_dict("records") if agreement else None,
            }
        )
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for run in found:
            show(run)


def show(run: dict) -> None:
    """Mean score (percent over samples) of every task by every grader, then the pairs, then the
    folder."""
    tasks = sorted({t for scores in run["scores"].values() for t in scores})
    width = max(map(len, [*tasks, "task"]))
    print(f"{'task':<{width}}  " + "  ".join(f"{n:>11}" for n in run["scores"]))
    for task in tasks:
        print(
            f"{task:<{width}}  "
            + "  ".join(
                f"{s[task]:>11.2f}" if task in s else f"{'–':>11}" for s in run["scores"].values()
            )
        )
    for pair in run["agreement"] or []:
        print(
            f"{pair['a']} / {pair['b']}: {100 * pair['agree']:.2f} % of {pair['samples']} alike;"
            f" right for both {pair['both']}, for neither {pair['neither']}, only {pair['a']}"
            f" {pair['only_a']}, only {pair['b']} {pair['only_b']}"
        )
    print(run["run"])


grade.__doc__ = (
    "Grade stored samples again, without a GPU. The grades of other graders stay; `sage-bench"
    " report --grader` chooses.\n" + EXAMPLES
)
