"""`sage-bench data openr1-15k`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sage_bench.cli import options

if TYPE_CHECKING:
    from sage_bench.data.recipes.openr1 import Made, Teacher

EXAMPLES = """
Examples:

`sage-bench data openr1-15k --source open-r1/OpenR1-Math-220k --out data/openr1-15k`

`sage-bench data openr1-15k --source rows.parquet --out data/try --limit 500 --tokenizer tiny-llama`

`sage-bench data openr1-15k --source rows.jsonl --trace-column solution --out data/mine \
--scaffolds scaffolds.jsonl --hints hints.jsonl`

`sage-bench train --backend luffy --data data/openr1-15k/train.parquet ...` trains on it
"""
COLUMNS = "Further columns"


def openr1(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="File, or ORG/NAME[@REVISION] of the Hub.",
            rich_help_panel=options.WHAT,
            show_default=False,
        ),
    ],
    out: options.OutFolder,
    limit: Annotated[
        Optional[int],
        typer.Option(
            "--limit", "-L", min=1, help="First rows of the source.", rich_help_panel=options.WHAT
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=1, help="Rows that are drawn.", rich_help_panel=options.WHAT)
    ] = 15_000,
    seed: Annotated[int, typer.Option(help="Of the draw.", rich_help_panel=options.WHAT)] = 0,
    tokenizer: Annotated[
        str,
        typer.Option(
            help="Model whose tokenizer counts: preset, folder or Hub id.",
            rich_help_panel=options.WHAT,
        ),
    ] = "Qwen/Qwen2.5-7B-Instruct",
    max_trace_tokens: Annotated[
        int,
        typer.Option(min=1, help="A trace has fewer tokens.", rich_help_panel=options.WHAT),
    ] = 8192,
    trace_column: Annotated[
        str,
        typer.Option(help="Column of the traces, a list or a text.", rich_help_panel=options.DATA),
    ] = "generations",
    grader: Annotated[
        Optional[str],
        typer.Option(
            "--grader",
            help="Instead of the recipe's own, Math-Verify on what follows the thinking.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    digest: Annotated[
        Optional[str],
        typer.Option(help="SHA-256 that the source must have.", rich_help_panel=options.DATA),
    ] = None,
    accept_other_data: Annotated[
        bool,
        typer.Option(
            "--accept-other-data",
            help="Go on although the source is not the pinned one (recorded).",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    scaffolds: Annotated[
        Optional[str],
        typer.Option(
            help="Set with knowledge, planning and solution parts, for Scaf-GRPO.",
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    hints: Annotated[
        Optional[str],
        typer.Option(help="Set with one hint a problem, for HINT.", rich_help_panel=COLUMNS),
    ] = None,
    teacher: Annotated[
        Optional[str],
        typer.Option(
            help="Endpoint that writes the columns named by --write, up to /v1.",
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    teacher_model: Annotated[str, typer.Option(help="Its model.", rich_help_panel=COLUMNS)] = "",
    teacher_prices: Annotated[
        str,
        typer.Option(
            help="Per million prompt and completion tokens.",
            metavar="IN,OUT",
            rich_help_panel=COLUMNS,
        ),
    ] = "0,0",
    teacher_key_env: Annotated[
        Optional[str],
        typer.Option(help="Environment variable with its key.", rich_help_panel=COLUMNS),
    ] = None,
    write: Annotated[
        Optional[list[str]],
        typer.Option(
            "--write", help="hints or scaffolds. May be repeated.", rich_help_panel=COLUMNS
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Ask the teacher; without it the cost is shown and nothing asked.",
            rich_help_panel=COLUMNS,
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # imported here and not above: `--help` must not wait for transformers
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.cli.output import emit
    from sage_bench.data.recipes.openr1 import Recipe, make

    given = {"scaffolds": scaffolds, "hints": hints}
    recipe = Recipe(
        source,
        out,
        limit,
        size,
        seed,
        tokenizer,
        max_trace_tokens,
        trace_column,
        grader,
        digest,
        accept_other_data,
        {kind: place for kind, place in given.items() if place},
        teacher_of(teacher, teacher_model, teacher_prices, teacher_key_env, write or [], yes),
        overwrite,
    )
    made = make(recipe, quiet=quiet)
    emit(as_json, values(made), lambda: text_of(made))


openr1.__doc__ = (
    "Make the training set of the SAGE paper: problems with a right trace, short ones, 15,000"
    " drawn. The same command goes on where it stopped.\n" + EXAMPLES
)


def teacher_of(
    url: str | None, model: str, prices: str, key_env: str | None, writes: list[str], yes: bool
) -> Teacher | None:
    """The teacher that the flags describe. Raises `UsageError`."""
    from sage_bench.data.recipes.columns import KINDS
    from sage_bench.data.recipes.openr1 import Teacher
    from sage_bench.utils.errors import UsageError

    if url is None and not writes:
        return None
    if url is None or not model or not writes:
        raise UsageError(
            "--teacher, --teacher-model and --write belong together",
            remedy="e.g. --teacher http://localhost:8000/v1 --teacher-model M --write hints",
        )
    unknown = [kind for kind in writes if kind not in KINDS]
    if unknown:
        raise UsageError(
            f"a teacher does not write `{unknown[0]}`", where="--write", remedy=", ".join(KINDS)
        )
    try:
        first, second = (float(part) for part in prices.split(","))
    except ValueError as error:
        raise UsageError(
            f"`{prices}` is not two numbers", where="--teacher-prices", remedy="e.g. 0.5,2"
        ) from error
    settings: dict[str, Any] = {"base_url": url, "prices": (first, second)}
    if key_env:
        settings["key_env"] = key_env
    return Teacher(model, settings, writes, yes)


def values(made: Made) -> dict[str, Any]:
    """For `--json`."""
    from sage_bench.data.recipes.openr1 import PAPER

    return {"file": made.file, "paper": PAPER, **made.record.model_dump(by_alias=True)}


def text_of(made: Made) -> str:
    """Counts beside the paper's; the last line is the file."""
    from sage_bench.cli.output import table_text
    from sage_bench.data.recipes.openr1 import PAPER

    record = made.record
    rows: list[tuple[object, ...]] = [
        (stage, f"{count:,}", PAPER[stage]) for stage, count in record.counts.items()
    ]
    for kind, about in record.columns.items():
        rows.append((f"with {kind}", f"{about['rows']:,}", "all"))
    blocks = [table_text(("stage", "here", "paper"), rows, right=1)]
    if record.limited:
        blocks.append(f"LIMITED to the first {record.limited:,} rows of the source")
    if record.set_aside:
        lines = [f"  {count:,} x {reason}" for reason, count in record.set_aside.items()]
        blocks.append("\n".join(["set aside (quarantine.jsonl):", *lines]))
    blocks.append(f"source {record.source['name']}, digest {record.source['digest']}")
    blocks.append(str(made.file))
    return "\n\n".join(blocks)
