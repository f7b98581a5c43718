"""`sage-bench compare`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench compare runs/eval/base/1f0c55aa runs/eval/sage-step_000040/93b1e2d4` (what eval \
printed last)

`sage-bench compare runs/eval --metric pass@4 --json` (all evaluations in a folder, against the \
first)

`sage-bench compare runs/seeds --seeds` (runs of one method are its training seeds)

Exit codes: 0 compared, 2 nothing to compare or not asked alike, 3 compared, but questions are \
missing from some run.
"""


def compare(
    runs: options.EvalFolders,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="avg, pass@4, maj@4, ... (any k the runs have samples for).",
            rich_help_panel=options.WHAT,
        ),
    ] = "avg",
    against: Annotated[
        Optional[str],
        typer.Option(
            "--against",
            help=(
                "Name of the run (or method, with --seeds) to compare the others with, instead of"
                " the first."
            ),
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs", help="Every run with every other.", rich_help_panel=options.WHAT
        ),
    ] = False,
    seeds: Annotated[
        bool,
        typer.Option(
            "--seeds",
            help="Runs of one method are its training seeds; compare methods.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    allow: Annotated[
        Optional[list[str]],
        typer.Option(
            "--allow",
            help=(
                "Compare in spite of different prompts, sampling, data or grader. May be repeated."
            ),
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.api.tables import compare as compare_folders
    from sage_bench.cli.output import emit

    result = compare_folders(
        runs,
        metric,
        against=against,
        all_pairs=all_pairs,
        seeds=seeds,
        allow=allow or (),
    )
    emit(as_json, result.as_dict(), result.text)
    # a comparison of unfinished runs is shown, and a script can tell it from a whole one
    if result.partial:
        raise typer.Exit(3)


compare.__doc__ = (
    "Paired differences between evaluations, question by question, with intervals and corrected"
    " tests.\n" + EXAMPLES
)
