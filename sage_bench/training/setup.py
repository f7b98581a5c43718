"""From a resolved configuration to a `Run`.

Everything that can be wrong with a configuration fails here, before the first step. Nothing is
written: the folder may belong to another process, and its lock is taken by `loop.train`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.config.layers import Resolved
from sage_bench.config.nesting import flatten
from sage_bench.config.schema import RunConfig
from sage_bench.data.hub import revisions_read
from sage_bench.data.problems import Loaded, load_problems
from sage_bench.data.schema import TrainConfig, TrainManifest
from sage_bench.engines.base import check_needs
from sage_bench.engines.registry import ENGINES
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.prompts import Prompts, Renderer
from sage_bench.grading.registry import GRADERS
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.base import Context, Method, make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.training import identity
from sage_bench.training.batches import steps_per_epoch
from sage_bench.training.boards.registry import check_sinks
from sage_bench.training.columns import check_columns
from sage_bench.training.session import Run
from sage_bench.types import Problem, Sampling
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import make_folder, writing
from sage_bench.utils.progress import stderr
from sage_bench.utils.secrets import masked
from sage_bench.utils.versions import versions


@dataclass(frozen=True)
class Records:
    """What describes a run in its folder. Written by the process that holds the folder's lock."""

    resolved: Resolved[RunConfig]
    method: type[Method]
    manifest: TrainManifest
    data: Loaded

    def check(self, folder: Path) -> list[str]:
        """See `identity.check_same_run`."""
        return identity.check_same_run(self.resolved, folder, self.method, self.manifest.identity)

    def marks(self, folder: Path) -> dict[str, list[str]]:
        """What is to be said of the weights wherever they go."""
        manifest = TrainManifest.read(folder / "manifest.json")
        marks = {
            "accepted_changes": [str(change["what"]) for change in manifest.accepted_changes],
            "degraded": list(manifest.degraded),
            "recorded": [manifest.recorded] if manifest.recorded else [],
        }
        return {name: texts for name, texts in marks.items() if texts}

    def base(self) -> dict[str, str]:
        """What the weights were trained from, for their label: a name, and a hash of the contents.

        Of a folder the name is its last part: it may be moved, and lies elsewhere on another
        machine.
        """
        path = self.manifest.model
        folder = Path(pretrained.model_path(path))
        name = folder.resolve().name if folder.is_dir() else path
        return {"base_model": name, "base_weights": self.manifest.identity["weights"]}

    def degrade(self, folder: Path, text: str) -> None:
        """Note in the manifest that the method lacked something it builds on."""
        manifest = TrainManifest.read(folder / "manifest.json")
        noted = sorted({*manifest.degraded, text})
        manifest.model_copy(update={"degraded": noted}).write(folder / "manifest.json")

    def write(self, folder: Path, step: int, accepted: list[str]) -> None:
        """config.json, manifest.json and the rows that were set aside."""
        set_aside = folder / "quarantine" / "train.jsonl"
        with writing(set_aside):
            self.data.write_quarantine(set_aside)
        manifest = identity.record_changes(self.manifest, folder, step, accepted)
        values = masked(dict(flatten(self.resolved.config.model_dump())))
        config = TrainConfig(values=values, origins=dict(self.resolved.origins))
        config.write(folder / "config.json")
        manifest.write(folder / "manifest.json")


def build(
    resolved: Resolved[RunConfig], folder: Path, *, quiet: bool = False, overwrite: bool = False
) -> Run:
    """Load everything and check it against each other and against what lies in the folder.

    overwrite: what lies there will be moved away. Raises `SageBenchError`s only.
    """
    config = resolved.config
    method_class: type[Method] = BACKENDS.get(config.backend)
    where = resolved.origins.get("method", "method")
    method_config = make_config(method_class, config.method, where)
    check_sinks(config.log.sinks)
    JUDGES.names()  # backends and judges bring prompts: their keys are known once all are loaded
    make_folder(folder)
    path = pretrained.model_path(config.model.path)
    renderer = make_renderer(config, path)
    grader = GRADERS.get(config.grader)()
    data = load_data(config, grader, renderer, folder, quiet)
    degraded = check_columns(
        method_class,
        method_config,
        data.problems,
        source=config.data.source,
        allowed=config.train.allow_degraded,
        say=lambda text: None if quiet else stderr().print(text, markup=False),
    )
    steps = planned_steps(config, len(data.problems))
    config = fill_in(config, path)
    # cheap and telling, so before the weights are loaded
    digests = identity.identity(config, method_class, data.problems, renderer)
    if not overwrite:
        identity.check_same_run(resolved, folder, method_class, digests)
    # the schedule needs the number of optimiser steps, so the data come before the engine
    engine = ENGINES.get(config.engine.name)(config, steps * config.train.updates_per_step)
    context = make_context(config, renderer, grader, folder)
    context.context_tokens = engine.sampler.context
    method = method_class(context, method_config)
    check_needs(method, engine, config.engine.name)
    digests |= engine.sampler.identity()
    validation = validation_problems(config, grader, renderer)
    manifest = TrainManifest(
        backend=config.backend,
        backend_place=BACKENDS.place(config.backend),
        method=masked(method_config.model_dump()),
        model=resolved.config.model.path,
        engine=engine.describe(),
        grader=grader.version,
        data={**describe_data(data), **({"hub": revisions_read()} if revisions_read() else {})},
        steps=steps,
        versions=versions(),
        identity=digests,
        degraded=degraded,
        recorded=engine.sampler.source,
    )
    return Run(
        config,
        folder,
        context,
        method,
        engine,
        data,
        validation,
        steps,
        records=Records(resolved, method_class, manifest, data),
        quiet=quiet,
        overwrite=overwrite,
    )


def make_renderer(config: RunConfig, path: str) -> Renderer:
    """The policy's chat template with its options, and the prompt texts."""
    # weights that were trained with template options bring them along
    return Renderer(
        pretrained.load_tokenizer(
            path, config.model.revision, trust_remote_code=config.model.trust_remote_code
        ),
        Prompts.from_file(config.prompts) if config.prompts else None,
        template_options=pretrained.template_options_of(path, config.model.template_options),
    )


def load_data(
    config: RunConfig, grader: Any, renderer: Renderer, folder: Path, quiet: bool
) -> Loaded:
    """The training problems; rows that cannot be used are counted on stderr."""
    data = load_problems(
        config.data,
        grader,
        lambda p: len(renderer.answer(p.question)),
        config.sampling.max_prompt_tokens,
    )
    if data.quarantine and not quiet:
        reasons = ", ".join(f"{n} x {r}" for r, n in data.reasons().items())
        listed = folder / "quarantine" / "train.jsonl"
        stderr().print(f"{len(data.quarantine)} rows set aside ({reasons}): {listed}", markup=False)
    return data


def planned_steps(config: RunConfig, problems: int) -> int:
    per_epoch = steps_per_epoch(problems, config.train.prompts_per_step)
    if not config.train.epochs:
        return config.train.steps
    steps = math.floor(config.train.epochs * per_epoch)
    if steps < 1:
        raise UsageError(
            f"{config.train.epochs:g} epochs of {problems} problems are less than one step",
            where="train.epochs",
            remedy="raise it, or lower train.prompts_per_step",
        )
    return steps


def fill_in(config: RunConfig, path: str) -> RunConfig:
    """The configuration with what follows from other values: the model's folder, the constant that
    Dr. GRPO divides by."""
    length = config.objective.constant_length or config.sampling.max_tokens
    objective = config.objective.model_copy(update={"constant_length": length})
    model = config.model.model_copy(update={"path": path})
    return config.model_copy(update={"model": model, "objective": objective})


def make_context(config: RunConfig, renderer: Renderer, grader: Any, folder: Path) -> Context:
    settings = config.sampling
    return Context(
        renderer,
        grader,
        Sampling(settings.temperature, settings.top_p, settings.max_tokens),
        settings.hint_max_tokens,
        settings.max_prompt_tokens,
        seed=config.train.seed,
        folder=folder,
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
    """How many rows there are, and the digest of questions and answers that manifests of earlier
    versions have too."""
    digest = hashlib.sha256(
        "\n".join(f"{p.uid}\t{p.question}\t{p.answer}" for p in data.problems).encode()
    ).hexdigest()
    return {"problems": len(data.problems), "quarantined": len(data.quarantine), "sha256": digest}
