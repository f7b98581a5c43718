"""`sage-bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.config.layers import Resolved

EXAMPLES = """
Examples:

`sage-bench train --backend sage --model tiny-llama --data tiny --out runs/sage`

`sage-bench train --backend-file mine.py --backend mine --model tiny-qwen3 --data tiny --out \
runs/mine train.steps=20 optim.lr=1e-4`

`sage-bench train --config qwen2.5-7b-instruct --backend grpo --dry-run`

`sage-bench train --config mine.yaml --show-config --json` (every value, and the layer that set \
it)
"""


def train(
    overrides: options.Overrides = None,
    backend: Annotated[
        Optional[str],
        typer.Option(
            "--backend",
            help="Method to train with (`sage-bench ls backends`).",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    backend_file: options.BackendFile = None,
    model: options.Model = None,
    trust_remote_code: options.TrustRemoteCode = None,
    data: Annotated[
        Optional[str],
        typer.Option(
            "--data",
            help="Registered dataset (`sage-bench ls datasets`) or .jsonl/.parquet/.csv file.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    engine: Annotated[
        Optional[str],
        typer.Option(
            "--engine",
            help="Who samples and learns (`sage-bench ls engines`).",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    config: options.ConfigFiles = None,
    show_config: options.ShowConfig = False,
    dry_run: options.DryRun = False,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Folder of the run. The same command goes on where it stopped.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    accept_change: Annotated[
        Optional[str],
        typer.Option(
            "--accept-change",
            metavar="NAME,...",
            help="Go on although this differs from what the run began with: data, prompts, method,"
            " template, tokenizer, weights, version, or a key (recorded).",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    allow_degraded: Annotated[
        bool,
        typer.Option(
            "--allow-degraded",
            help="Train although the data lack columns the method reads, or its judge fails"
            " (marked in manifest and tables).",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.settings import training_config
    from sage_bench.api.training import run_training, training_plan
    from sage_bench.cli.output import emit
    from sage_bench.utils.errors import UsageError
    from sage_bench.utils.progress import first_process

    words = [*(overrides or []), *accepted_words(accept_change, allow_degraded)]
    if trust_remote_code:
        words.append("model.trust_remote_code=true")
    resolved = training_config(
        backend=backend,
        model=model,
        data=data,
        engine=engine,
        configs=config or [],
        overrides=words,
        backend_files=backend_file or [],
    )
    if show_config:
        show_rows(resolved, as_json)
        return
    if dry_run:
        plan = training_plan(resolved)
        emit(as_json, plan.values, plan.text)
        return
    # a dry run needs no folder, a run does
    if out is None:
        raise UsageError("no --out", remedy="give the folder of the run, e.g. --out runs/mine")
    result = run_training(resolved, out, overwrite=overwrite, quiet=quiet)
    if first_process():
        emit(as_json, {"folder": out, "checkpoint": result.checkpoint}, str(result.checkpoint))


train.__doc__ = (
    "Train a policy with one method. Progress goes to stderr; the last line is the final"
    " checkpoint.\n" + EXAMPLES
)


def accepted_words(accept_change: str | None, allow_degraded: bool) -> list[str]:
    """The two switches as keys of the configuration.

    >>> accepted_words("data, prompts", True)
    ['train.accept_change=[data,prompts]', 'train.allow_degraded=true']
    """
    words = []
    if accept_change:
        names = ",".join(name.strip() for name in accept_change.split(","))
        words.append(f"train.accept_change=[{names}]")
    if allow_degraded:
        words.append("train.allow_degraded=true")
    return words


def show_rows(resolved: Resolved[Any], as_json: bool) -> None:
    """`--show-config` of `train` and `eval`: every value and the layer that set it."""
    from sage_bench.api.training import config_rows
    from sage_bench.cli.output import emit, table_text

    rows = config_rows(resolved)
    shown = [
        (key, repr(value) if isinstance(value, str) else value, origin)
        for key, value, origin in rows
    ]
    emit(
        as_json,
        {key: {"value": value, "origin": origin} for key, value, origin in rows},
        lambda: table_text(("key", "value", "origin"), shown),
    )
