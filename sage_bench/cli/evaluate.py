"""`sage-bench eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """
Examples:

`sage-bench eval --model runs/sage/checkpoints/step_000040 --tasks tiny:4 --out runs/eval`

`sage-bench eval --model tiny-llama --tasks tiny_short:16,tiny_long --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks 'tiny_*:2' --limit 5 --out runs/eval`
"""


def evaluate(
    model: Annotated[str, typer.Option("--model", "-m", help="Checkpoint folder, preset or Hub id.")],
    tasks: Annotated[list[str], typer.Option("--tasks", "-t", help="Tasks and groups with samples a question, e.g. tiny:4,tiny_long:16 (`sage-bench ls tasks`).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all evaluations; each model gets its own run folder in it.")],
    n: Annotated[Optional[int], typer.Option("-n", min=1, help="Samples a question where --tasks does not say.")] = None,
    temperature: Annotated[Optional[float], typer.Option(min=0.0, help="Instead of the tasks' own.")] = None,
    top_p: Annotated[Optional[float], typer.Option(min=0.0, max=1.0, help="Instead of the tasks' own.")] = None,
    max_tokens: Annotated[Optional[int], typer.Option(min=1, help="Longest completion, instead of the tasks' own.")] = None,
    seed: Annotated[int, typer.Option(help="Base of the sampling seeds.")] = 0,
    limit: Annotated[Optional[int], typer.Option("--limit", "-L", min=1, help="First questions of each task only.")] = None,
    grader: Annotated[str, typer.Option(help="Verifier (`sage-bench ls graders`).")] = "robust",
    label: Annotated[Optional[str], typer.Option(help="Method name for the tables; checkpoints of ours know theirs.")] = None,
    sampler: Annotated[str, typer.Option(help="Who draws the samples.")] = "local",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    threads: Annotated[Optional[int], typer.Option(min=1, help="Torch threads.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()
    from sage_bench.errors import UsageError
    from sage_bench.evaluation.spec import parse
    from sage_bench.pretrained import check_folder, model_path
    from sage_bench.registry import GRADERS, MODELS, SAMPLERS

    wanted = parse(tasks, n)
    GRADERS.get(grader)
    if temperature == 0 and max(wanted.values()) > 1:
        raise UsageError("at temperature 0 all samples of a question are equal copies", where="--temperature", remedy="use one sample, e.g. -n 1")
    path = model_path(MODELS.get(model).values["model"]["path"] if model in MODELS else model)
    check_folder(path)
    import torch

    from sage_bench.evaluation import runner
    from sage_bench.reporting.export import write_eval

    if threads:
        torch.set_num_threads(threads)
    sampling = {k: v for k, v in {"temperature": temperature, "top_p": top_p, "max_gen_toks": max_tokens}.items() if v is not None}
    if temperature == 0:
        sampling["do_sample"] = False
    config = runner.EvalConfig(path, wanted, out, {"method": label} if label else {}, sampling, seed, limit, grader)
    folder = runner.evaluate(config, SAMPLERS.get(sampler)(path, device=device, dtype=dtype), quiet=quiet)
    write_eval(folder)
    print(folder)


evaluate.__doc__ = "Evaluate a model without hints. Run the same command again to go on: only missing samples are generated.\n" + EXAMPLES
