"""`sage-bench status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.reporting.status import RunStatus

EXAMPLES = """
Examples:

`sage-bench status runs/sage`

`sage-bench status runs` (every run below a folder)

`watch sage-bench status runs/eval`
"""
STOPPED = ("died", "interrupted", "failed", "incomplete")


def status(
    folder: Annotated[
        Path,
        typer.Argument(help="A run of `train` or `eval`, or a folder of runs.", show_default=False),
    ],
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.cli.output import emit
    from sage_bench.reporting.status import status as look

    runs = look(folder)
    emit(as_json, [run.as_dict() for run in runs], lambda: text_of(runs))


status.__doc__ = (
    "Say what runs are doing: progress, time left, whether their process lives.\n" + EXAMPLES
)


def text_of(runs: list[RunStatus]) -> str:
    """One line a run; a single run's tasks below it; how to go on where one has stopped."""
    from sage_bench.cli.output import table_text

    header = ("run", "kind", "state", "progress", "left", "last result", "process", "note")
    blocks = [table_text(header, [_row(run) for run in runs])]
    # the tasks of many runs would bury the runs themselves
    if len(runs) == 1 and runs[0].parts:
        parts = [
            (task, _progress(part["done"], part["total"]), "yes" if part["graded"] else "no")
            for task, part in runs[0].parts.items()
        ]
        blocks.append(table_text(("task", "samples", "graded"), parts))
    if any(run.state in STOPPED for run in runs):
        blocks.append("The command that began a run goes on with it; what is finished is kept.")
    return "\n\n".join(blocks)


def _row(run: RunStatus) -> tuple[object, ...]:
    idle = "" if run.idle is None else f"{_time(run.idle)} ago"
    progress = f"{_progress(run.done, run.total)} {run.unit}"
    left = _time(run.eta)
    return (run.folder, run.kind, run.state, progress, left, idle, run.pid or "", run.note)


def _progress(done: int, total: int | None) -> str:
    return f"{done}/{'?' if total is None else total}"


def _time(seconds: float | None) -> str:
    """A duration in the largest unit that keeps two figures.

    >>> _time(None), _time(90), _time(600), _time(9000)
    ('', '90 s', '10 min', '2.5 h')
    """
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{int(seconds)} s"
    if seconds < 7200:
        return f"{int(seconds) // 60} min"
    return f"{int(seconds) / 3600:.1f} h"
