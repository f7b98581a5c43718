"""`sage-bench watch`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.reporting.watch import View

EXAMPLES = """
Examples:

`sage-bench watch runs/sage`

`sage-bench watch runs/sage --stop >> sage.log` (a line a step; ends when the run stops)

`sage-bench watch runs/sage --once`
"""


def watch(
    run: Annotated[Path, typer.Argument(help="A run of `train` or `eval`.", show_default=False)],
    every: Annotated[
        float,
        typer.Option(
            "--every", min=0.1, help="Seconds between looks.", rich_help_panel=options.OUTPUT
        ),
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="One look, and leave.", rich_help_panel=options.OUTPUT)
    ] = False,
    stop: Annotated[
        bool,
        typer.Option(
            "--stop",
            help="Leave when the run stops, done or not; otherwise it is waited for.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.reporting.watch import look
    from sage_bench.reporting.watch import watch as looks

    views = iter([look(run)]) if once else looks(run, every, leave_when_stopped=stop)
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ and not once:
        on_terminal(views)
    else:
        as_lines(views)


watch.__doc__ = (
    "Watch a run: reward, no signal, hint use, tokens a second, time left. It may be stopped and"
    " started again meanwhile.\n" + EXAMPLES
)


def as_lines(views: Iterator[View]) -> None:
    """A line whenever a step ended or the state changed."""
    shown: tuple[Any, ...] | None = None
    for view in views:
        if view.key != shown:
            shown = view.key
            print(view.line(), flush=True)


def on_terminal(views: Iterator[View]) -> None:
    """The same place redrawn; the last view stays when it ends."""
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        for view in views:
            live.update(table(view), refresh=True)


def table(view: View) -> Any:
    """The view as a table of rich."""
    from rich.table import Table
    from rich.text import Text

    from sage_bench.reporting.watch import progress, small_curve
    from sage_bench.utils.progress import duration

    run = view.status
    shown = Table(title=Text(run.folder), show_header=False, box=None)
    shown.add_row("state", Text(run.state + (f": {run.note}" if run.note else "")))
    shown.add_row(run.unit, progress(run))
    curves = (
        ("reward", view.reward, view.reward_curve, ".3f"),
        ("no signal", view.no_signal, view.no_signal_curve, ".0%"),
        ("hint use", view.hinted, view.hinted_curve, ".0%"),
    )
    for name, value, curve, form in curves:
        if value is not None:
            shown.add_row(name, f"{value:{form}}  {small_curve(curve)}")
    if view.validation is not None:
        step, reward = view.validation
        shown.add_row("validation", f"{reward:.3f} after step {step}")
    if view.tokens_a_second is not None:
        shown.add_row("tokens/s", f"{view.tokens_a_second:,.0f}")
    if run.eta is not None:
        shown.add_row("time left", duration(run.eta))
    return shown
