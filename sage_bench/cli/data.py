"""`sage-bench data`: training data of papers, and what of the benchmarks stands in them."""

from __future__ import annotations

import typer

from sage_bench.cli.data_decontaminate import decontaminate
from sage_bench.cli.data_openr1 import openr1

app = typer.Typer(
    no_args_is_help=True,
    help="Training data: the set of the SAGE paper made again, and benchmarks taken out of data.",
)
app.command("openr1-15k")(openr1)
app.command("decontaminate")(decontaminate)
