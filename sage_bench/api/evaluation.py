"""`evaluate` from Python, and what an evaluation would ask and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sage_bench.api.settings import Overrides, evaluation_config
from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.models import preset_template
from sage_bench.config.registry import MODELS
from sage_bench.evaluation.tasks.spec import named_profiles, parse
from sage_bench.grading.registry import GRADERS
from sage_bench.utils.errors import DataError, PartialError, UsageError
from sage_bench.utils.secrets import masked

if TYPE_CHECKING:
    from sage_bench.evaluation.tasks.loading import DataOptions


@dataclass(frozen=True)
class EvalResult:
    """A finished evaluation.

    folder: of the run. table: one row a benchmark and their average. per_question: right samples
    of every question. text: the table in Markdown. partial: what is missing, None for nothing.
    """

    folder: Path
    text: str
    table: pd.DataFrame = field(repr=False)
    per_question: pd.DataFrame = field(repr=False)
    partial: PartialError | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": str(self.folder),
            "partial": None if self.partial is None else self.partial.what,
            "table": self.table.to_dict("records"),
        }


@dataclass(frozen=True)
class Asked:
    """A configuration of an evaluation, its tasks expanded and its names checked.

    tasks: name to samples a question. sampling: what overrides the task files, in lm-eval's words.
    limit: first questions of each task, None for all.
    """

    config: EvalConfig
    tasks: Mapping[str, int]
    data: DataOptions
    sampling: Mapping[str, Any]
    limit: int | None


def evaluate(
    model: str | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    out: Path | str,
    configs: Sequence[str] = (),
    overrides: Overrides = (),
    overwrite: bool = False,
    strict: bool = False,
    allow_partial: bool = False,
    quiet: bool = True,
) -> EvalResult:
    """Evaluate a model without hints; the same call again generates only what is missing.

    model: checkpoint folder, preset, Hub id, or fake:P. tasks: "tiny:4", "@quick", or several.
    out: folder of all evaluations; the run gets its own folder in it. overrides: dotted keys with
    values (`{"sampling.n": 4}`), or `key=value` words. strict: a task whose data are gated is
    missing. allow_partial: return a result with `partial` set instead of raising.

    Raises `PartialError` when samples or tasks are missing, after the others are stored and
    graded; `UsageError` for a wrong name or key.
    """
    chosen = [tasks] if isinstance(tasks, str) else tasks
    flags = {"model.path": model, "tasks": None if chosen is None else list(chosen)}
    resolved = evaluation_config(flags=flags, configs=configs, overrides=overrides)
    result = run_evaluation(
        settle(resolved.config), Path(out), overwrite=overwrite, strict=strict, quiet=quiet
    )
    if result.partial is not None and not allow_partial:
        raise result.partial
    return result


def settle(config: EvalConfig) -> Asked:
    """Expand the tasks, check names and sampling. Raises `UsageError`."""
    from sage_bench.api.benchmarks import data_options
    from sage_bench.evaluation.tasks.loading import own_grader

    wanted = parse(config.tasks, config.sampling.n)
    limits = [p.limit for p in named_profiles(config.tasks) if p.limit]
    options = data_options(
        wanted,
        config.data.files,
        offline=config.data.offline,
        gated=config.data.gated,
        gold_corrections=config.data.gold_corrections,
        accept_other_data=config.data.accept_other_data,
    )
    # an unknown grader is an error now, not after hours of sampling
    graders = {config.grader} if config.grader else {own_grader(task) for task in wanted}
    for name in graders:
        GRADERS.get(name)
    limit = config.sampling.limit or min(limits, default=None)
    return Asked(config, wanted, options, _sampling(config, max(wanted.values())), limit)


def _sampling(config: EvalConfig, most: int) -> dict[str, Any]:
    """What overrides the task files' generation_kwargs. most: samples a question, at most."""
    given = {
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "max_gen_toks": config.sampling.max_tokens,
    }
    sampling: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if config.sampling.temperature == 0:
        if most > 1:
            raise UsageError(
                "at temperature 0 all samples of a question are equal copies",
                where="--temperature",
                remedy="use one sample, e.g. -n 1",
            )
        sampling["do_sample"] = False
    return sampling


def sampler_options(config: EvalConfig) -> dict[str, Any]:
    """Options of the sampler: what the configuration says of the model, then its own."""
    given = {
        "device": config.model.device,
        "dtype": config.model.dtype,
        "chat_template": config.model.chat_template,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value != "auto"}
    if config.model.revision is not None:
        options["revision"] = config.model.revision
    template = preset_template(config.model.path) | dict(config.model.template_options)
    if template:
        options["template"] = template
    if config.model.trust_remote_code:
        options["trust_remote_code"] = True
    return options | dict(config.sampler.options)


def given_label(config: EvalConfig) -> dict[str, str]:
    """What the caller says the model is, which stands over what its weights say."""
    named = {"method": config.label, "model_name": config.model_name}
    return {key: value for key, value in named.items() if value}


def run_evaluation(
    asked: Asked,
    out: Path,
    *,
    label: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    strict: bool = False,
    quiet: bool = True,
) -> EvalResult:
    """Evaluate what a configuration says. What is missing is `partial` of the result.

    label: what the manifest says of the model besides what its weights and the configuration say.
    """
    from sage_bench.config import models

    config = asked.config
    path, sampler = models.resolve(config.model.path, config.sampler.name)
    import torch

    from sage_bench.evaluation import runner

    if config.sampler.threads:
        torch.set_num_threads(config.sampler.threads)
    run = runner.EvalConfig(
        path,
        asked.tasks,
        out,
        {**given_label(config), **(label or {})},
        asked.sampling,
        config.sampling.seed,
        asked.limit,
        config.grader,
        asked.data,
        overwrite,
    )
    drawing = models.make(path, sampler, sampler_options(config))
    try:
        folder = runner.evaluate(run, drawing, quiet=quiet)
    except PartialError as error:
        try:
            return read_result(Path(str(error.where)), error)
        except DataError:
            # not one question has all its samples: why they are missing is what the user needs
            raise error from None
    finally:
        drawing.close()  # its workers hold GPUs
    return read_result(folder, strict=strict)


def read_result(
    folder: Path, partial: PartialError | None = None, *, strict: bool = False
) -> EvalResult:
    """Write the tables of a run and return them."""
    from sage_bench.evaluation.tasks.loading import check_complete
    from sage_bench.reporting.export import run_table, write_eval

    run = write_eval(folder, show=False)
    if partial is None:
        try:
            check_complete(run.manifest["skipped"], str(folder), strict)
        except PartialError as error:
            partial = error
    return EvalResult(
        folder,
        run_table(run),
        pd.read_csv(folder / "summary.csv"),
        pd.read_csv(folder / "per_question.csv"),
        partial,
    )


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation would do. text: for people; values: for programs."""

    text: str
    values: dict[str, Any]


def evaluation_plan(asked: Asked) -> EvaluationPlan:
    """What the evaluation would ask and cost: first prompts, counts, upper bounds."""
    from sage_bench.evaluation.plan import plan
    from sage_bench.generation.model_folders import model_path

    config = asked.config
    model = config.model.path
    if model in MODELS:
        model = MODELS.get(model).values["model"]["path"]
    text = plan(
        model_path(model),
        asked.tasks,
        asked.data,
        grader=config.grader,
        sampling=asked.sampling,
        limit=asked.limit,
        tokens_per_second=config.cost.tokens_per_second,
        gpu_price=config.cost.gpu_price,
    )
    values = {
        "configuration": masked(config.model_dump(mode="json")),
        "samples_per_question": dict(asked.tasks),
        "limit": asked.limit,
        "sampling": dict(asked.sampling),
        "plan": text.splitlines(),
    }
    return EvaluationPlan(text, values)
