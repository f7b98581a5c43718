"""`sage-bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench export runs/lora --merge --out models/lora` (a whole model of base and adapters)

`sage-bench export runs/lora/checkpoints/step_000050 --merge --out models/lora-50`
"""


def export(
    run: Annotated[
        Path,
        typer.Argument(help="A training run, or one of its checkpoints.", show_default=False),
    ],
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Merge adapters (engine.lora) into the model they were trained on.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write.", rich_help_panel=options.OUTPUT),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.exporting import export_merged
    from sage_bench.cli.output import emit
    from sage_bench.utils.errors import UsageError

    if not merge:
        raise UsageError(
            "nothing is said of what to export",
            where="export",
            remedy="--merge makes a whole model of base and adapters",
        )
    if out is None:
        raise UsageError("no --out", remedy="give the folder to write, e.g. --out models/lora")
    folder = export_merged(run, out, overwrite=overwrite)
    emit(as_json, {"folder": folder}, str(folder))


export.__doc__ = "Write trained weights in a form that other programs take.\n" + EXAMPLES
