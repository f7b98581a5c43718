"""`sage-bench matrix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench matrix configs/tiny_table1.yaml --out runs/table1`

`sage-bench matrix configs/table1.yaml --dry-run` (cells, hours, disk, tokens)

`sage-bench matrix configs/tiny_table1.yaml --status`

`sage-bench matrix configs/tiny_table1.yaml --only 'eval/tiny-llama/sage/*' --jobs 2`
"""


def matrix(
    config: Annotated[Path, typer.Argument(help="YAML file of the study.", show_default=False)],
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Folder of the study; the file's own unless given. The same command goes on.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    only: Annotated[
        Optional[list[str]],
        typer.Option(
            "--only",
            metavar="GLOB",
            help="Cells whose names match, and what they need. Repeatable.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    jobs: Annotated[
        Optional[int],
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Cells at once; as many as there is room unless given.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Run cells again that failed; without it they stay failed.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = False,
    accept_change: Annotated[
        Optional[str],
        typer.Option(
            "--accept-change",
            metavar="NAME,...",
            help="Inputs whose change leaves finished cells as they are.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    show_status: Annotated[
        bool,
        typer.Option(
            "--status", help="How every cell stands; starts nothing.", rich_help_panel=options.LOOK
        ),
    ] = False,
    cell: Annotated[
        Optional[str],
        typer.Option(
            "--cell",
            help="Run this one cell here, whose needs are done (what other machines are given).",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            "--executor",
            help="local, ray (an existing cluster with a shared folder) or slurm (writes batch"
            " files).",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = "local",
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="With --executor ray: the cluster.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = "auto",
    store: Annotated[
        Optional[str],
        typer.Option(
            "--store",
            metavar="URL",
            help="Folder or URL (s3://...) where finished cells are kept and looked for first.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables",
            help="Write the tables of what there is; run nothing.",
            rich_help_panel=options.LOOK,
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api import matrix as study
    from sage_bench.api import matrix_plan
    from sage_bench.cli.output import emit

    if dry_run or show_status:
        planned = study.plan(config, out)
        look = matrix_plan.status if show_status else matrix_plan.dry_run
        found = look(planned, only or [])
        emit(as_json, found.values, found.text)
        return
    if cell is not None:
        record = study.one_cell(config, out, cell, store=store)
        emit(as_json, record.model_dump(), f"{record.cell}: {record.state} {record.reason}")
        raise typer.Exit(0 if record.state == "done" else 1)
    if executor == "slurm":
        files = study.batch_files(config, out, only=only or [], store=store)
        emit(as_json, {"files": files}, f"{len(files)} files; submit them with\n{files[-1]}")
        return
    if tables:
        result = study.tables(config, out)
    else:
        result = study.matrix(
            config,
            out,
            only=only or [],
            jobs=jobs,
            retry_failed=retry_failed,
            accept_change=[w.strip() for w in (accept_change or "").split(",") if w.strip()],
            store=store,
            executor=executor,
            address=address,
            quiet=quiet,
        )
    emit(as_json, result.as_dict(), "\n".join([*map(str, result.files), str(result.folder)]))
    # the tables are there; the exit code says that something is missing in them
    if result.partial is not None:
        raise result.partial


matrix.__doc__ = (
    "Run a study: models x methods x seeds, trained, selected on validation, evaluated, tabled.\n\n"
    "Run the same command again to go on. Exit code 3 when cells are missing.\n" + EXAMPLES
)
