"""`sage-bench data decontaminate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.evaluation.decontaminate import Decontaminated

EXAMPLES = """
Examples:

`sage-bench data decontaminate data/openr1-15k/train.parquet --out data/clean`

`sage-bench data decontaminate rows.jsonl --data benchmarks/ --offline --out data/clean` \
(benchmarks from files)

`sage-bench data decontaminate rows.jsonl -t sb_math500,sb_aime24 --min-share 0.3 --out data/clean`
"""


def decontaminate(
    source: Annotated[
        str,
        typer.Argument(help="File or registered dataset.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for clean.jsonl, overlap.jsonl and quarantine.jsonl.",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ],
    tasks: options.Tasks = None,
    min_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of a question's runs of 13 words that a row must hold to be removed; 0:"
            " one run is enough.",
            rich_help_panel=options.WHAT,
        ),
    ] = 0.0,
    common: Annotated[
        int,
        typer.Option(
            min=1,
            help="Runs of words in more training rows than this are stock phrases and do not"
            " count.",
            rich_help_panel=options.WHAT,
        ),
    ] = 10,
    data: options.TaskData = None,
    offline: options.Offline = None,
    gated: options.Gated = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for lm_eval
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.benchmarks import data_options
    from sage_bench.cli.output import emit
    from sage_bench.evaluation import decontaminate as room
    from sage_bench.evaluation.tasks.loading import check_complete
    from sage_bench.evaluation.tasks.spec import parse

    wanted = list(parse(tasks)) if tasks else list(room.EIGHT)
    reading = data_options(wanted, data or [], offline=bool(offline), gated=gated or "skip")
    found = room.decontaminate(source, out, wanted, reading, min_share=min_share, common=common)
    emit(as_json, values(found), lambda: text_of(found))
    # rows that were not compared with a benchmark are not clean of it
    check_complete(found.skipped, source)


decontaminate.__doc__ = (
    "Take the questions of the eight benchmarks out of training data: the same text, or a run of"
    " 13 words in common.\n" + EXAMPLES
)


def values(found: Decontaminated) -> dict[str, Any]:
    """For `--json`."""
    return {
        "rows": found.rows,
        "clean": found.clean,
        "tasks": found.by_task(),
        "skipped": found.skipped,
        "files": found.files,
    }


def text_of(found: Decontaminated) -> str:
    """A line a benchmark; the last line is the file of clean rows."""
    from sage_bench.cli.output import table_text

    rows = found.by_task()
    header = tuple(rows[0]) if rows else ("task",)
    blocks = [table_text(header, [tuple(row.values()) for row in rows], right=1)]
    removed = found.rows - found.clean - len(found.quarantine)
    counts = f"{found.rows:,} rows: {found.clean:,} clean, {removed:,} removed"
    if found.quarantine:
        counts += f", {len(found.quarantine):,} could not be read"
    blocks.append(counts)
    if found.skipped:
        blocks.append(f"NOT COMPARED with {', '.join(found.skipped)}: their questions are not here")
    blocks.append(str(found.files[-1]))
    return "\n\n".join(blocks)
