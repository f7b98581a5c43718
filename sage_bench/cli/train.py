"""`sage-bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench train --backend sage --model tiny-llama --data tiny --out runs/sage`

`sage-bench train --backend-file mine.py --backend mine --model tiny-qwen3 --data tiny --out runs/mine train.steps=20 optim.lr=1e-4`

`sage-bench train --config qwen2.5-7b-instruct --backend grpo --dry-run`
"""


def train(
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Any key of the configuration, e.g. optim.lr=1e-5 method.group_size=4.",
        ),
    ] = None,
    backend: Annotated[
        Optional[str],
        typer.Option("--backend", help="Method to train with (`sage-bench ls backends`)."),
    ] = None,
    backend_file: Annotated[
        Optional[list[str]],
        typer.Option(
            "--backend-file", help="Python file that registers a backend of yours. May be repeated."
        ),
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            "--model",
            "-m",
            help="Preset (`sage-bench ls models`), folder or Hub id of the initial policy.",
        ),
    ] = None,
    data: Annotated[
        Optional[str],
        typer.Option("--data", help="Registered dataset or .jsonl/.parquet/.csv file."),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out", "-o", help="Folder of the run. The same command goes on where it stopped."
        ),
    ] = None,
    engine: Annotated[
        Optional[str],
        typer.Option("--engine", help="Who samples and learns (`sage-bench ls engines`)."),
    ] = None,
    config: Annotated[
        Optional[list[str]],
        typer.Option(
            "--config", "-c", help="YAML file or preset name. May be repeated; later ones win."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; load no weights, write nothing.")
    ] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every value and where it comes from.")
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Move a run that lies in --out to .trash and start anew."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import quiet_libraries, training_config
    from sage_bench.utils.errors import UsageError

    quiet_libraries()
    resolved = training_config(
        backend=backend,
        model=model,
        data=data,
        engine=engine,
        configs=config or [],
        overrides=overrides or [],
        backend_files=backend_file or [],
    )
    if show_config:
        _show(resolved)
        return
    if dry_run:
        from sage_bench.training.plan import plan

        print(plan(resolved))
        return
    if out is None:
        raise UsageError("no --out", remedy="give the folder of the run, e.g. --out runs/mine")
    from sage_bench.training import loop, setup
    from sage_bench.utils.files import to_trash

    if overwrite:
        to_trash(out)
    last = loop.train(setup.build(resolved, out, quiet=quiet))
    print(last)


train.__doc__ = (
    "Train a policy with one method. Progress goes to stderr; the last line is the final"
    " checkpoint.\n" + EXAMPLES
)


def _show(resolved: object) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("key", "value", "origin")
    for key, value, origin in resolved.rows():  # type: ignore[attr-defined]
        table.add_row(key, repr(value) if isinstance(value, str) else str(value), origin)
    Console().print(table)
