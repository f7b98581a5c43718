"""`sage-bench eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from sage_bench.cli import options

EXAMPLES = """
Examples:

`sage-bench eval --model runs/sage/checkpoints/step_000040 --tasks tiny:4 --out runs/eval`

`sage-bench eval --checkpoints runs/sage --tasks tiny:4 --out runs/eval` (every saved step of a \
training run; validation selects the one that counts)

`sage-bench eval --model runs/sage --select best --tasks tiny:4 --out runs/eval` (only the one \
that validation selects)

`sage-bench eval --model tiny-llama --tasks tiny_short:16,tiny_long --out runs/eval`

`sage-bench eval --config eval.yaml --out runs/eval sampling.temperature=0.6 data.offline=true` \
(any key of `--show-config`)

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks sb_math6 --dry-run` (what it would ask \
and cost)

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks sb_math500:4 --data \
sb_math500=math500.jsonl --offline --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks 'tiny_*:2' --limit 5 --out runs/eval`

`sage-bench eval --model Qwen/Qwen2.5-7B-Instruct --tasks @quick --out runs/eval` (four samples \
of AIME 2024, one of 50 questions of MATH-500)

`sage-bench eval --model fake:0.6 --tasks tiny:4 --out runs/eval` (no model: right with \
probability 0.6)

`sage-bench eval --model my-model --sampler openai --sampler-option base_url=http://host:8000/v1 \
--tasks tiny:4 --out runs/eval`
"""

# flags and the keys of the configuration they set
FLAGS = {
    "model": "model.path",
    "device": "model.device",
    "dtype": "model.dtype",
    "chat_template": "model.chat_template",
    "trust_remote_code": "model.trust_remote_code",
    "tasks": "tasks",
    "n": "sampling.n",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "max_tokens": "sampling.max_tokens",
    "seed": "sampling.seed",
    "limit": "sampling.limit",
    "data": "data.files",
    "offline": "data.offline",
    "gated": "data.gated",
    "gold_corrections": "data.gold_corrections",
    "accept_other_data": "data.accept_other_data",
    "sampler": "sampler.name",
    "threads": "sampler.threads",
    "grader": "grader",
    "label": "label",
    "model_name": "model_name",
    "tokens_per_second": "cost.tokens_per_second",
    "gpu_price": "cost.gpu_price",
}


def evaluate(
    overrides: options.Overrides = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            "--model",
            "-m",
            help="Checkpoint folder, preset, Hub id, a server's name for it, or fake:P.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    checkpoints: Annotated[
        Optional[Path],
        typer.Option(
            "--checkpoints",
            help="A training run, all of whose saved steps are evaluated, instead of --model.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    select: Annotated[
        Optional[str],
        typer.Option(
            "--select",
            help=(
                "Which checkpoint of a training run counts: best (on validation) or last. Test"
                " sets play no part. With --model RUN only that one is evaluated."
            ),
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    tasks: options.Tasks = None,
    grader: options.Grader = None,
    label: Annotated[
        Optional[str],
        typer.Option(
            "--label",
            help="Method name for the tables; checkpoints of ours know theirs.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    model_name: Annotated[
        Optional[str],
        typer.Option(
            "--model-name",
            help="What tables call the model; checkpoints of ours know what they began from.",
            rich_help_panel=options.WHAT,
        ),
    ] = None,
    config: options.ConfigFiles = None,
    n: Annotated[
        Optional[int],
        typer.Option(
            "-n",
            min=1,
            help="Samples a question where --tasks does not say.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    temperature: Annotated[
        Optional[float],
        typer.Option(min=0.0, help="Instead of the tasks' own.", rich_help_panel=options.SAMPLING),
    ] = None,
    top_p: Annotated[
        Optional[float],
        typer.Option(
            min=0.0, max=1.0, help="Instead of the tasks' own.", rich_help_panel=options.SAMPLING
        ),
    ] = None,
    max_tokens: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            help="Longest completion, instead of the tasks' own.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    seed: Annotated[
        Optional[int],
        typer.Option(
            help="Base of the sampling seeds (0 unless given).", rich_help_panel=options.SAMPLING
        ),
    ] = None,
    limit: Annotated[
        Optional[int],
        typer.Option(
            "--limit",
            "-L",
            min=1,
            help="First questions of each task only.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    sampler: Annotated[
        Optional[str],
        typer.Option(
            help=(
                "Who draws the samples (`sage-bench ls samplers`); auto: vllm where it runs on a"
                " GPU, else hf."
            ),
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    sampler_options: Annotated[
        Optional[list[str]],
        typer.Option(
            "--sampler-option",
            metavar="KEY=VALUE",
            help="An option of the sampler, e.g. tensor_parallel=2. Repeatable.",
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    chat_template: Annotated[
        Optional[str],
        typer.Option(
            help=(
                "auto: the tokenizer's own, an error without one; none: plain text, for base"
                " models; or a Jinja file."
            ),
            rich_help_panel=options.SAMPLING,
        ),
    ] = None,
    trust_remote_code: options.TrustRemoteCode = None,
    device: Annotated[
        Optional[str],
        typer.Option(help="auto, cpu, cuda, ...", rich_help_panel=options.SAMPLING),
    ] = None,
    dtype: Annotated[
        Optional[str],
        typer.Option(help="auto, float32, bfloat16.", rich_help_panel=options.SAMPLING),
    ] = None,
    threads: Annotated[
        Optional[int],
        typer.Option(min=1, help="Torch threads.", rich_help_panel=options.SAMPLING),
    ] = None,
    data: options.TaskData = None,
    include_path: options.IncludePath = None,
    offline: options.Offline = None,
    gated: options.Gated = None,
    gold_corrections: options.GoldCorrections = None,
    accept_other_data: options.AcceptOtherData = None,
    show_config: options.ShowConfig = False,
    dry_run: options.DryRun = False,
    tokens_per_second: Annotated[
        Optional[float],
        typer.Option(
            "--tokens-per-second",
            min=1.0,
            help="With --dry-run: what one GPU is taken to generate (2000 unless given).",
            rich_help_panel=options.LOOK,
        ),
    ] = None,
    gpu_price: Annotated[
        Optional[float],
        typer.Option(
            "--gpu-price",
            min=0.0,
            help="With --dry-run: price of one GPU hour.",
            rich_help_panel=options.LOOK,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            "--out",
            "-o",
            help="Folder of all evaluations; each model gets its own run folder in it.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help=(
                "A task that was left out because its data are gated makes the result partial (exit"
                " code 3)."
            ),
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    # the flags by name, for FLAGS; this has to come before any other name is bound
    given: dict[str, Any] = dict(locals())
    # imported here and not above: `--help` must not wait for torch
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    from sage_bench.api import evaluation
    from sage_bench.api.checkpoints import evaluate_checkpoints, of_training_run, steps_line
    from sage_bench.api.settings import evaluation_config
    from sage_bench.cli.output import emit
    from sage_bench.cli.train import show_rows
    from sage_bench.config.layers import override_layer
    from sage_bench.evaluation.tasks.spec import include
    from sage_bench.utils.errors import UsageError

    include(include_path or [])  # first: tasks of these folders may be named below
    if checkpoints is not None and model is not None:
        raise UsageError("--checkpoints names the weights", remedy="leave --model out")
    flags = {key: given[name] for name, key in FLAGS.items()}
    if checkpoints is not None:
        flags["model.path"] = str(checkpoints)
    # options go in one by one, so that a file's other options of the sampler stay
    for key, value in override_layer(sampler_options or []).values.items():
        flags[f"sampler.options.{key}"] = value
    resolved = evaluation_config(flags=flags, configs=config or [], overrides=overrides or [])
    if show_config:
        show_rows(resolved, as_json)
        return
    # names and data files are checked before a model is loaded, in a dry run too
    asked = evaluation.settle(resolved.config)
    chosen, rule_label = of_training_run(asked, checkpoints, select)
    if dry_run:
        plan = evaluation.evaluation_plan(chosen)
        emit(as_json, plan.values, plan.text + steps_line(checkpoints))
        return
    if out is None:
        raise UsageError(
            "no --out", remedy="give the folder of all evaluations, e.g. --out runs/eval"
        )
    how: dict[str, Any] = {"overwrite": overwrite, "strict": strict, "quiet": quiet}
    result: Any
    if checkpoints is not None:
        result = evaluate_checkpoints(checkpoints, asked, out, rule=select, **how)
        emit(as_json, result.as_dict(), f"{result.text.rstrip()}\n\n{out}")
    else:
        result = evaluation.run_evaluation(chosen, out, label=rule_label, **how)
        emit(as_json, result.as_dict(), f"{result.text.rstrip()}\n\n{result.folder}")
    # what there is has been printed; the exit code says that it is not all
    if result.partial is not None:
        raise result.partial


evaluate.__doc__ = (
    "Evaluate a model without hints. Run the same command again to go on: only missing samples are"
    " generated.\n\nExit code 3 when samples or tasks are missing.\n" + EXAMPLES
)
