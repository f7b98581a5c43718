"""`sage-bench launch`."""

from __future__ import annotations

import os
import shlex
from typing import Annotated, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench launch --config fsdp2-8gpu -- train --config qwen2.5-7b-instruct --backend sage --out \
runs/sage`

`sage-bench launch --config fsdp2-8gpu --print -- train --backend sage --out runs/sage` (only the \
command line)

`sage-bench launch --config fsdp2-2x8gpu --machine-rank 1 --main-process-ip 10.0.0.1 -- train \
--config qwen2.5-7b-instruct --backend sage --out /shared/runs/sage`

On a CPU: `torchrun --standalone --nproc-per-node 2 -m sage_bench train --engine trl ...`
"""


def launch(
    words: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="-- train ...", help="The `train` command, after `--`.", show_default=False
        ),
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            "--config",
            help="fsdp2-8gpu, fsdp2-2x8gpu, zero3-8gpu, ddp-8gpu, or a file of accelerate.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = "fsdp2-8gpu",
    processes: Annotated[
        Optional[int],
        typer.Option(
            "--processes",
            min=1,
            help="Processes in all, instead of the configuration's.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    machine_rank: Annotated[
        Optional[int],
        typer.Option(
            "--machine-rank",
            min=0,
            help="Number of this machine, where there are several.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    main_process_ip: Annotated[
        Optional[str],
        typer.Option(
            "--main-process-ip",
            help="Address of machine 0, where there are several.",
            rich_help_panel=options.CONFIGURATION,
        ),
    ] = None,
    only_print: Annotated[
        bool,
        typer.Option(
            "--print",
            help="Print the `accelerate launch` line and start nothing.",
            rich_help_panel=options.LOOK,
        ),
    ] = False,
) -> None:
    from sage_bench.api.launching import check_devices, launch_of

    found = launch_of(
        config,
        words or [],
        processes=processes,
        machine_rank=machine_rank,
        main_process_ip=main_process_ip,
    )
    if only_print:
        print(shlex.join(found.line))
        return
    check_devices(found)
    # in this process's place: signals and the exit code are the launcher's
    os.execv(found.command[0], found.command)


launch.__doc__ = (
    "Start `train` in several processes with accelerate (FSDP2, DeepSpeed, several machines).\n"
    + EXAMPLES
)
