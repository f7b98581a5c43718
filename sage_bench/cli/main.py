"""`sage-bench`: the verbs, and how errors leave the program.

The exit codes are listed in docs/exit-codes.md.
"""

from __future__ import annotations

import errno
import gc
import signal
import sys
from typing import Annotated, Any, NoReturn, TextIO

import typer
import typer.core

from sage_bench.cli import (
    check,
    compare,
    data,
    demo,
    diagnose,
    doctor,
    evaluate,
    export,
    figures,
    grade,
    grade_file,
    grader_eval,
    import_results,
    judge_eval,
    judge_train,
    launch,
    leaderboard,
    ls,
    matrix,
    plan,
    record,
    report,
    status,
    tiny,
    train,
    validate,
    view,
    watch,
)
from sage_bench.utils.errors import Interrupted, SageBenchError
from sage_bench.utils.secrets import masked_text
from sage_bench.utils.signals import EXPLANATION, leaving_on_signals
from sage_bench.version import VERSION

FINE = 0
ERROR = 1
USAGE = 2
LONGEST = 300  # characters of a file name in an error


class Stopped(BaseException):
    """A verb was asked to stop. Typer would turn any `KeyboardInterrupt` into exit code 130."""

    def __init__(self, asked: KeyboardInterrupt):
        super().__init__(str(asked))
        self.asked = asked


class Verbs(typer.core.TyperGroup):
    """All verbs; hands an interruption to `main` as it is."""

    def invoke(self, ctx: Any) -> Any:
        gc.enable()  # off while the program starts
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as asked:
            raise Stopped(asked) from asked


app = typer.Typer(
    name="sage-bench",
    cls=Verbs,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=(
        "Train reasoning policies with the methods of the field, evaluate them **without hints**,"
        " print the table.\n\nStart with `sage-bench demo`: GRPO against SAGE on this machine, in"
        " minutes."
    ),
)
RUN = "Train and evaluate"
READ = "Read results"
CHECK = "Check and list"

# the order of the help: what one does first stands first
app.command("demo", rich_help_panel=RUN)(demo.demo)
app.command("plan", rich_help_panel=RUN)(plan.plan)
app.command("train", rich_help_panel=RUN)(train.train)
app.command("record", rich_help_panel=RUN)(record.record)
app.command("launch", rich_help_panel=RUN)(launch.launch)
app.command("judge-train", rich_help_panel=RUN)(judge_train.judge_train)
app.command("eval", rich_help_panel=RUN)(evaluate.evaluate)
app.command("matrix", rich_help_panel=RUN)(matrix.matrix)
app.command("leaderboard", rich_help_panel=READ)(leaderboard.leaderboard)
app.command("status", rich_help_panel=READ)(status.status)
app.command("watch", rich_help_panel=READ)(watch.watch)
app.command("report", rich_help_panel=READ)(report.report)
app.command("view", rich_help_panel=READ)(view.view)
app.command("figures", rich_help_panel=READ)(figures.figures)
app.command("compare", rich_help_panel=READ)(compare.compare)
app.command("diagnose", rich_help_panel=READ)(diagnose.diagnose)
app.command("grade", rich_help_panel=READ)(grade.grade)
app.command("grade-file", rich_help_panel=READ)(grade_file.grade_file)
app.command("export", rich_help_panel=READ)(export.export)
app.command("import", rich_help_panel=READ)(import_results.import_results)
app.command("check", rich_help_panel=CHECK)(check.check)
app.command("validate", rich_help_panel=CHECK)(validate.validate)
app.command("doctor", rich_help_panel=CHECK)(doctor.doctor)
app.command("ls", rich_help_panel=CHECK)(ls.ls)
app.command("grader-eval", rich_help_panel=CHECK)(grader_eval.grader_eval)
app.command("judge-eval", rich_help_panel=CHECK)(judge_eval.judge_eval)
app.add_typer(data.app, name="data", rich_help_panel=RUN)
app.add_typer(tiny.app, name="tiny", rich_help_panel=CHECK)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        print(f"sage-bench {VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def main() -> None:
    """Run the program; every error a user can act on is one paragraph on stderr."""
    # before anything is printed, the help and usage errors included
    for stream in (sys.stdout, sys.stderr):
        _print_anything(stream)
    try:
        with leaving_on_signals():
            app()
    except SageBenchError as error:
        _leave(f"error: {masked_text(str(error))}", error.exit_code)
    except (Stopped, KeyboardInterrupt) as stopped:
        asked = stopped.asked if isinstance(stopped, Stopped) else stopped
        if isinstance(asked, Interrupted):
            _leave(asked.explanation, asked.exit_code)
        _leave(f"interrupted: {EXPLANATION}", 128 + signal.SIGINT)
    except BrokenPipeError:
        sys.exit(ERROR)  # the reader of our stdout went away (`| head`)
    except OSError as error:
        if error.filename is None:  # not about a file a user named: a bug keeps its traceback
            raise
        _leave(_file_error(error), USAGE if error.errno == errno.ENAMETOOLONG else ERROR)


def _print_anything(stream: TextIO | None) -> None:
    """Let a stream print any text: what an ascii or latin-1 terminal lacks is escaped.

    Without this the result of hours is lost to a dash in a footer.
    """
    if stream is not None and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _file_error(error: OSError) -> str:
    """One paragraph on a file that could not be used."""
    name = str(error.filename)
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}... ({len(name)} characters)"
    return f"error: {name}: {error.strerror or error}. Remedy: give a file or folder that works."


def _leave(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)
