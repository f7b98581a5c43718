"""`sage-bench plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.api.planning import RunPlan

EXAMPLES = """
Examples:

`sage-bench plan qwen2.5-7b-instruct --gpus 8xH100-80G`

`sage-bench plan qwen2.5-7b-instruct@1gpu --gpus 1xH200-141G --json`

`sage-bench plan mine.yaml --gpus 4xA100-80G --mean-tokens 1500 train.prompts_per_step=64`
"""


def plan(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|CONFIG",
            help="Preset (`sage-bench ls models`) or YAML file.",
            show_default=False,
        ),
    ],
    overrides: options.Overrides = None,
    gpus: Annotated[
        str,
        typer.Option(
            "--gpus",
            help="Number, name and memory of each: 8xH100-80G.",
            rich_help_panel=options.WHAT,
        ),
    ] = "1xH100-80G",
    backend: Annotated[
        Optional[str],
        typer.Option(
            "--backend",
            help="Method (`sage-bench ls backends`).",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    backend_file: options.BackendFile = None,
    mean_tokens: Annotated[
        Optional[float],
        typer.Option(
            "--mean-tokens",
            min=1,
            help="Mean length of completions; 30 % of sampling.max_tokens unless given.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    mean_prompt: Annotated[
        Optional[float],
        typer.Option(
            "--mean-prompt",
            min=1,
            help="Mean length of prompts; 256 unless given.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.planning import plan as make
    from sage_bench.cli.output import emit

    made = make(
        what,
        gpus=gpus,
        backend=backend,
        overrides=overrides or [],
        backend_files=backend_file or [],
        mean_tokens=mean_tokens,
        mean_prompt=mean_prompt,
    )
    emit(as_json, made.values(), lambda: text_of(made))


plan.__doc__ = (
    "Say what a run needs on given GPUs: memory by part, hours, disk, and what makes it fit."
    " Loads no weights.\n" + EXAMPLES
)


def text_of(made: RunPlan) -> str:
    """The plan for people."""
    from sage_bench.cli.output import table_text

    found = made.outlook
    verdict = "fits" if made.fits else "does NOT fit"
    used = f"{found.devices} of them" if found.devices != found.gpus.count else "all of them"
    lines = [
        f"{found.model} ({found.parameters / 1e9:.2f} B parameters, {found.learning / 1e9:.2f} B"
        f" learn) on {found.gpus}, engine {found.engine} on {used}",
        f"{verdict}: {found.peak:.1f} GiB at its peak, {found.limit:.1f} GiB may be used on each",
    ]
    if made.advice:
        lines.append("to make it fit: " + " ".join(made.advice))
    memory = [(name, f"{value:.2f}") for name, value in found.memory.items()]
    phases = [(name, f"{value:.2f}") for name, value in found.phases.items()]
    lines += ["", table_text(("memory by part", "GiB"), memory, right=1)]
    lines += ["", table_text(("together while", "GiB"), phases, right=1)]
    if found.host:
        lines += ["", f"memory of the host: {found.host:.1f} GiB"]
    lines += ["", *time_lines(made)]
    disk = found.disk
    lines.append(
        f"disk       {disk['total']:.1f} GiB for {disk['checkpoints']} checkpoints"
        f" ({disk['weights']:.2f} GiB each, {disk['optimizer']:.2f} GiB of optimiser state in the"
        " newest two)"
    )
    lines += ["", "assumed:", *(f"  - {line}" for line in found.assumptions)]
    return "\n".join(lines)


def time_lines(made: RunPlan) -> list[str]:
    found = made.outlook
    sampled, trained = found.tokens["sampled_per_step"], found.tokens["trained_per_step"]
    lines = [f"tokens     {sampled:,.0f} sampled and {trained:,.0f} trained a step"]
    if "sampled" in found.tokens:
        lines[0] += f", {found.tokens['sampled'] / 1e9:.2f} B sampled in the run"
    if found.seconds is None:
        return [*lines, "hours      not known"]
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in found.seconds.items())
    total = "" if found.hours is None else f"{found.hours:,.0f} hours in all; "
    return [*lines, f"hours      {total}a step: {parts}"]
