"""`sage-bench figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench figures runs/study --out runs/study/figures` (figures.md shows them all)

`sage-bench figures runs/study --out figures --only figure6`

`sage-bench figures runs/study --out figures --baseline grpo --json` (what was written)
"""


def figures(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A study: evaluations and training runs, however they lie.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Where to write.", rich_help_panel=options.OUTPUT),
    ],
    baseline: Annotated[
        Optional[str],
        typer.Option(
            "--baseline",
            help="The method that costs are multiples of and others are tested against; grpo.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    only: Annotated[
        Optional[list[str]],
        typer.Option(
            "--only",
            help="table1, table2, table3, figure3, figure5 or figure6. May be repeated.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.cli.output import emit
    from sage_bench.study.figures import write_figures

    named = {"baseline": baseline} if baseline else {}
    files = write_figures(folder, out, only=only or (), **named)
    emit(as_json, {"files": files}, "\n".join(map(str, files)))


figures.__doc__ = (
    "The tables and figures that papers print, from the runs of a study: methods, prompts without a"
    " signal, relative cost, hints by level, ablations, hint use. SVG, CSV and Markdown; medians"
    " over training seeds with their range.\n" + EXAMPLES
)
