"""`sage-bench view`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.reporting.entries import Entry

EXAMPLES = """
Examples:

`sage-bench view runs/eval/model/1a2b3c4d` (keys: space next, w wrong only, ? all keys)

`sage-bench view runs/eval/model/1a2b3c4d --task sb_math500 --wrong`

`sage-bench view runs/eval/model/1a2b3c4d --question aime24-3 | less`

`sage-bench view runs/sage --hinted` (a training run: the groups that it kept)
"""


def view(
    run: Annotated[Path, typer.Argument(help="One run of `eval` or `train`.", show_default=False)],
    task: Annotated[
        Optional[str],
        typer.Option("--task", "-t", help="One benchmark.", rich_help_panel=options.WHAT),
    ] = None,
    question: Annotated[
        Optional[str],
        typer.Option("--question", help="One question, by its name.", rich_help_panel=options.WHAT),
    ] = None,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Wrong answers only.", rich_help_panel=options.WHAT)
    ] = False,
    right: Annotated[
        bool, typer.Option("--right", help="Right answers only.", rich_help_panel=options.WHAT)
    ] = False,
    truncated: Annotated[
        bool,
        typer.Option(
            "--truncated", help="Those cut at the token limit.", rich_help_panel=options.WHAT
        ),
    ] = False,
    no_answer: Annotated[
        bool,
        typer.Option("--no-answer", help="Those without an answer.", rich_help_panel=options.WHAT),
    ] = False,
    disagree: Annotated[
        bool,
        typer.Option(
            "--disagree",
            help="Those that two graders judge differently.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    hinted: Annotated[
        bool,
        typer.Option(
            "--hinted",
            help="Completions of a training run under a hint.",
            rich_help_panel=options.WHAT,
        ),
    ] = False,
    grader: Annotated[
        Optional[str],
        typer.Option(
            "--grader", help="Whose verdicts count; the run's own.", rich_help_panel=options.WHAT
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    # imported here and not above: `--help` must not wait for pandas
    from sage_bench.cli.output import emit
    from sage_bench.cli.pager import Pager, filter_names, read
    from sage_bench.reporting.entries import entries, only_run, passing

    chosen = filter_names(
        wrong=wrong,
        right=right,
        truncated=truncated,
        no_answer=no_answer,
        graders_disagree=disagree,
        hinted=hinted,
    )
    found = entries(only_run(run), task, question, grader)
    if sys.stdout.isatty() and sys.stdin.isatty() and not as_json:
        from rich.console import Console

        read(Pager(found, chosen), Console())
        return
    shown = passing(found, chosen)
    emit(as_json, [entry.as_dict() for entry in shown], lambda: text_of(shown, len(found)))


def text_of(shown: list[Entry], of: int) -> str:
    """All of them one below the other, for a pager or a file; a last line counts them."""
    from sage_bench.cli.pager import facts, head
    from sage_bench.utils.cells import printable

    blocks = []
    for entry in shown:
        lines = [line.plain for line in head(entry, 100)[:-2]]
        blocks.append("\n".join([*lines, facts(entry).plain, "", printable(entry.text)]))
    rule = "\n" + "=" * 100 + "\n"
    return rule.join([*blocks, f"{len(shown)} of {of} samples"])


view.__doc__ = "Read the samples of a run in the terminal, one at a time.\n" + EXAMPLES
