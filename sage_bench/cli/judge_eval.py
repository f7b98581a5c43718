"""`sage-bench judge-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench judge-eval --judge reference processbench.jsonl --out runs/judge`

`sage-bench judge-eval --judge reference processbench.jsonl --solutions gsm8k_test.jsonl \
--solutions math500.jsonl --out runs/judge`

`sage-bench judge-eval --judge policy --model Qwen/Qwen2.5-7B-Instruct --votes 4 \
processbench.jsonl --limit 50 --out runs/judge-qwen`

`sage-bench judge-eval --judge openai base_url=http://localhost:8000/v1 model=my-judge \
key_env=MY_KEY processbench.jsonl --out runs/judge-api`
"""


def judge_eval(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|KEY=VALUE",
            help="Labelled steps (.jsonl, .json, .parquet, .csv), and options of the judge.",
            show_default=False,
        ),
    ],
    judge: Annotated[
        str,
        typer.Option(
            "--judge", help="Who judges (`sage-bench ls judges`).", rich_help_panel=options.WHAT
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder. The same command goes on where it stopped.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    model: options.Model = None,
    votes: Annotated[
        int,
        typer.Option(
            "--votes",
            min=1,
            help="Judgements a row; their mode counts, ties go to the earliest step.",
            rich_help_panel=options.WHAT,
        ),
    ] = 1,
    limit: options.RowsOfSubsets = None,
    solutions: options.Solutions = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Rows judged together.", rich_help_panel=options.DATA)
    ] = 64,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Judge rows again that were abstained from.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.measuring import measure_judge
    from sage_bench.cli.output import emit
    from sage_bench.config.layers import override_layer
    from sage_bench.utils.progress import stderr

    # a file may have `=` in its name; what exists is a file
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    result = measure_judge(
        judge,
        [word for word in words if word not in settings],
        out=out,
        options=override_layer(settings).values,
        model=model,
        votes=votes,
        limit=limit,
        solutions=solutions or [],
        batch=batch,
        retry=retry,
        quiet=quiet,
    )
    if result.quarantined and not quiet:
        reasons = ", ".join(f"{count} x {why}" for why, count in result.quarantined.items())
        total = sum(result.quarantined.values())
        where = out / "quarantine.jsonl"
        stderr().print(f"{total} rows set aside ({reasons}): {where}", markup=False)
    emit(
        as_json,
        {"folder": result.folder, "parts": result.parts, "quarantined": result.quarantined},
        f"{result.text}\n{result.folder}",
    )


judge_eval.__doc__ = (
    "Measure a step judge on labelled data: does it find the first wrong step? Run the same command"
    " again to go on.\n" + EXAMPLES
)
