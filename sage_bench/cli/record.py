"""`sage-bench record`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench record --model tiny-llama --data tiny --group-size 8 --out runs/groups`

`sage-bench train --backend grpo --model tiny-llama --data tiny --out runs/grpo \
engine.rollouts=recorded:runs/groups engine.recorded.match=problem train.epochs=3`

`sage-bench diagnose runs/groups --methods grpo,oar_g` (what each method would do with the groups)
"""


def record(
    out: options.OutFolder,
    overrides: options.Overrides = None,
    model: options.Model = None,
    data: Annotated[
        Optional[str],
        typer.Option(
            "--data",
            help="Registered dataset (`sage-bench ls datasets`) or .jsonl/.parquet/.csv file.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    group_size: Annotated[
        Optional[int],
        typer.Option(
            "--group-size", "-n", min=1, help="Completions a problem.", rich_help_panel=options.WHAT
        ),
    ] = None,
    backend: Annotated[
        Optional[str],
        typer.Option(
            "--backend",
            help="Whose requests are drawn; grpo unless given. SAGE's have hints and their groups.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    backend_file: options.BackendFile = None,
    config: options.ConfigFiles = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from dataclasses import asdict

    from sage_bench.api.recording import record as make
    from sage_bench.cli.output import emit

    made = make(
        model,
        data,
        out=out,
        group_size=group_size,
        backend=backend,
        configs=config or [],
        overrides=overrides or [],
        backend_files=backend_file or [],
        overwrite=overwrite,
        quiet=quiet,
    )
    text = (
        f"{made.groups} groups, {made.completions} completions in {made.steps} steps:"
        f" {made.all_wrong} all wrong, {made.all_right} all right\n"
        f"record {made.digest}: {made.folder}"
    )
    emit(as_json, asdict(made), text)


record.__doc__ = (
    "Draw one group for every problem from a frozen policy, and keep prompts, tokens,"
    " log-probabilities and rewards. Run the same command again to go on.\n" + EXAMPLES
)
