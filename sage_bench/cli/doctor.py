"""`sage-bench doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.cli.doctor_checks import Finding

EXAMPLES = """
Examples:

`sage-bench doctor`

`sage-bench doctor --out /scratch/runs` (can runs be written there?)

`sage-bench doctor --json --no-network`
"""


def doctor(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Where runs would be written.", rich_help_panel=options.WHAT
        ),
    ] = Path("runs"),
    network: Annotated[
        bool,
        typer.Option(
            "--network/--no-network",
            help="Ask whether the Hub answers.",
            rich_help_panel=options.WHAT,
        ),
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.cli.doctor_checks import examine, summary
    from sage_bench.cli.output import emit
    from sage_bench.utils.errors import ValidationError

    findings = list(examine(out, network=network))
    emit(as_json, summary(findings), lambda: text_of(findings))
    # notes are no failure: most machines lack a GPU or a browser
    wrong = [finding.name for finding in findings if finding.state == "wrong"]
    if wrong:
        raise ValidationError(
            f"wrong on this machine: {', '.join(wrong)}", remedy="what to do stands above"
        )


doctor.__doc__ = (
    "Examine this machine: versions against what is required, the grading canary, GPU, browser,"
    " folders, cached benchmarks, the Hub, plugins.\n\nExit code 4 when something is wrong.\n"
    + EXAMPLES
)


def text_of(findings: list[Finding]) -> str:
    """The table of findings, and what to type about them."""
    from sage_bench.cli.output import table_text

    rows = [(finding.name, finding.state, finding.found) for finding in findings]
    remedies = [f"{finding.name}: {finding.remedy}" for finding in findings if finding.remedy]
    return "\n".join([table_text(("what", "state", "found"), rows), *remedies])
