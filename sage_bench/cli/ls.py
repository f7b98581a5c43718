"""`sage-bench ls`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sage_bench.cli import options

KINDS = (
    "backends",
    "judges",
    "tasks",
    "models",
    "engines",
    "graders",
    "datasets",
    "samplers",
    "sinks",
    "rollouts",
    "profiles",
)
EXAMPLES = """
Examples:

`sage-bench ls backends --verbose`

`sage-bench ls backends --markdown > docs/methods.md`

`sage-bench ls tasks --json`

`sage-bench ls tasks --path` (the folder for `lm_eval run --include_path`)
"""


def ls(
    kind: Annotated[str, typer.Argument(help=" | ".join(KINDS), show_default=False)],
    backend_file: options.BackendFile = None,
    include_path: options.IncludePath = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Sources, switches with defaults, where paper and code disagree.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown",
            help="With backends: the text of docs/methods.md.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    path: Annotated[
        bool,
        typer.Option(
            "--path", help="With tasks: print their folder.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    from sage_bench.utils.errors import UsageError, did_you_mean

    if kind not in KINDS:
        raise UsageError(
            f"unknown kind `{kind}`; {did_you_mean(kind, KINDS)}".rstrip("; "),
            remedy="one of " + ", ".join(KINDS),
        )
    # alone on its line, for $(...) in a shell
    if path and kind == "tasks":
        from sage_bench.evaluation.tasks.files import tasks_folder

        print(tasks_folder())
        return
    from sage_bench.api.listing import listing
    from sage_bench.cli.output import emit
    from sage_bench.evaluation.tasks.spec import include
    from sage_bench.utils.registry import load_file

    include(include_path or [])
    for file in backend_file or []:
        load_file(file)
    if markdown:
        if kind != "backends":
            raise UsageError(
                f"there is no document of {kind}",
                where="--markdown",
                remedy="`sage-bench ls backends --markdown`",
            )
        from sage_bench.judges import describe

        print(describe.markdown(all_registered=bool(backend_file)), end="")
        return
    rows = listing(kind)
    emit(as_json, rows, lambda: text_of(rows, verbose))


ls.__doc__ = "List what is registered, ours and yours.\n" + EXAMPLES


def text_of(rows: list[dict[str, Any]], verbose: bool) -> str:
    """One line a thing; with `verbose` everything it says of itself below."""
    width = max((len(str(row["name"])) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"{row['name']:<{width}}  {row['about']}")
        if verbose:
            lines += [f"{'':<{width}}  {detail}" for detail in _details(row)]
    return "\n".join(lines)


def _details(row: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, value in row.items():
        if key in {"name", "about", "module", "reads"} or value in (None, [], "", {}, False):
            continue
        if key == "switches":
            lines += [_switch(switch) for switch in value]
        elif key == "notes":
            lines += [f"note: {note}" for note in value]
        elif isinstance(value, list):
            lines.append(f"{key}: {'; '.join(map(str, value))}")
        else:
            lines.append(f"{key}: {value}")
    return lines


def _switch(switch: dict[str, Any]) -> str:
    differ = f"  [paper {switch['paper']}, code {switch['code']}]" if "paper" in switch else ""
    name, default, values = switch["name"], switch["default"], switch["values"]
    return f"  {name} = {default} ({values}): {switch['help']}{differ}"
