"""`sage-bench leaderboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench leaderboard runs/here runs/from-another-machine --out runs`

`sage-bench leaderboard runs --json`
"""


def leaderboard(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Evaluations, or folders that contain them, of any number of machines.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Where leaderboard.csv and leaderboard.md are written; the first folder.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    from sage_bench.cli.output import emit
    from sage_bench.reporting.export import eval_runs
    from sage_bench.reporting.merge import merged, write_merged

    runs = list(eval_runs(folders).values())
    files = write_merged(runs, out or folders[0])
    rows = merged(runs).to_dict("records") if as_json else []
    text = files[1].read_text(encoding="utf-8") + "\n" + "\n".join(map(str, files))
    emit(as_json, {"files": files, "rows": rows}, text)


leaderboard.__doc__ = (
    "Merge evaluations of several folders into one leaderboard. Runs of different protocols are"
    " refused, naming the difference.\n" + EXAMPLES
)
