"""`sage-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench report runs/grpo runs/sage` (training curves side by side)

`sage-bench report runs/eval --out runs/report` (table over all evaluations in a folder)

`sage-bench report runs/demo`
"""


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of training runs and evaluations, or folders that contain them."
        ),
    ],
    out: Annotated[
        Optional[Path],
        typer.Option("--out", "-o", help="Where to write; the first folder unless given."),
    ] = None,
    grader: Annotated[
        Optional[str],
        typer.Option(
            help=(
                "Whose grades the tables show (see `sage-bench grade`); each run's own unless"
                " given."
            )
        ),
    ] = None,
) -> None:
    from sage_bench.reporting.report import report as write

    for path in write(runs, out or runs[0], grader):
        print(path)


report.__doc__ = (
    "Tables and training curves of finished or running runs, as HTML, Markdown and CSV.\n"
    + EXAMPLES
)
