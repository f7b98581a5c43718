"""`sage-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench report runs/grpo runs/sage` (training curves side by side)

`sage-bench report runs/eval --out runs/report` (table over all evaluations in a folder)

`sage-bench report runs/demo --json` (what was written, and the table's rows)

`sage-bench report runs/study --reference paper:sage-table1 --out tables` 
(methods by model beside the paper: table.csv, table.md, table.tex, index.html)

`sage-bench report runs/eval --best-of-test` (beside the selected checkpoints what choosing on the \
test set would have been worth)

`sage-bench report --reference paper:sage-table1 --format csv` 
(the paper's own cells; `--misprints` lists derived values that do not follow from them)
"""


def report(
    runs: Annotated[
        Optional[list[Path]],
        typer.Argument(
            help="Training runs and evaluations, or folders that contain them.", show_default=False
        ),
    ] = None,
    reference: Annotated[
        Optional[str],
        typer.Option(
            "--reference",
            help="A paper's table to set beside ours, e.g. paper:sage-table1; alone: that table.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],
        typer.Option(
            "--baseline",
            help="With --reference or --format: the method others are tested against; base.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    best_of_test: Annotated[
        bool,
        typer.Option(
            "--best-of-test",
            help=(
                "With `eval --checkpoints`: a marked row for the checkpoint that is best on the"
                " test set itself, and what choosing it so would be worth. Not a result."
            ),
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    misprints: Annotated[
        bool,
        typer.Option(
            "--misprints",
            help="With --reference: printed averages that do not follow from the printed cells.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    grader: Annotated[
        Optional[str],
        typer.Option(
            "--grader",
            help=(
                "Whose grades the tables show (see `sage-bench grade`); each run's own unless"
                " given."
            ),
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Where to write; the first folder unless given.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    form: Annotated[
        Optional[str],
        typer.Option(
            "--format",
            help="Print methods by model as text, md, tex, csv or html.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.api.tables import report as write
    from sage_bench.cli.output import emit
    from sage_bench.utils.errors import UsageError

    if reference or form or baseline or misprints or best_of_test:
        by_method(
            runs or [], reference, baseline, grader, form, misprints, best_of_test, out, as_json
        )
        return
    if not runs:
        raise UsageError("nothing to report", remedy="give run folders, or a --reference")
    result = write(runs, out, grader=grader)
    emit(
        as_json,
        {"files": result.files, "leaderboard": result.leaderboard.to_dict("records")},
        "\n".join(map(str, result.files)),
    )


def by_method(
    runs: list[Path],
    reference: Optional[str],
    baseline: Optional[str],
    grader: Optional[str],
    form: Optional[str],
    misprints: bool,
    best_of_test: bool,
    out: Optional[Path],
    as_json: bool,
) -> None:
    """Methods by model beside a paper: printed in a format, or written to a folder."""
    from sage_bench.api.tables import method_tables
    from sage_bench.cli.output import emit
    from sage_bench.reporting.reference import load_reference, misprint_lines
    from sage_bench.reporting.render import FORMATS, tidy, write_tables
    from sage_bench.utils.errors import UsageError, did_you_mean

    if form is not None and form not in FORMATS:
        raise UsageError(
            f"unknown format `{form}`; {did_you_mean(form, FORMATS)}".rstrip("; "),
            where="--format",
            remedy="one of " + ", ".join(FORMATS),
        )
    if misprints:
        if not reference:
            raise UsageError("--misprints needs a --reference", where="--misprints")
        lines = misprint_lines(load_reference(reference))
        emit(as_json, lines, "\n".join(lines))
        return
    table = method_tables(
        runs, reference=reference, baseline=baseline, grader=grader, on_test=best_of_test
    )
    files = write_tables(table, out) if out else []
    rows = tidy(table).to_dict("records")
    if form is None and files:
        text = "\n".join(map(str, files))
    else:
        text = FORMATS[form or "text"](table)
    emit(as_json, {"files": files, "rows": rows, "notes": list(table.notes)}, text)


report.__doc__ = (
    "Tables and training curves of finished or running runs, as HTML, Markdown and CSV.\n"
    + EXAMPLES
)
