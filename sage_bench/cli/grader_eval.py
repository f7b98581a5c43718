"""`sage-bench grader-eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench grader-eval labelled.jsonl`

`sage-bench grader-eval verifier/*.jsonl --grader robust --grader math_verify --out disagreements.jsonl`

`sage-bench grader-eval labelled.jsonl --limit 100 --json`
"""


def grader_eval(
    files: Annotated[
        list[Path],
        typer.Argument(
            help=(
                "JSON lines with gold, response and label (true or false); choices make a row"
                " multiple choice."
            )
        ),
    ],
    grader: Annotated[
        Optional[list[str]],
        typer.Option(
            "--grader",
            "-g",
            help="Grader to measure (`sage-bench ls graders`). May be repeated; all unless given.",
        ),
    ] = None,
    limit: Annotated[
        Optional[int], typer.Option("--limit", "-L", min=1, help="First rows of each file only.")
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help=(
                "Write the rows on which a grader and the label disagree here (JSON lines); bad"
                " rows go beside it."
            ),
        ),
    ] = None,
    adjudications: Annotated[
        Optional[Path],
        typer.Option(
            help=(
                "JSON lines with set, row, label (null: does not stand) and reason: labels read by"
                " hand."
            )
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    import json

    from sage_bench.grading.canary import canaries, packages
    from sage_bench.grading.grader_study.measure import measure, read_adjudications, read_labels
    from sage_bench.grading.registry import GRADERS
    from sage_bench.utils.errors import DataError
    from sage_bench.utils.files import write_text
    from sage_bench.utils.progress import Bar, stderr

    names = list(dict.fromkeys(grader or GRADERS.names()))
    graders = {name: GRADERS.get(name)() for name in names}
    known = read_adjudications(adjudications) if adjudications else {}
    read = {path: read_labels(path, known, limit) for path in files}
    rows = [r for kept, _ in read.values() for r in kept]
    rejected = [r for _, dropped in read.values() for r in dropped]
    bad = [r for r in rejected if r.malformed]
    for r in bad[:5]:
        stderr().print(f"quarantined {r.where}: {r.reason}", markup=False)
    if not rows:
        raise DataError(
            "no row can be used",
            where=", ".join(map(str, files)),
            remedy="rows need gold, response and label",
        )
    scores = []
    with Bar("grader-eval", len(rows) * len(graders), quiet=quiet) as bar:
        for name, one in graders.items():
            scores += measure(name, one, rows, lambda name=name: bar.advance(note=name))
    if out:
        write_text(
            out,
            "".join(
                json.dumps(d, ensure_ascii=False) + "\n" for s in scores for d in s.disagreements
            ),
        )
        if rejected:
            write_text(
                out.with_suffix(".quarantine.jsonl"),
                "".join(
                    json.dumps({"where": r.where, "reason": r.reason, "malformed": r.malformed}) + "\n"
                    for r in rejected
                ),
            )
    scores = [
        s for s in scores if s.rows
    ]  # a grader that skipped all of a set has nothing to say about it
    table = [
        {
            "set": s.source,
            "grader": s.grader,
            "rows": s.rows,
            "agreement": s.agreement,
            "false_negatives": s.misses,
            "false_positives": s.slips,
            "abstained": s.abstained,
            "skipped": s.skipped,
            "ms_a_row": 1000 * s.seconds / s.rows if s.rows else None,
            **{k: s.statuses[k] for k in ("no_answer", "parse_error", "timeout", "crash")},
        }
        for s in sorted(
            scores,
            key=lambda s: (
                list(dict.fromkeys(r.source for r in rows)).index(s.source),
                names.index(s.grader),
            ),
        )
    ]
    sick = [f"{c.gold} vs {c.answer}" for c in canaries() if not c.well]
    if as_json:
        print(
            json.dumps(
                {
                    "table": table,
                    "quarantined": len(bad),
                    "undecided": len(rejected) - len(bad),
                    "versions": packages(),
                    "canaries_off": sick,
                },
                indent=1,
                ensure_ascii=False,
            )
        )
    else:
        show(table)
        print(
            f"{len(rows)} rows, {len(bad)} quarantined, {len(rejected) - len(bad)} with a label"
            " that does not stand; " + ", ".join(f"{k} {v}" for k, v in packages().items())
        )
        for pair in sick:
            print(f"warning: math-verify grades {pair} unlike the versions this was measured with")


def show(table: list[dict[str, Any]]) -> None:
    """The table on stdout: one line a set and grader, a blank line between sets."""
    head = (
        "set",
        "grader",
        "rows",
        "agree %",
        "false neg",
        "false pos",
        "abstain",
        "no answer",
        "unread",
        "timeout",
        "crash",
        "ms/row",
    )
    lines = [head] + [
        (
            r["set"],
            r["grader"],
            str(r["rows"]),
            f"{100 * r['agreement']:.2f}",
            str(r["false_negatives"]),
            str(r["false_positives"]),
            str(r["abstained"]),
            str(r["no_answer"]),
            str(r["parse_error"]),
            str(r["timeout"]),
            str(r["crash"]),
            f"{r['ms_a_row']:.2f}" if r["ms_a_row"] is not None else "–",
        )
        for r in table
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    before = head[0]
    for line in lines:
        if line[0] != before:
            print()
            before = line[0]
        print(
            "  ".join(
                c.ljust(w) if i < 2 else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )


grader_eval.__doc__ = (
    "Measure graders against labelled rows: agreement, false negatives and positives, time a row,"
    " side by side.\n" + EXAMPLES
)
