"""`sage-bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench export runs/eval/MODEL/4f1c02ab --to eee --out exported --name my-org/my-model`

`sage-bench export runs/eval/MODEL/4f1c02ab --to lm-eval --out exported` (results.json)

`sage-bench export runs/sage --to model-card --out model` (the newest checkpoint, ready to load)

`sage-bench export runs/lora --merge --out models/lora` (a whole model of base and adapters)

`sage-bench import exported/results.json --out back` reads such files again
"""


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="An evaluation; for model-card also a training run or a checkpoint.",
            show_default=False,
        ),
    ],
    out: options.OutFolder,
    to: Annotated[
        Optional[str],
        typer.Option(
            "--to",
            help="eee (Every Eval Ever 0.3), lm-eval, hf-results (.eval_results of the Hub),"
            " inspect, or model-card.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    name: Annotated[
        Optional[str],
        typer.Option(
            "--name",
            metavar="ORG/MODEL",
            help="What the model is called there; its Hub id, or local/FOLDER, unless given.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    grader: Annotated[
        Optional[str],
        typer.Option(
            "--grader",
            help="Whose verdicts (see `sage-bench grade`); the run's own unless given.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Merge adapters (engine.lora) into the model they were trained on.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.cli.output import emit
    from sage_bench.reporting.exchange.kinds import KINDS
    from sage_bench.reporting.exchange.kinds import export as write
    from sage_bench.utils.errors import UsageError

    if merge:
        from sage_bench.api.exporting import export_merged

        if to is not None:
            raise UsageError("--merge and --to are two exports", remedy="give one of them")
        folder = export_merged(run, out, overwrite=overwrite)
        emit(as_json, {"folder": folder}, str(folder))
        return
    if to is None:
        raise UsageError("no --to", remedy="one of " + ", ".join(KINDS) + "; or --merge")
    files = write(run, to, out, name=name, grader=grader)
    emit(as_json, {"files": files}, "\n".join(map(str, files)))


export.__doc__ = (
    "Write results, or a model, in the form other projects read. Prints the files.\n" + EXAMPLES
)
