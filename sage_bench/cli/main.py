"""`sage-bench`: the verbs, and how errors leave the program.

Exit codes: 0 fine, 1 error, 2 usage, 3 partial results, 4 validation failed; 129, 130 and
143 when a signal (hang-up, Ctrl-C, terminate) stopped it.
"""

from __future__ import annotations

import sys

import typer

from sage_bench.cli import (
    compare,
    demo,
    doctor,
    evaluate,
    grade,
    grade_file,
    grader_eval,
    judge_eval,
    ls,
    report,
    status,
    tiny,
    train,
    validate,
)
from sage_bench.utils.errors import Interrupted, SageBenchError
from sage_bench.version import VERSION

app = typer.Typer(
    name="sage-bench",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Train reasoning policies with the methods of the field, evaluate them **without hints**,"
        " print the table.\n\nStart with `sage-bench demo`: GRPO against SAGE on this machine, in"
        " minutes."
    ),
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("judge-eval")(judge_eval.judge_eval)
app.command("report")(report.report)
app.command("grade")(grade.grade)
app.command("grade-file")(grade_file.grade_file)
app.command("compare")(compare.compare)
app.command("validate")(validate.validate)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("grader-eval")(grader_eval.grader_eval)
app.command("ls")(ls.ls)
app.add_typer(tiny.app, name="tiny")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        print(f"sage-bench {VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main() -> None:
    """Run the program; every error a user can act on is one paragraph on stderr."""
    try:
        app()
    except SageBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Interrupted as stopped:
        print(stopped.explanation, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        print(
            "interrupted: what was finished is saved; run the same command again to go on",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our stdout went away (`| head`)
