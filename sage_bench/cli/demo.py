"""`sage-bench demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench demo`

`sage-bench demo --methods grpo,sage,sage_light,sft --model tiny-qwen3 --out runs/four`

`sage-bench demo --methods grpo,mine --backend-file mine.py --steps 20`
"""


def demo(
    overrides: options.Overrides = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Backends, comma-separated, or `all`.",
            rich_help_panel=options.WHAT,
        ),
    ] = "grpo,sage",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="tiny-llama, tiny-qwen2 or tiny-qwen3.",
            rich_help_panel=options.WHAT,
        ),
    ] = "tiny-llama",
    backend_file: options.BackendFile = None,
    steps: Annotated[
        int,
        typer.Option(
            min=1, help="Budget of every method, in steps.", rich_help_panel=options.CONFIGURATION
        ),
    ] = 40,
    n: Annotated[
        int,
        typer.Option(
            "-n",
            min=1,
            help="Samples a question in evaluation.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = 4,
    seed: Annotated[
        int, typer.Option(help="First training seed.", rich_help_panel=options.CONFIGURATION)
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            help="Training seeds of every method; claims about methods need several.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = 3,
    equal_seeds: Annotated[
        int,
        typer.Option(
            "--equal-seeds",
            min=1,
            help="For how many of the seeds GRPO is also trained to equal rollouts.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = 1,
    equal_rollouts: Annotated[
        bool,
        typer.Option(
            help="Also train GRPO until it has sampled as much as SAGE.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = True,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the study. The same command goes on where it stopped.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("runs/demo"),
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.studies import demo as run_demo
    from sage_bench.cli.output import emit

    result = run_demo(
        out,
        methods,
        model=model,
        steps=steps,
        n=n,
        seed=seed,
        seeds=seeds,
        equal_seeds=equal_seeds,
        backend_files=backend_file or [],
        equal_rollouts=equal_rollouts,
        overrides=overrides or [],
        quiet=quiet,
    )
    emit(as_json, result.summary, f"{result.text}\n{result.folder}")


demo.__doc__ = (
    "Train methods from the same tiny policy, evaluate all without hints, print the comparison"
    " table. Minutes on two cores.\n" + EXAMPLES
)
