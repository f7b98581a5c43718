"""From a resolved configuration to a `Run`.

Everything that can be wrong with a configuration fails here, before the first step.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.config.layers import Resolved, flatten
from sage_bench.config.schema import RunConfig
from sage_bench.data.problems import Loaded, load_problems
from sage_bench.engines.base import check_needs
from sage_bench.engines.registry import ENGINES
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.prompts import Prompts, Renderer
from sage_bench.grading.registry import GRADERS
from sage_bench.methods.base import Context, Method, make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.training.batches import steps_per_epoch
from sage_bench.training.loop import Run
from sage_bench.types import Problem, Sampling
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, write_json
from sage_bench.utils.progress import stderr
from sage_bench.utils.versions import versions

# keys (or sections) that may change when a run goes on: the weights do not depend on them
FREE = (
    "log.",
    "train.save_every",
    "train.keep",
    "engine.wave_tokens",
    "engine.micro_tokens",
    "validation.",
)


def build(resolved: Resolved, folder: Path, *, quiet: bool = False) -> Run:
    """Load everything, check it against each other, write what describes the run.

    Raises `SageBenchError`s only.
    """
    config = resolved.config
    method_class: type[Method] = BACKENDS.get(config.backend)
    method_config = make_config(
        method_class, config.method, resolved.origins.get("method", "method")
    )
    make_folder(folder)
    path = pretrained.model_path(config.model.path)
    renderer = Renderer(
        pretrained.load_tokenizer(path, config.model.revision),
        Prompts.from_file(config.prompts) if config.prompts else None,
        template_options=config.model.template_options,
    )
    grader = GRADERS.get(config.grader)()
    limits = config.sampling
    data = load_problems(
        config.data, grader, lambda p: len(renderer.answer(p.question)), limits.max_prompt_tokens
    )
    data.write_quarantine(folder / "quarantine" / "train.jsonl")
    if data.quarantine and not quiet:
        reasons = ", ".join(f"{n} x {r}" for r, n in data.reasons().items())
        stderr().print(
            f"{len(data.quarantine)} rows set aside ({reasons}):"
            f" {folder / 'quarantine' / 'train.jsonl'}"
        )
    per_epoch = steps_per_epoch(len(data.problems), config.train.prompts_per_step)
    steps = (
        math.floor(config.train.epochs * per_epoch) if config.train.epochs else config.train.steps
    )
    check_same_run(resolved, folder, method_class)
    objective = config.objective.model_copy(
        update={"constant_length": config.objective.constant_length or limits.max_tokens}
    )
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"path": path}), "objective": objective}
    )
    engine = ENGINES.get(config.engine.name)(config, steps * config.train.updates_per_step)
    context = Context(
        renderer,
        grader,
        Sampling(limits.temperature, limits.top_p, limits.max_tokens),
        limits.hint_max_tokens,
        limits.max_prompt_tokens,
        seed=config.train.seed,
        folder=folder,
    )
    method = method_class(context, method_config)
    check_needs(method, engine, config.engine.name)
    write_json(
        folder / "config.json",
        {"values": dict(flatten(resolved.config.model_dump())), "origins": dict(resolved.origins)},
    )
    write_json(
        folder / "manifest.json",
        {
            "kind": "train",
            "backend": config.backend,
            "backend_place": BACKENDS.place(config.backend),
            "method": method_config.model_dump(),
            "model": resolved.config.model.path,
            "engine": engine.describe(),
            "grader": grader.version,
            "data": describe_data(data),
            "steps": steps,
            "versions": versions(),
        },
    )
    return Run(
        config,
        folder,
        context,
        method,
        engine,
        data,
        validation_problems(config, grader, renderer),
        steps,
        quiet,
    )


def validation_problems(config: RunConfig, grader: Any, renderer: Renderer) -> list[Problem]:
    if not config.validation.source:
        return []
    settings = config.data.model_copy(
        update={"source": config.validation.source, "limit": config.validation.limit}
    )
    return load_problems(
        settings,
        grader,
        lambda p: len(renderer.answer(p.question)),
        config.sampling.max_prompt_tokens,
    ).problems


def describe_data(data: Loaded) -> dict[str, Any]:
    digest = hashlib.sha256(
        "\n".join(f"{p.uid}\t{p.question}\t{p.answer}" for p in data.problems).encode()
    ).hexdigest()
    return {"problems": len(data.problems), "quarantined": len(data.quarantine), "sha256": digest}


def check_same_run(resolved: Resolved, folder: Path, method_class: type[Method]) -> None:
    """A folder holds one run. Raises `UsageError` naming the keys that differ from that run's.

    A longer `train.steps` goes on from the last checkpoint where nothing depends on the planned
    length.
    """
    file = folder / "config.json"
    if not file.exists() or not any((folder / "checkpoints").glob("step_*")):
        return
    before: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))["values"]
    now = json.loads(json.dumps(dict(flatten(resolved.config.model_dump()))))
    free: tuple[str, ...] = FREE
    depends_on_length = resolved.config.optim.schedule != "constant" or method_class.uses_progress
    if not depends_on_length and now["train.steps"] >= before.get("train.steps", 0):
        free = (*FREE, "train.steps")
    differ = [
        k for k in sorted({*before, *now}) if before.get(k) != now.get(k) and not k.startswith(free)
    ]
    if differ:
        shown = ", ".join(f"{k}: {before.get(k)} then, {now.get(k)} now" for k in differ[:5])
        raise UsageError(
            f"the folder holds another run ({shown})",
            where=str(folder),
            remedy="choose another --out, or --overwrite (moves the old run to .trash)",
        )
