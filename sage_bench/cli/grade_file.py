"""`sage-bench grade-file`: completions that were recorded elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.api.grading import FileGrades

EXAMPLES = """
Examples:

`sage-bench grade-file outputs.jsonl` (a gold and a response a row, graded by the default grader)

`sage-bench grade-file outputs.jsonl --by model --grader robust --grader math_verify`

`sage-bench grade-file theirs.jsonl --gold-field answer --text-field completion --out \
verdicts.jsonl`

`sage-bench grade-file outputs.jsonl --json`
"""
SHOWN = 5  # quarantined rows that are named


def grade_file(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSON lines with a gold and a response.", show_default=False),
    ],
    grader: options.Graders = None,
    by: Annotated[
        Optional[str],
        typer.Option(
            "--by",
            help="One line of the table for each value of this field, such as model.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    gold_field: Annotated[
        str, typer.Option(help="The field with the gold.", rich_help_panel=options.DATA)
    ] = "gold",
    text_field: Annotated[
        str, typer.Option(help="The field with the completion.", rich_help_panel=options.DATA)
    ] = "response",
    stated: Annotated[
        bool,
        typer.Option(
            "--stated",
            help="A text without a box counts by the answer it states.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    adjudications: options.Adjudications = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Write every verdict here (JSON lines).",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api import grading
    from sage_bench.cli.output import emit
    from sage_bench.utils.files import write_jsonl
    from sage_bench.utils.progress import stderr

    results = grading.grade_file(
        files,
        grader or [],
        by=by,
        gold_field=gold_field,
        text_field=text_field,
        stated=stated,
        adjudications=adjudications,
        quiet=quiet,
    )
    for row in [bad for result in results for bad in result.quarantined[:SHOWN]]:
        stderr().print(f"quarantined {row.where}: {row.reason}", markup=False)
    if out is not None:
        write_jsonl(out, [row for result in results for row in result.rows_of_verdicts()])
    emit(as_json, [as_dict(result) for result in results], lambda: text_of(results))


grade_file.__doc__ = (
    "Grade completions that were recorded elsewhere, and print every row whose label a grader does"
    " not share.\n" + EXAMPLES
)


def as_dict(result: FileGrades) -> dict[str, Any]:
    """One entry a file for `--json`."""
    return {
        "file": str(result.file),
        "quarantined": len(result.quarantined),
        "shares": result.shares.reset_index().to_dict("records"),
        "differences": result.differences,
    }


def text_of(results: list[FileGrades]) -> str:
    """Shares by group of every file, then each row whose label a grader does not share."""
    return "\n".join(line for result in results for line in _file(result))


def _file(result: FileGrades) -> list[str]:
    table = result.shares
    names = [c for c in table.columns if c != "rows" and not table[c].isna().all()]
    widths = {name: max(len(name), 6) for name in names}
    first = max(len(str(group)) for group in [*table.index, "group"])
    head = "  ".join(f"{name:>{widths[name]}}" for name in names)
    lines = [f"{'group':<{first}}  {'rows':>6}  {head}"]
    for group, row in table.iterrows():
        cells = "  ".join(f"{row[name]:>{widths[name]}.1f}" for name in names)
        lines.append(f"{group:<{first}}  {int(row['rows']):>6}  {cells}")
    lines += [_difference(row) for row in result.differences]
    lines.append(
        f"{result.file}: {result.rows} rows, {len(result.quarantined)} quarantined; percent of"
        " right completions"
    )
    return lines


def _difference(row: dict[str, Any]) -> str:
    verdict = "right" if row["correct"] else "wrong"
    answer = row["extracted"] if row["extracted"] is not None else row["status"]
    reason = f": {row['reason']}" if row["reason"] else ""
    return (
        f"{row['grader']} says {verdict}, the label not: row {row['row']} ({row['group']}), gold"
        f" {row['gold']}, answer {answer}{reason}"
    )
