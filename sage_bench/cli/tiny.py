"""`sage-bench tiny`: make the tiny policies, and labelled steps to teach judges from."""

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


@app.command()
def steps(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write (.jsonl).", rich_help_panel=options.OUTPUT),
    ],
    model: options.Model = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Questions.", rich_help_panel=options.DATA)
    ] = 400,
    stars: Annotated[
        float,
        typer.Option(
            help="Share of `*` among the operators (training problems have 0.85).",
            rich_help_panel=options.DATA,
        ),
    ] = 0.35,
    shortest: Annotated[int, typer.Option(help="Fewest steps.", rich_help_panel=options.DATA)] = 2,
    longest: Annotated[int, typer.Option(help="Most steps.", rich_help_panel=options.DATA)] = 8,
    temperature: Annotated[
        float,
        typer.Option(help="Of the completions of --model.", rich_help_panel=options.SAMPLING),
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Of questions and responses.", rich_help_panel=options.DATA)
    ] = 0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Write labelled steps with exact labels: solutions with mistakes, or what --model answers.

    Examples:

    `sage-bench tiny steps --out steps.jsonl --rows 1000`

    `sage-bench tiny steps --model tiny-llama --stars 0.85 --shortest 3 --out completions.jsonl`
    """
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.labelling import label_tiny_steps
    from sage_bench.cli.output import emit

    made = label_tiny_steps(
        out,
        model=model,
        rows=rows,
        stars=stars,
        lengths=(shortest, longest),
        temperature=temperature,
        seed=seed,
        quiet=quiet,
    )
    counted = f"{made.rows} rows, {made.errors} with a wrong step"
    if made.empty:
        counted += f"; {made.empty} completions without a step left out"
    emit(as_json, made.as_dict(), f"{counted}\n{made.file}")
