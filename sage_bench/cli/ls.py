"""`sage-bench ls`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

KINDS = (
    "backends",
    "judges",
    "tasks",
    "models",
    "engines",
    "graders",
    "datasets",
    "samplers",
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
    kind: Annotated[str, typer.Argument(help=" | ".join(KINDS))],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Sources, switches with defaults, where paper and code disagree.",
        ),
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="With backends: the text of docs/methods.md.")
    ] = False,
    path: Annotated[bool, typer.Option("--path", help="With tasks: print their folder.")] = False,
    include_path: Annotated[
        Optional[list[Path]],
        typer.Option(
            "--include-path",
            metavar="DIR",
            help="A folder with task files of yours (`SAGE_BENCH_INCLUDE_PATH` too). Repeatable.",
        ),
    ] = None,
    backend_file: Annotated[
        Optional[list[str]],
        typer.Option("--backend-file", help="Python file that registers a backend of yours."),
    ] = None,
) -> None:
    from sage_bench.utils.errors import UsageError, did_you_mean
    from sage_bench.utils.registry import load_file

    if kind not in KINDS:
        raise UsageError(
            f"unknown kind `{kind}`; {did_you_mean(kind, KINDS)}".rstrip("; "),
            remedy="one of " + ", ".join(KINDS),
        )
    if path and kind == "tasks":
        from sage_bench.evaluation.tasks.files import tasks_folder

        print(tasks_folder())
        return
    if include_path:
        from sage_bench.evaluation.tasks.spec import include

        include(include_path)
    for file in backend_file or []:
        load_file(file)
    if markdown:
        if kind != "backends":
            raise UsageError(
                f"there is no document of {kind}",
                where="--markdown",
                remedy="`sage-bench ls backends --markdown`",
            )
        from sage_bench.methods import describe

        print(describe.markdown(all_registered=bool(backend_file)), end="")
        return
    rows = _rows(kind)
    if as_json:
        import json

        print(json.dumps(rows, indent=1, ensure_ascii=False, default=str))
    else:
        _print(rows, verbose)


ls.__doc__ = "List what is registered, ours and yours.\n" + EXAMPLES


def _rows(kind: str) -> list[dict[str, object]]:
    if kind == "tasks":
        from sage_bench.evaluation.tasks.spec import task_files

        return [
            {
                "name": t.name,
                "about": ", ".join(t.group) if t.group else _about(t.values.get("metadata", {})),
                "group": list(t.group),
                "samples": t.values.get("repeats"),
                "file": str(t.path),
            }
            for t in task_files().values()
        ]
    if kind == "profiles":
        from sage_bench.evaluation.tasks.spec import profiles

        return [
            {
                "name": f"@{p.name}",
                "about": (
                    f"{p.about}: {p.tasks}" + (f", first {p.limit} questions" if p.limit else "")
                ),
                "tasks": p.tasks,
                "limit": p.limit,
            }
            for p in profiles().values()
        ]
    if kind in {"backends", "judges"}:
        from sage_bench.methods import describe

        return describe.backends() if kind == "backends" else describe.judges()
    from sage_bench.config.registry import MODELS
    from sage_bench.data.registry import DATASETS
    from sage_bench.engines.registry import ENGINES
    from sage_bench.generation.registry import SAMPLERS
    from sage_bench.grading.registry import GRADERS

    entries = {
        "models": MODELS,
        "engines": ENGINES,
        "graders": GRADERS,
        "datasets": DATASETS,
        "samplers": SAMPLERS,
    }[kind]
    rows: list[dict[str, object]] = []
    for name, thing in entries.items():
        about = getattr(thing, "note", None) or (thing.__doc__ or "").strip().split("\n")[0]
        rows.append(
            {
                "name": name,
                "about": about,
                "place": getattr(thing, "file", None) or entries.place(name),
            }
        )
    return rows


def _about(metadata: dict[str, object]) -> object:
    return metadata.get("about") or metadata.get("source", "")


def _print(rows: list[dict[str, object]], verbose: bool) -> None:
    width = max((len(str(r["name"])) for r in rows), default=0)
    for row in rows:
        print(f"{row['name']:<{width}}  {row['about']}")
        if verbose:
            for key, value in row.items():
                if key in {"name", "about", "module"} or value in (None, [], "", {}, False):
                    continue
                if key == "switches":
                    for s in value:  # type: ignore[union-attr]
                        differ = f"  [paper {s['paper']}, code {s['code']}]" if "paper" in s else ""
                        print(
                            f"{'':<{width}}    {s['name']} = {s['default']} ({s['values']}):"
                            f" {s['help']}{differ}"
                        )
                elif key == "notes":
                    for note in value:  # type: ignore[union-attr]
                        print(f"{'':<{width}}  note: {note}")
                elif isinstance(value, list):
                    print(f"{'':<{width}}  {key}: {'; '.join(map(str, value))}")
                else:
                    print(f"{'':<{width}}  {key}: {value}")
