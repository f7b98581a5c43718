"""`sage-bench status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
Examples:

`sage-bench status runs/sage`

`sage-bench status runs` (every run below a folder)

`watch sage-bench status runs/eval`
"""


def status(
    folder: Annotated[
        Path, typer.Argument(help="A run of `train` or `eval`, or a folder of runs.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    from sage_bench.cli.common import print_table, quiet_libraries

    quiet_libraries()
    from sage_bench.reporting.status import status as look

    runs = look(folder)
    if as_json:
        import json

        print(json.dumps([r.as_dict() for r in runs], indent=1, ensure_ascii=False))
        return
    print_table(
        ("run", "kind", "state", "progress", "left", "last result", "process", "note"),
        [
            (
                r.folder,
                r.kind,
                r.state,
                f"{r.done}/{r.total if r.total is not None else '?'} {r.unit}",
                _time(r.eta),
                f"{_time(r.idle)} ago" if r.idle is not None else "",
                r.pid or "",
                r.note,
            )
            for r in runs
        ],
    )
    if len(runs) == 1 and runs[0].parts:
        print()
        print_table(
            ("task", "samples", "graded"),
            [
                (
                    t,
                    f"{p['done']}/{p['total'] if p['total'] is not None else '?'}",
                    "yes" if p["graded"] else "no",
                )
                for t, p in runs[0].parts.items()
            ],
        )
    if any(r.state in ("died", "interrupted", "failed", "incomplete") for r in runs):
        print("\nThe command that began a run goes on with it; what is finished is kept.")


status.__doc__ = (
    "Say what runs are doing: progress, time left, whether their process lives.\n" + EXAMPLES
)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = int(seconds)
    return (
        f"{whole} s"
        if whole < 120
        else f"{whole // 60} min"
        if whole < 7200
        else f"{whole / 3600:.1f} h"
    )
