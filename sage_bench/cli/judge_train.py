"""`sage-bench judge-train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench judge-train tiny-steps --test tiny-steps-test --model tiny-llama \
--config configs/tiny_judge.yaml --out runs/judge`

`sage-bench judge-train prm800k.jsonl --test processbench.jsonl --model Qwen/Qwen2.5-7B-Instruct \
--out runs/judge-7b optim.lr=1e-5`

`sage-bench judge-train mr_gsm8k.json processbench.jsonl --solutions gsm8k_test.jsonl \
--reference mixed --model Qwen/Qwen2.5-1.5B-Instruct --out runs/judge-1.5b`

`sage-bench train --backend sgpo --model tiny-llama --data tiny --out runs/sgpo \
method.judge=policy method.judge_options.model=runs/judge` (what it is for)
"""


def judge_train(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|KEY=VALUE",
            help=(
                "Labelled steps (.jsonl, .json, .parquet, .csv, or `tiny-steps`), and keys of"
                " `train`."
            ),
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the judge. The same command goes on where it stopped.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    model: options.Model = None,
    engine: Annotated[
        Optional[str],
        typer.Option(
            "--engine",
            help="Who learns (`sage-bench ls engines`).",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            help="shown, withheld, or mixed: what the judge sees of the reference solution.",
            rich_help_panel=options.WHAT,
        ),
    ] = "shown",
    config: options.ConfigFiles = None,
    test: Annotated[
        Optional[list[str]],
        typer.Option(
            "--test",
            help="Labelled steps the judge is measured on. May be repeated.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            help="Without --test: share of the questions that is measured on, not taught.",
            rich_help_panel=options.DATA,
        ),
    ] = 0.1,
    balance: Annotated[
        bool,
        typer.Option(
            "--balance/--no-balance",
            help="Repeat rows until there are as many with an error as without.",
            rich_help_panel=options.DATA,
        ),
    ] = True,
    quote: Annotated[
        bool,
        typer.Option(
            "--quote/--no-quote",
            help="The verdict repeats each step before it marks it: for small models.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    limit: options.RowsOfSubsets = None,
    solutions: options.Solutions = None,
    max_tokens: Annotated[
        Optional[int],
        typer.Option(
            "--max-tokens",
            min=1,
            help="Longest verdict. Default: 1024, or what is taught where the context is short.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(
            "--sampler",
            help="Who draws the verdicts that are measured (`sage-bench ls samplers`).",
            rich_help_panel=options.SAMPLING,
        ),
    ] = "hf",
    before: Annotated[
        bool,
        typer.Option(
            "--before/--no-before",
            help="Measure the model before it is taught, too.",
            rich_help_panel=options.WHAT,
        ),
    ] = True,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Write the rows and print the `train` command, to run it elsewhere.",
            rich_help_panel=options.LOOK,
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.judge_training import train_judge
    from sage_bench.cli.output import emit

    # a file may have `=` in its name; what exists is a file
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    result = train_judge(
        [word for word in words if word not in settings],
        model=model,
        out=out,
        test=test or [],
        held_out=held_out,
        reference=reference,  # type: ignore[arg-type]  # what it may be is checked there
        balance=balance,
        quote=quote,
        limit=limit,
        solutions=solutions or [],
        max_tokens=max_tokens,
        sampler=sampler,
        before=before,
        prepare=prepare,
        engine=engine,
        configs=config or [],
        overrides=settings,
        quiet=quiet,
    )
    emit(as_json, result.as_dict(), f"{result.text}\n{result.folder}")


judge_train.__doc__ = (
    "Teach a judge to find the first wrong step, and measure it before and after on other"
    " questions. Run the same command again to go on.\n" + EXAMPLES
)
