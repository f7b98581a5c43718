"""`sage-bench diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.training.diagnosis import Diagnosis

EXAMPLES = """
Examples:

`sage-bench diagnose runs/groups --methods grpo,dr_grpo,oar_g`

`sage-bench diagnose runs/groups --methods grpo,sgpo sgpo.judge=reference --rows 10 --json`

`sage-bench diagnose runs/groups --methods grpo,sage --live` (hints and what is drawn under them \
were not recorded: they are drawn now)
"""
NAMES = typer.Option(
    "--methods", help="Methods, by comma (`sage-bench ls backends`).", rich_help_panel=options.WHAT
)


def diagnose(
    folder: Annotated[
        Path, typer.Argument(help="A record, or a run with log.groups=all.", show_default=False)
    ],
    methods: Annotated[str, NAMES],
    overrides: options.Overrides = None,
    model: options.Model = None,
    backend_file: options.BackendFile = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Draw what a method wants beyond the record; else such groups are left out.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    limit: Annotated[
        Optional[int],
        typer.Option("--limit", min=1, help="First groups only.", rich_help_panel=options.WHAT),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(
            "--rows", min=0, help="Rows a method that are shown.", rich_help_panel=options.OUTPUT
        ),
    ] = 5,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api.recording import diagnose as run
    from sage_bench.cli.output import emit

    found = run(
        folder,
        [name.strip() for name in methods.split(",") if name.strip()],
        model=model,
        overrides=overrides or [],
        backend_files=backend_file or [],
        missing="live" if live else "error",
        limit=limit,
        decisive=rows,
        quiet=quiet,
    )
    emit(as_json, found.as_dict(), lambda: text(found))


diagnose.__doc__ = (
    "Show what methods would do with the same recorded groups, without training: dead groups,"
    " gradients, where the advantage lies, which rows decide.\n" + EXAMPLES
)


def text(found: Diagnosis) -> str:
    """The tables for people."""
    from sage_bench.cli.output import table_text

    main = [
        (
            m.name,
            m.groups,
            m.beyond,
            share(m.dead_share),
            m.rows,
            m.tokens,
            f"{m.norm:.4g}",
            f"{m.mass:.4g}",
            share(m.positive),
            *(share(part) for part in m.quarters or [None] * 4),
        )
        for m in found.methods
    ]
    names = [m.name for m in found.methods]
    header = ("method", "groups", "beyond", "dead %", "rows", "tokens", "norm", "mass", "A > 0 %")
    parts = [
        f"record {found.digest}, drawn by {found.draws_of} from {found.weights} set(s) of weights",
        table_text((*header, "1st %", "2nd %", "3rd %", "4th %"), main, right=1),
        "cosine of the gradients",
        table_text(
            ("", *names),
            [(a, *(number(found.cosine[a][b]) for b in names)) for a in names],
            right=1,
        ),
        *agreement(found),
        "rows that decide the update (pull: part of the gradient that is theirs)",
        table_text(
            ("method", "problem", "batch", "row", "reward", "tokens", "A", "share %", "pull %"),
            decisive(found),
            right=2,
        ),
        "mass: token weight times |advantage|, summed; 1st to 4th %: by quarter of the completion."
        " beyond: groups for which the"
        " method wants completions that were not recorded (--live draws them).",
    ]
    return "\n\n".join(parts)


def agreement(found: Diagnosis) -> list[str]:
    """The table of rank agreement, where two methods weigh tokens."""
    from sage_bench.cli.output import table_text

    rows = [
        (a, b, number(mean), count)
        for a, others in found.agreement.items()
        for b, (mean, count) in others.items()
        if a < b
    ]
    if not rows:
        return []
    header = ("method", "and", "Spearman", "completions")
    return ["rank agreement of the token weights", table_text(header, rows, right=2)]


def decisive(found: Diagnosis) -> list[tuple[object, ...]]:
    return [
        (
            m.name,
            row.uid,
            row.batch,
            row.completion,
            number(row.reward, 2),
            row.tokens,
            f"{row.advantage:+.3f}",
            share(row.share),
            share(row.pull),
        )
        for m in found.methods
        for row in m.decisive
    ]


def share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
