"""`sage-bench tiny`: make the tiny policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

app = typer.Typer(
    no_args_is_help=True, help="The tiny world: policies that show on a laptop what the methods do."
)


@app.command()
def build(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder; each policy gets its own folder in it.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    only: Annotated[
        Optional[list[str]],
        typer.Option(
            "--only",
            help="Build this policy only. May be repeated.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    competence_steps: Annotated[
        Optional[int],
        typer.Option(
            help="Steps of the first stage, instead of the recipe's.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    doubt_steps: Annotated[
        Optional[int],
        typer.Option(
            help="Steps of the second stage, instead of the recipe's.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make the tiny policies from scratch, ten to twenty minutes each on one core.

    Examples:

    `sage-bench tiny build --out my_policies`

    `sage-bench tiny build --out my_policies --only tiny-qwen3`

    `sage-bench tiny build --out /tmp/smoke --only tiny-llama --competence-steps 20 --doubt-steps 5`
    """
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.studies import build_tiny_policies

    for folder in build_tiny_policies(
        out,
        only or [],
        competence_steps=competence_steps,
        doubt_steps=doubt_steps,
        quiet=quiet,
    ):
        print(folder, flush=True)  # each one when it is done: the next takes minutes
