"""The options that several verbs share, each said once: its flag, its help, its panel.

A verb uses them as annotations: `model: options.Model`, `quiet: options.Quiet = False`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# Names and help stand here once, so that `--grader` is the same flag in every verb.

# panels of the help, in the words of every verb
WHAT = "What"
CONFIGURATION = "Configuration"
SAMPLING = "Sampling"
DATA = "Data"
OUTPUT = "Output"
LOOK = "Look before it runs"

# ---- what is worked on --------------------------------------------------------------------------
EvalFolders = Annotated[
    list[Path],
    typer.Argument(help="Evaluations, or folders that contain them.", show_default=False),
]
Model = Annotated[
    Optional[str],
    typer.Option(
        "--model",
        "-m",
        help="Preset (`sage-bench ls models`), checkpoint folder or Hub id.",
        rich_help_panel=WHAT,
    ),
]
TrustRemoteCode = Annotated[
    Optional[bool],
    typer.Option(
        "--trust-remote-code",
        help="Run the Python code that the model's folder brings. Read it first.",
        rich_help_panel=WHAT,
    ),
]
Tasks = Annotated[
    Optional[list[str]],
    typer.Option(
        "--tasks",
        "-t",
        help=(
            "Tasks and groups with samples a question, e.g. tiny:4,tiny_long:16, or a profile such"
            " as @quick (`sage-bench ls tasks`, `ls profiles`)."
        ),
        rich_help_panel=WHAT,
    ),
]
Grader = Annotated[
    Optional[str],
    typer.Option(
        "--grader",
        help="For all tasks, instead of the one each of them names (`sage-bench ls graders`).",
        rich_help_panel=WHAT,
    ),
]
Graders = Annotated[
    Optional[list[str]],
    typer.Option(
        "--grader",
        "-g",
        help="Grader (`sage-bench ls graders`). May be repeated.",
        rich_help_panel=WHAT,
    ),
]
BackendFile = Annotated[
    Optional[list[str]],
    typer.Option(
        "--backend-file",
        help="Python file that registers a backend of yours. May be repeated.",
        rich_help_panel=WHAT,
    ),
]
Adjudications = Annotated[
    Optional[Path],
    typer.Option(
        "--adjudications",
        help="JSON lines with set, row, label and reason: labels that were read by hand.",
        rich_help_panel=DATA,
    ),
]

# ---- labelled steps -----------------------------------------------------------------------------
RowsOfSubsets = Annotated[
    Optional[int],
    typer.Option(
        "--limit",
        "-L",
        min=1,
        help="First rows of each subset only.",
        rich_help_panel=DATA,
    ),
]
Solutions = Annotated[
    Optional[list[str]],
    typer.Option(
        "--solutions",
        help="File with problem and solution columns, for rows without a solution. Repeatable.",
        rich_help_panel=DATA,
    ),
]

# ---- configuration ------------------------------------------------------------------------------
Overrides = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="KEY=VALUE",
        help="Any key of the configuration (`--show-config` lists them).",
        show_default=False,
    ),
]
ConfigFiles = Annotated[
    Optional[list[str]],
    typer.Option(
        "--config",
        "-c",
        help="YAML file or preset name. May be repeated; later ones win.",
        rich_help_panel=CONFIGURATION,
    ),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print every value and where it comes from.",
        rich_help_panel=LOOK,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the plan; load no weights, write nothing.",
        rich_help_panel=LOOK,
    ),
]

# ---- benchmarks ---------------------------------------------------------------------------------
TaskData = Annotated[
    Optional[list[str]],
    typer.Option(
        "--data",
        metavar="TASK=FILE",
        help="A file instead of the Hub, or a folder of files called like the tasks. Repeatable.",
        rich_help_panel=DATA,
    ),
]
IncludePath = Annotated[
    Optional[list[Path]],
    typer.Option(
        "--include-path",
        help="Folder with task files of yours. Repeatable; also SAGE_BENCH_INCLUDE_PATH.",
        rich_help_panel=DATA,
    ),
]
# None where a flag was not given: then a file or the environment may say it
Offline = Annotated[
    Optional[bool],
    typer.Option(
        "--offline",
        help="No network: the cache of this machine and --data only.",
        rich_help_panel=DATA,
    ),
]
Gated = Annotated[
    Optional[str],
    typer.Option(
        "--gated",
        help="skip (default) or fail: what to do about data whose terms are not accepted.",
        rich_help_panel=DATA,
    ),
]
GoldCorrections = Annotated[
    Optional[str],
    typer.Option(
        "--gold-corrections",
        help="on (default): listed corrections apply; off: golds exactly as the source has them.",
        rich_help_panel=DATA,
    ),
]
AcceptOtherData = Annotated[
    Optional[bool],
    typer.Option(
        "--accept-other-data",
        help=(
            "Evaluate rows that are not those of the benchmark they are given for; every table"
            " says so."
        ),
        rich_help_panel=DATA,
    ),
]

# ---- output -------------------------------------------------------------------------------------
OutFolder = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Folder to write to.", rich_help_panel=OUTPUT, show_default=False
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Machine-readable, on stdout.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=OUTPUT),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Move what lies there already to .trash and start anew.",
        rich_help_panel=OUTPUT,
    ),
]
