"""`sage-bench grader-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.api.measuring import GraderMeasure

EXAMPLES = """
Examples:

`sage-bench grader-eval labelled.jsonl`

`sage-bench grader-eval verifier/*.jsonl --grader robust --grader math_verify --out \
disagreements.jsonl`

`sage-bench grader-eval labelled.jsonl --limit 100 --json`
"""
SHOWN = 5  # quarantined rows that are named
HEAD = (
    "set",
    "grader",
    "rows",
    "agree %",
    "false neg",
    "false pos",
    "abstain",
    "no answer",
    "unread",
    "timeout",
    "crash",
    "ms/row",
)


def grader_eval(
    files: Annotated[
        list[Path],
        typer.Argument(
            help=(
                "JSON lines with gold, response and label (true or false); choices make a row"
                " multiple choice."
            ),
            show_default=False,
        ),
    ],
    grader: options.Graders = None,
    limit: Annotated[
        Optional[int],
        typer.Option(
            "--limit",
            "-L",
            min=1,
            help="First rows of each file only.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    adjudications: options.Adjudications = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help=(
                "Write the rows on which a grader and the label disagree here (JSON lines); bad"
                " rows go beside it."
            ),
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.measuring import measure_graders
    from sage_bench.cli.output import emit
    from sage_bench.utils.files import write_jsonl
    from sage_bench.utils.progress import stderr

    result = measure_graders(
        files, grader or [], limit=limit, adjudications=adjudications, quiet=quiet
    )
    for row in [row for row in result.rejected if row.malformed][:SHOWN]:
        stderr().print(f"quarantined {row.where}: {row.reason}", markup=False)
    if out is not None:
        write_jsonl(out, result.disagreements)
        if result.rejected:
            write_jsonl(
                out.with_suffix(".quarantine.jsonl"),
                [
                    {"where": row.where, "reason": row.reason, "malformed": row.malformed}
                    for row in result.rejected
                ],
            )
    emit(as_json, result.as_dict(), lambda: text_of(result))


grader_eval.__doc__ = (
    "Measure graders against labelled rows: agreement, false negatives and positives, time a row,"
    " side by side.\n" + EXAMPLES
)


def text_of(result: GraderMeasure) -> str:
    """One line a set and grader, a blank line between sets; counts and versions below."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = _table([HEAD, *(_cells(row) for row in result.table)])
    lines.append(
        f"{result.rows} rows, {result.quarantined} quarantined, {result.undecided} with a label"
        f" that does not stand; {versions}"
    )
    for pair in result.canaries_off:
        lines.append(
            f"warning: math-verify grades {pair} unlike the versions this was measured with"
        )
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (
        "false_negatives",
        "false_positives",
        "abstained",
        "no_answer",
        "parse_error",
        "timeout",
        "crash",
    )
    milliseconds = "–" if row["ms_a_row"] is None else f"{row['ms_a_row']:.2f}"
    return (
        row["set"],
        row["grader"],
        str(row["rows"]),
        f"{100 * row['agreement']:.2f}",
        *(str(row[name]) for name in counts),
        milliseconds,
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines: list[str] = []
    before = HEAD[0]
    for row in rows:
        if row[0] != before:
            lines.append("")
            before = row[0]
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
