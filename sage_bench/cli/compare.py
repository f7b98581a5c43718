"""`sage-bench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench compare runs/eval/base/1f0c55aa runs/eval/sage-step_000040/93b1e2d4` (what eval printed last)

`sage-bench compare runs/eval --metric pass@4 --json` (all evaluations in a folder, against the first)

`sage-bench compare runs/seeds --seeds` (runs of one method are its training seeds)

Exit codes: 0 compared, 2 nothing to compare or not asked alike, 3 compared, but questions are missing from some run.
"""


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help=(
                "Evaluation runs, or folders that contain them. The others are compared with the"
                " first."
            )
        ),
    ],
    metric: Annotated[
        str,
        typer.Option("--metric", help="avg, pass@4, maj@4, ... (any k the runs have samples for)."),
    ] = "avg",
    against: Annotated[
        Optional[str],
        typer.Option(
            "--against",
            help=(
                "Name of the run (or method, with --seeds) to compare the others with, instead of"
                " the first."
            ),
        ),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every run with every other.")
    ] = False,
    seeds: Annotated[
        bool,
        typer.Option("--seeds", help="Runs of one method are its training seeds; compare methods."),
    ] = False,
    allow: Annotated[
        Optional[list[str]],
        typer.Option(
            "--allow",
            help=(
                "Compare in spite of different prompts, sampling, data or grader. May be repeated."
            ),
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    from sage_bench.reporting.metrics import parse_metric

    wanted = parse_metric(metric)
    from sage_bench.reporting.compare import compare_runs, comparison_markdown
    from sage_bench.reporting.export import eval_runs

    found = compare_runs(
        eval_runs(runs),
        wanted,
        allow=allow or (),
        against=against,
        all_pairs=all_pairs,
        seeds=seeds,
    )
    if as_json:
        import json

        print(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
    else:
        print(comparison_markdown(found), end="")
    if found.partial:
        raise typer.Exit(3)


compare.__doc__ = (
    "Paired differences between evaluations, question by question, with intervals and corrected"
    " tests.\n" + EXAMPLES
)
