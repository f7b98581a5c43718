"""`sage-bench tiny`: make the tiny policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    no_args_is_help=True, help="The tiny world: policies that show on a laptop what the methods do."
)


@app.command()
def build(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder; each policy gets its own folder in it.")
    ],
    only: Annotated[
        Optional[list[str]], typer.Option("--only", help="Build this policy only. May be repeated.")
    ] = None,
    competence_steps: Annotated[
        Optional[int], typer.Option(help="Steps of the first stage, instead of the recipe's.")
    ] = None,
    doubt_steps: Annotated[
        Optional[int], typer.Option(help="Steps of the second stage, instead of the recipe's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make the tiny policies from scratch, about ten minutes each on one core.

    Examples:

    `sage-bench tiny build --out my_policies`

    `sage-bench tiny build --out my_policies --only tiny-qwen3`

    `sage-bench tiny build --out /tmp/smoke --only tiny-llama --competence-steps 20 --doubt-steps 5`
    """
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()
    from dataclasses import replace

    import torch

    from sage_bench.study import tiny_policies as builder
    from sage_bench.utils.errors import UsageError, did_you_mean
    from sage_bench.utils.files import make_folder
    from sage_bench.utils.progress import Bar

    torch.set_num_threads(1)  # at this size one thread is faster than two
    for name in only or builder.RECIPES:
        if name not in builder.RECIPES:
            raise UsageError(
                f"unknown policy `{name}`; {did_you_mean(name, builder.RECIPES)}".rstrip("; "),
                remedy="one of " + ", ".join(builder.RECIPES),
            )
        recipe = builder.RECIPES[name]
        recipe = replace(
            recipe,
            competence_steps=(
                competence_steps if competence_steps is not None else recipe.competence_steps
            ),
            doubt_steps=doubt_steps if doubt_steps is not None else recipe.doubt_steps,
        )
        with Bar(f"build {name}", recipe.competence_steps + recipe.doubt_steps, quiet=quiet) as bar:
            builder.build(
                recipe,
                make_folder(out / recipe.family),
                lambda stage, step, steps, loss, bar=bar: bar.advance(
                    note=f"{stage} loss {loss:.3f}"
                ),
            )
        print(out / recipe.family)
