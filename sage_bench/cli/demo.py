"""`sage-bench demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench demo`

`sage-bench demo --methods grpo,sage,sage_light,sft --model tiny-qwen3 --out runs/four`

`sage-bench demo --methods grpo,mine --backend-file mine.py --steps 20`
"""


def demo(
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Any key of the training configuration, for all methods."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of the study. The same command goes on where it stopped."
        ),
    ] = Path("runs/demo"),
    methods: Annotated[
        str, typer.Option("--methods", help="Backends, comma-separated, or `all`.")
    ] = "grpo,sage",
    model: Annotated[
        str, typer.Option("--model", "-m", help="tiny-llama, tiny-qwen2 or tiny-qwen3.")
    ] = "tiny-llama",
    steps: Annotated[int, typer.Option(min=1, help="Budget of every method, in steps.")] = 40,
    n: Annotated[int, typer.Option("-n", min=1, help="Samples a question in evaluation.")] = 4,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    backend_file: Annotated[
        Optional[list[str]],
        typer.Option("--backend-file", help="Python file that registers a backend of yours."),
    ] = None,
    equal_rollouts: Annotated[
        bool, typer.Option(help="Also train GRPO until it has sampled as much as SAGE.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import quiet_libraries
    from sage_bench.utils.errors import UsageError

    quiet_libraries()
    from sage_bench.config.registry import MODELS
    from sage_bench.methods.registry import BACKENDS
    from sage_bench.study import demo as study
    from sage_bench.utils.registry import load_file

    for file in backend_file or []:
        load_file(file)
    wanted = (
        BACKENDS.names()
        if methods == "all"
        else [m.strip() for m in methods.split(",") if m.strip()]
    )
    for method in wanted:
        BACKENDS.get(method)
    if "base" in wanted or not wanted:
        raise UsageError(
            "give at least one backend; the base policy is always in the table", where="--methods"
        )
    MODELS.get(model)
    config = study.DemoConfig(
        out,
        tuple(wanted),
        model,
        tasks=f"tiny:{n}",
        steps=steps,
        seed=seed,
        backend_files=tuple(str(Path(f).resolve()) for f in backend_file or []),
        equal_rollouts=equal_rollouts,
        overrides=tuple(overrides or []),
    )
    print(study.run(config, quiet=quiet))
    print(out)


demo.__doc__ = (
    "Train methods from the same tiny policy, evaluate all without hints, print the comparison"
    " table. Minutes on two cores.\n" + EXAMPLES
)
