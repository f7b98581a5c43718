"""`sage-bench check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sage_bench.cli import options

WRONG = 2
EXAMPLES = """
Examples:

`sage-bench check my_method.py`

`sage-bench check my_method.py method.levels=2 --json` (a switch the method does not run without)

`sage-bench check mine` (a backend that a package of yours has installed)

Exit codes: 0 nothing wrong, 2 something is.
"""


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Python file that registers backends, or a backend's name."
        ),
    ],
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    from sage_bench.api.settings import overrides_layer
    from sage_bench.cli.common import quiet_libraries
    from sage_bench.cli.output import emit
    from sage_bench.methods.check import check as look
    from sage_bench.utils.errors import UsageError

    quiet_libraries()
    values = dict(overrides_layer(overrides or []).values)
    switches = values.pop("method", {})
    if values:
        raise UsageError(
            f"`{next(iter(values))}` is not a switch of the method",
            where="check",
            remedy="only method.NAME=VALUE is read here",
        )
    found = look(target, switches)
    wrong = any(one.findings for one in found)
    document = {"ok": not wrong, "backends": [asdict(one) for one in found]}
    emit(as_json, document, lambda: "\n\n".join(map(str, found)))
    if wrong:
        raise typer.Exit(WRONG)


check.__doc__ = (
    "Run a method against scripted engines, without a model, and say what is wrong with it.\n"
    + EXAMPLES
)
