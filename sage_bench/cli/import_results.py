"""`sage-bench import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.reporting.exchange.importing import Imported

EXAMPLES = """
Examples:

`sage-bench import results_2026-11-01.json --out theirs` (lm-eval)

`sage-bench import logs/*.json logs/*.eval --out theirs` (Inspect)

`sage-bench import data/*/*/*/*.json --out theirs` (Every Eval Ever)
"""
SHOWN = 5  # rows that were set aside and are named


def import_results(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="results.json of lm-eval, logs of Inspect, Every Eval Ever documents.",
            show_default=False,
        ),
    ],
    out: options.OutFolder,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.cli.output import emit
    from sage_bench.reporting.exchange.importing import import_files
    from sage_bench.utils.progress import stderr

    found = import_files(files, out)
    emit(as_json, values(found), lambda: text_of(found))
    if found.quarantine:
        log = stderr()
        log.print(f"set aside: {len(found.quarantine)} (all of them in {found.files[0]})")
        for row in found.quarantine[:SHOWN]:
            log.print(f"  {row.where}: {row.reason}")


import_results.__doc__ = (
    "Read scores that other programs wrote. What is of another form is set aside with its"
    " reason.\n" + EXAMPLES
)


def values(found: Imported) -> dict[str, Any]:
    """For `--json`."""
    return {
        "scores": [score.as_dict() for score in found.scores],
        "quarantine": [row.as_dict() for row in found.quarantine],
        "files": found.files,
    }


def text_of(found: Imported) -> str:
    """The table; the last line is the folder's table of scores."""
    from sage_bench.cli.output import table_text

    header = ("model", "task", "metric", "value", "± se", "95 % interval", "form")
    rows = []
    for item in found.scores:
        score = item.score
        error = "" if score.se is None else f"{score.se:.4f}"
        interval = ""
        if score.low is not None and score.high is not None:
            interval = f"{score.low:.4f} to {score.high:.4f}"
        value = f"{score.value:.4f}"
        rows.append((item.model, score.task, score.metric, value, error, interval, item.form))
    return f"{table_text(header, rows)}\n\n{found.files[-1]}"
