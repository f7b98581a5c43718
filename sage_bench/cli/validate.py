"""`sage-bench validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.evaluation.tasks.validate import TaskCheck

EXAMPLES = """
Examples:

`sage-bench validate -t all`

`sage-bench validate -t sb_math6 --data benchmarks/ --out validate.json` (a folder with \
aime24.jsonl, math500.jsonl, ...)

`sage-bench validate -t sb_math500 --data sb_math500=math500.jsonl --train train.jsonl --offline`
"""


def validate(
    tasks: options.Tasks = None,
    grader: options.Grader = None,
    data: options.TaskData = None,
    include_path: options.IncludePath = None,
    offline: options.Offline = None,
    gated: options.Gated = None,
    gold_corrections: options.GoldCorrections = None,
    accept_other_data: options.AcceptOtherData = None,
    train: Annotated[
        Optional[list[str]],
        typer.Option(
            "--train",
            help="Training data to look for the questions in: dataset or file. Repeatable.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Whatever is not checked in full counts as wrong.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Also write all findings to this JSON file.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.benchmarks import validate_tasks
    from sage_bench.cli.output import emit
    from sage_bench.evaluation.tasks.spec import include
    from sage_bench.utils.files import write_json

    include(include_path or [])
    found = validate_tasks(
        tasks or "all",
        grader=grader,
        data=data or [],
        offline=bool(offline),
        gated=gated or "skip",
        gold_corrections=gold_corrections or "on",
        accept_other_data=bool(accept_other_data),
        train=train or [],
        quiet=quiet or as_json,  # programs that read JSON often read stderr as well
    )
    if out is not None:
        write_json(out, found.as_dict())
    emit(as_json, found.as_dict(), lambda: text_of(found.checks))
    # after the table: whoever reads the error wants to see what it is about
    found.check(strict=strict)
    if out is not None and not as_json:
        print(out)


validate.__doc__ = (
    "Check benchmarks before anything is generated: data load, row counts, prompts, every gold"
    " graded true by its own grader, duplicates, overlap with training data.\n\nExit code 0 fine, 3"
    " not checked in full, 4 something is wrong.\n" + EXAMPLES
)


def text_of(checks: list[TaskCheck]) -> str:
    """One line a task, then what was found about each."""
    from sage_bench.cli.output import table_text

    header = ("task", "status", "grader", "rows", "golds true", "prompts", "corrected", "excluded")
    lines = [table_text(header, [_row(check) for check in checks])]
    for check in checks:
        name = f"{check.task}: "
        lines += [line if line.startswith(name) else name + line for line in _findings(check)]
    return "\n".join(lines)


def _row(check: TaskCheck) -> tuple[object, ...]:
    rows: object = check.found or ""
    if check.expected:
        rows = f"{check.found}/{' or '.join(map(str, check.expected))}"
    asked = check.asked
    return (
        check.task,
        check.status,
        check.grader,
        rows,
        f"{check.golds_true}/{asked}" if asked else "",
        f"{check.prompts}/{asked}" if asked else "",
        len(check.corrected) or "",
        len(check.excluded) or "",
    )


def _findings(check: TaskCheck) -> list[str]:
    lines = []
    if check.corrected:
        lines.append(f"corrected golds: {', '.join(check.corrected)}")
    if check.excluded:
        lines.append(f"excluded questions: {', '.join(check.excluded)}")
    lines += [f"{problem['uid']}: {problem['why']}" for problem in check.problems]
    lines += [f"{by['uid']}: compared by spelling only: {by['why']}" for by in check.by_spelling]
    return [*lines, *check.notes]
