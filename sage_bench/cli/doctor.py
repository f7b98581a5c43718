"""`sage-bench doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
Examples:

`sage-bench doctor`

`sage-bench doctor --out /scratch/runs` (can runs be written there?)

`sage-bench doctor --json --no-network`
"""


def doctor(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where runs would be written.")] = Path(
        "runs"
    ),
    network: Annotated[
        bool, typer.Option("--network/--no-network", help="Ask whether the Hub answers.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    from sage_bench.cli.common import print_table, quiet_libraries

    quiet_libraries()
    from sage_bench.cli.doctor_checks import examine, summary
    from sage_bench.utils.errors import ValidationError

    findings = list(examine(out, network=network))
    if as_json:
        import json

        print(json.dumps(summary(findings), indent=1, ensure_ascii=False))
    else:
        print_table(("what", "state", "found"), [(f.name, f.state, f.found) for f in findings])
        for f in findings:
            if f.remedy:
                print(f"{f.name}: {f.remedy}")
    if wrong := [f.name for f in findings if f.state == "wrong"]:
        raise ValidationError(
            f"wrong on this machine: {', '.join(wrong)}", remedy="what to do stands above"
        )


doctor.__doc__ = (
    "Examine this machine: versions against what is required, the grading canary, GPU, browser,"
    " folders, cached benchmarks, the Hub.\n\nExit code 4 when something is wrong.\n" + EXAMPLES
)
