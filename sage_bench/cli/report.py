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
"""


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Training runs and evaluations, or folders that contain them.", show_default=False
        ),
    ],
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
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.api.tables import report as write
    from sage_bench.cli.output import emit

    result = write(runs, out, grader=grader)
    emit(
        as_json,
        {"files": result.files, "leaderboard": result.leaderboard.to_dict("records")},
        "\n".join(map(str, result.files)),
    )


report.__doc__ = (
    "Tables and training curves of finished or running runs, as HTML, Markdown and CSV.\n"
    + EXAMPLES
)
