"""`sage-bench eval`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from sage_bench.evaluation.runner import EvalConfig

EXAMPLES = """
Examples:

`sage-bench eval --model runs/sage/checkpoints/step_000040 --tasks tiny:4 --out runs/eval`

`sage-bench eval --model tiny-llama --tasks tiny_short:16,tiny_long --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks sb_math6 --dry-run` (what it would ask and cost)

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks sb_math500:4 --data sb_math500=math500.jsonl --offline --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks 'tiny_*:2' --limit 5 --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks @quick --out runs/eval` (four samples of AIME 2024, one of 50 questions of MATH-500)

`sage-bench eval --model fake:0.6 --tasks tiny:4 --out runs/eval` (no model: right with probability 0.6)

`sage-bench eval --model my-model --sampler openai --sampler-option base_url=http://host:8000/v1 --tasks tiny:4 --out runs/eval`
"""


def evaluate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Checkpoint folder, preset, Hub id, a server's name for it, or fake:P.",
        ),
    ],
    tasks: Annotated[
        list[str],
        typer.Option(
            "--tasks",
            "-t",
            help=(
                "Tasks and groups with samples a question, e.g. tiny:4,tiny_long:16, or a profile"
                " such as @quick (`sage-bench ls tasks`, `ls profiles`)."
            ),
        ),
    ],
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Folder of all evaluations; each model gets its own run folder in it.",
        ),
    ] = None,
    n: Annotated[
        Optional[int],
        typer.Option("-n", min=1, help="Samples a question where --tasks does not say."),
    ] = None,
    temperature: Annotated[
        Optional[float], typer.Option(min=0.0, help="Instead of the tasks' own.")
    ] = None,
    top_p: Annotated[
        Optional[float], typer.Option(min=0.0, max=1.0, help="Instead of the tasks' own.")
    ] = None,
    max_tokens: Annotated[
        Optional[int], typer.Option(min=1, help="Longest completion, instead of the tasks' own.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Base of the sampling seeds.")] = 0,
    limit: Annotated[
        Optional[int],
        typer.Option("--limit", "-L", min=1, help="First questions of each task only."),
    ] = None,
    grader: Annotated[
        Optional[str],
        typer.Option(
            help=(
                "Verifier for all tasks, instead of the one each of them names (`sage-bench ls"
                " graders`)."
            )
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Move samples of the same fingerprint to .trash and draw all anew."
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help=(
                "A task that was left out because its data are gated makes the result partial (exit"
                " code 3)."
            ),
        ),
    ] = False,
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
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print first prompts, counts and cost; load no weights, write nothing.",
        ),
    ] = False,
    tokens_per_second: Annotated[
        float,
        typer.Option(
            "--tokens-per-second",
            min=1.0,
            help="With --dry-run: what one GPU is taken to generate.",
        ),
    ] = 2000.0,
    gpu_price: Annotated[
        Optional[float],
        typer.Option("--gpu-price", min=0.0, help="With --dry-run: price of one GPU hour."),
    ] = None,
    label: Annotated[
        Optional[str],
        typer.Option(help="Method name for the tables; checkpoints of ours know theirs."),
    ] = None,
    sampler: Annotated[
        str,
        typer.Option(
            help=(
                "Who draws the samples (`sage-bench ls samplers`); auto: vllm where it runs on a"
                " GPU, else hf."
            )
        ),
    ] = "auto",
    sampler_options: Annotated[
        Optional[list[str]],
        typer.Option(
            "--sampler-option",
            metavar="KEY=VALUE",
            help="An option of the sampler, e.g. tensor_parallel=2. Repeatable.",
        ),
    ] = None,
    chat_template: Annotated[
        str,
        typer.Option(
            help=(
                "auto: the tokenizer's own, an error without one; none: plain text, for base"
                " models; or a Jinja file."
            )
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    threads: Annotated[Optional[int], typer.Option(min=1, help="Torch threads.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    from sage_bench.cli.common import data_options, quiet_libraries

    quiet_libraries()
    from sage_bench.config import models
    from sage_bench.config.layers import override_layer
    from sage_bench.evaluation.tasks.loading import own_grader
    from sage_bench.evaluation.tasks.spec import named_profiles, parse
    from sage_bench.grading.registry import GRADERS
    from sage_bench.utils.errors import UsageError

    wanted = parse(tasks, n)
    limit = limit or min((p.limit for p in named_profiles(tasks) if p.limit), default=None)
    read = data_options(
        wanted, data, offline=offline, gated=gated, gold_corrections=gold_corrections
    )
    for name in [grader] if grader else {own_grader(t) for t in wanted}:
        GRADERS.get(name)
    if temperature == 0 and max(wanted.values()) > 1:
        raise UsageError(
            "at temperature 0 all samples of a question are equal copies",
            where="--temperature",
            remedy="use one sample, e.g. -n 1",
        )
    sampling = {
        k: v
        for k, v in {"temperature": temperature, "top_p": top_p, "max_gen_toks": max_tokens}.items()
        if v is not None
    }
    if temperature == 0:
        sampling["do_sample"] = False
    if dry_run:
        from sage_bench.evaluation.plan import plan

        print(
            plan(
                models.path_of(model),
                wanted,
                read,
                grader=grader,
                sampling=sampling,
                limit=limit,
                tokens_per_second=tokens_per_second,
                gpu_price=gpu_price,
            )
        )
        return
    if out is None:
        raise UsageError(
            "no --out", remedy="give the folder of all evaluations, e.g. --out runs/eval"
        )
    path, sampler = models.resolve(model, sampler)
    import torch

    from sage_bench.evaluation.runner import EvalConfig

    if threads:
        torch.set_num_threads(threads)
    flags = {
        k: v
        for k, v in {"device": device, "dtype": dtype, "chat_template": chat_template}.items()
        if v != "auto"
    }
    config = EvalConfig(
        path,
        wanted,
        out,
        {"method": label} if label else {},
        sampling,
        seed,
        limit,
        grader,
        read,
        overwrite,
    )
    run(
        config,
        sampler,
        flags | dict(override_layer(sampler_options or []).values),
        strict=strict,
        quiet=quiet,
    )


def run(
    config: EvalConfig, sampler: str, options: Mapping[str, Any], *, strict: bool, quiet: bool
) -> None:
    """Evaluate, write the tables of the run, print its folder. Raises `PartialError` after that
    when samples are missing."""
    from sage_bench.config import models
    from sage_bench.evaluation import runner
    from sage_bench.evaluation.tasks.loading import check_complete
    from sage_bench.reporting.export import write_eval
    from sage_bench.utils.errors import PartialError

    drawing = models.make(config.model, sampler, options)
    try:
        folder = runner.evaluate(config, drawing, quiet=quiet)
    except PartialError as error:
        write_eval(Path(str(error.where)))
        print(error.where)
        raise
    finally:
        drawing.close()
    done = write_eval(folder)
    print(folder)
    check_complete(done.manifest["skipped"], str(folder), strict)


evaluate.__doc__ = (
    "Evaluate a model without hints. Run the same command again to go on: only missing samples are"
    " generated.\n" + EXAMPLES
)
