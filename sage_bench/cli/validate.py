"""`sage-bench validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench validate -t all`

`sage-bench validate -t sb_math6 --data benchmarks/ --out validate.json` (a folder with aime24.jsonl, math500.jsonl, ...)

`sage-bench validate -t sb_math500 --data sb_math500=math500.jsonl --train train.jsonl --offline`
"""


def validate(
    tasks: Annotated[
        Optional[list[str]], typer.Option("--tasks", "-t", help="Tasks and groups, or `all`.")
    ] = None,
    data: Annotated[
        Optional[list[str]],
        typer.Option(
            "--data",
            metavar="TASK=FILE",
            help=(
                "A file instead of the Hub, or a folder of files called like the tasks. Repeatable."
            ),
        ),
    ] = None,
    include_path: Annotated[
        Optional[list[Path]],
        typer.Option(
            "--include-path",
            metavar="DIR",
            help="A folder with task files of yours (`SAGE_BENCH_INCLUDE_PATH` too). Repeatable.",
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="No network: the cache of this machine and --data only."),
    ] = False,
    gated: Annotated[
        str,
        typer.Option(
            "--gated", help="skip or fail: what to do about data whose terms are not accepted."
        ),
    ] = "skip",
    gold_corrections: Annotated[
        str,
        typer.Option(
            "--gold-corrections",
            help="on: listed corrections apply; off: golds exactly as the source has them.",
        ),
    ] = "on",
    grader: Annotated[
        Optional[str], typer.Option(help="For all tasks, instead of the one each of them names.")
    ] = None,
    train: Annotated[
        Optional[list[str]],
        typer.Option(
            "--train",
            help="Training data to look for the questions in: dataset or file. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option("--out", "-o", help="Also write all findings to this JSON file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON instead of a table.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Whatever is not checked in full counts as wrong.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import data_options, quiet_libraries

    quiet_libraries()
    from sage_bench.evaluation.tasks.spec import include, parse
    from sage_bench.grading.registry import GRADERS

    include(include_path or [])
    wanted = parse(tasks or ["all"])
    options = data_options(
        wanted, data, offline=offline, gated=gated, gold_corrections=gold_corrections
    )
    if grader:
        GRADERS.get(grader)
    if train:
        from sage_bench.data.rows import check_source

        for source in train:
            check_source(source)
    from sage_bench.evaluation.tasks.validate import exit_code
    from sage_bench.evaluation.tasks.validate import validate as check_all
    from sage_bench.utils.errors import PartialError, ValidationError
    from sage_bench.utils.files import write_json
    from sage_bench.utils.progress import Bar

    with Bar("validate", 0, quiet=quiet or as_json) as bar:
        checks = check_all(
            wanted,
            options,
            grader=grader,
            train=train or [],
            on_progress=lambda name, done, total: bar.set(done, total, name),
        )
    found = {"gold_corrections": gold_corrections, "tasks": [c.as_dict() for c in checks]}
    if out:
        write_json(out, found)
    if as_json:
        import json

        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _print(checks)
    code = exit_code(checks, strict)
    names = ", ".join(
        c.task
        for c in checks
        if c.status not in ("ok", "skipped_gated") or (strict and c.status != "ok")
    )
    if code == 4:
        raise ValidationError(
            f"not fit to be evaluated: {names}",
            remedy="see the findings above; `--out FILE` keeps all of them",
        )
    if code == 3:
        raise PartialError(
            f"not checked in full: {names}",
            remedy="give the whole data with --data, or load them once with a network",
        )
    if out:
        print(out)


validate.__doc__ = (
    "Check benchmarks before anything is generated: data load, row counts, prompts, every gold"
    " graded true by its own grader, duplicates, overlap with training data.\n\nExit code 0 fine, 3"
    " not checked in full, 4 something is wrong.\n" + EXAMPLES
)


def _print(checks: list[Any]) -> None:
    from sage_bench.cli.common import print_table

    print_table(
        ("task", "status", "grader", "rows", "golds true", "prompts", "corrected", "excluded"),
        [
            (
                c.task,
                c.status,
                c.grader,
                f"{c.found}/{' or '.join(map(str, c.expected))}" if c.expected else c.found or "",
                f"{c.golds_true}/{c.asked}" if c.asked else "",
                f"{c.prompts}/{c.asked}" if c.asked else "",
                len(c.corrected) or "",
                len(c.excluded) or "",
            )
            for c in checks
        ],
    )
    for c in checks:
        lines = [
            f"{title}: {', '.join(uids)}"
            for title, uids in (
                ("corrected golds", c.corrected),
                ("excluded questions", c.excluded),
            )
            if uids
        ]
        lines += (
            [f"{p['uid']}: {p['why']}" for p in c.problems]
            + [f"{b['uid']}: compared by spelling only: {b['why']}" for b in c.by_spelling]
            + c.notes
        )
        for line in lines:
            print(line if line.startswith(f"{c.task}:") else f"{c.task}: {line}")
