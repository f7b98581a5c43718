"""`sage-bench judge-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench judge-eval --judge reference processbench.jsonl --out runs/judge`

`sage-bench judge-eval --judge reference processbench.jsonl --solutions gsm8k_test.jsonl --solutions math500.jsonl --out runs/judge`

`sage-bench judge-eval --judge policy --model Qwen/Qwen2.5-7B-Instruct --votes 4 processbench.jsonl --limit 50 --out runs/judge-qwen`

`sage-bench judge-eval --judge openai base_url=http://localhost:8000/v1 model=my-judge key_env=MY_KEY processbench.jsonl --out runs/judge-api`
"""


def judge_eval(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [KEY=VALUE]...",
            help="Labelled steps (.jsonl, .json, .parquet, .csv), and options of the judge.",
        ),
    ],
    judge: Annotated[str, typer.Option("--judge", help="Who judges (`sage-bench ls judges`).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder. The same command goes on where it stopped.")
    ],
    limit: Annotated[
        Optional[int], typer.Option("--limit", "-L", min=1, help="First rows of each subset only.")
    ] = None,
    votes: Annotated[
        int,
        typer.Option(
            "--votes",
            min=1,
            help="Judgements a row; their mode counts, ties go to the earliest step.",
        ),
    ] = 1,
    model: Annotated[
        Optional[str],
        typer.Option(
            "--model",
            "-m",
            help="For judges that ask the policy: checkpoint folder, preset or Hub id.",
        ),
    ] = None,
    solutions: Annotated[
        Optional[list[str]],
        typer.Option(
            "--solutions",
            help=(
                "File with problem and solution columns, for rows without a solution. May be"
                " repeated."
            ),
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows judged together.")] = 64,
    retry: Annotated[
        bool, typer.Option("--retry", help="Judge rows again that were abstained from.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()
    from sage_bench.config.layers import override_layer
    from sage_bench.config.models import path_of
    from sage_bench.generation.model_folders import check_folder
    from sage_bench.judges.labelled import read_labelled
    from sage_bench.judges.registry import JUDGES
    from sage_bench.judges.report import write
    from sage_bench.judges.run import JudgeConfig, judge_rows
    from sage_bench.utils.errors import UsageError
    from sage_bench.utils.progress import stderr

    JUDGES.get(judge)
    options = [w for w in words if "=" in w and not Path(w).exists()]
    files = [w for w in words if w not in options]
    if not files:
        raise UsageError(
            "no file with labelled steps", remedy="give one or more, e.g. processbench.jsonl"
        )
    path = None
    if model is not None:
        path = path_of(model)
        check_folder(path)
    config = JudgeConfig(
        judge, out, dict(override_layer(options).values), votes, path, batch, retry
    )
    found = read_labelled(files, limit=limit, solutions=solutions or [])
    if found.quarantine and not quiet:
        stderr().print(
            f"{len(found.quarantine)} rows set aside"
            f" ({', '.join(f'{n} x {r}' for r, n in found.reasons().items())}):"
            f" {out / 'quarantine.jsonl'}"
        )
    rows = judge_rows(
        config,
        lambda: JUDGES.make(judge, config.options, "options of the judge"),
        found,
        quiet=quiet,
    )
    print(write(out, rows, found.reasons()))
    print(out)


judge_eval.__doc__ = (
    "Measure a step judge on labelled data: does it find the first wrong step? Run the same command"
    " again to go on.\n" + EXAMPLES
)
