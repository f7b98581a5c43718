"""Evaluate one model: generate what is missing, grade, summarise. Every table is made from the run
folder alone."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sage_bench.evaluation import folders
from sage_bench.evaluation.grades import grade_run
from sage_bench.evaluation.lm import StoreLM
from sage_bench.evaluation.tasks.loading import (
    DataOptions,
    grader_of,
    load,
    report_of,
    task_manager,
)
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.samplers.base import Sampler
from sage_bench.utils.errors import PartialError
from sage_bench.utils.files import locked, make_folder, to_trash, write_json
from sage_bench.utils.progress import Bar
from sage_bench.utils.versions import versions


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate. tasks: name to samples a question. sampling: overrides of the task files'
    generation_kwargs.
    grader: for all tasks, instead of the one each of them names. data: where rows come from and how
    golds are read.
    overwrite: a run of the same fingerprint goes to .trash first."""

    model: str
    tasks: Mapping[str, int]
    out: Path
    label: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    limit: int | None = None
    grader: str | None = None
    data: DataOptions = field(default_factory=DataOptions)
    overwrite: bool = False


def slug(model: str) -> str:
    """A folder name for a model.

    >>> slug("runs/sage/checkpoints/step_000040"), slug("Qwen/Qwen2.5-7B-Instruct"), slug("package:data/tiny_policies/llama")
    ('sage-step_000040', 'Qwen-Qwen2.5-7B-Instruct', 'tiny_policies-llama')
    """
    parts = [p for p in re.split(r"[/\\:]", model) if p and p not in {".", "..", "checkpoints"}]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts[-2:]))


def read_label(model: str) -> dict[str, Any]:
    """What weights say of themselves: {"method", "seed", "step"} of a checkpoint, {} of a model we
    did not train."""
    file = Path(model) / pretrained.LABEL
    saved = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {
        "method": saved.get("backend"),
        "train_seed": saved.get("seed"),
        "step": saved.get("step"),
        "preset": saved.get("preset"),
    }


def evaluate(config: EvalConfig, sampler: Sampler, *, quiet: bool = False) -> Path:
    """Run the evaluation to its end and return the run folder. The same call again generates only
    what is missing.

    Raises `PartialError` when some samples could not be drawn; the others are stored and graded by
    then.
    """
    loaded, skipped = load(
        config.tasks, config.data, grader=config.grader, sampling=config.sampling
    )
    print_of = folders.fingerprint(
        sampler.fingerprint(),
        config.seed,
        config.limit,
        config.sampling,
        {name: describe(task) for name, task in loaded.items()},
    )
    place = folders.choose(config.out / slug(config.model), print_of)
    if place.news:
        print(place.news, file=sys.stderr, flush=True)
    folder = make_folder(place.folder)
    if config.overwrite:
        with locked(folder):
            to_trash(folder)
        make_folder(folder)
    with locked(folder):
        before = folders.read_manifest(folder)
        tasks = {t: max(config.tasks[t], before.get("tasks", {}).get(t, 0)) for t in loaded}
        for name, n in tasks.items():
            loaded[name].set_config("repeats", n)
        said = manifest(config, before, tasks, print_of)
        kept = {k: before.get(k, {}) for k in ("tasks", "golds", "graders")}
        graders = {**kept["graders"], **{name: grader_of(task) for name, task in loaded.items()}}
        write_json(
            folder / "manifest.json",
            {
                **said,
                "skipped": {t: s for t, s in skipped.items() if t not in kept["tasks"]},
                "golds": {
                    **kept["golds"],
                    **{
                        name: report for name, task in loaded.items() if (report := report_of(task))
                    },
                },
                "gold_corrections": "on" if config.data.gold_corrections else "off",
                "grader": ", ".join(dict.fromkeys(graders.values())),
                "graders": graders,
            },
        )
        write_questions(folder, loaded, config.limit)
        try:
            results = run_lm_eval(config, sampler, folder, loaded, quiet=quiet)
        except PartialError:
            grade_run(folder, graders)  # what is there can be read; the tables say `partial`
            raise
        write_json(
            folder / "results.json",
            folders.merge_results(folders.read_json(folder / "results.json"), results),
        )
        grade_run(folder, graders)
    return folder


def manifest(
    config: EvalConfig,
    before: Mapping[str, Any],
    tasks: Mapping[str, int],
    print_of: Mapping[str, Any],
) -> dict[str, Any]:
    """manifest.json: what this call asks for, together with what earlier calls into this folder
    asked for."""
    now = versions()
    earlier = [
        v for v in [*before.get("earlier_versions", []), before.get("versions", now)] if v != now
    ]
    for name, version in (before.get("versions") or {}).items():
        if now.get(name) != version:
            print(
                f"note: {name} was {version} when this run began and is {now.get(name)} now",
                file=sys.stderr,
            )
    asked = dict(print_of) | {
        "tasks": {**before.get("fingerprint", {}).get("tasks", {}), **print_of["tasks"]}
    }
    return {
        "kind": "eval",
        "model": config.model,
        "label": {**read_label(config.model), **config.label},
        "tasks": {**before.get("tasks", {}), **tasks},
        "seed": config.seed,
        "limit": config.limit,
        "sampling": asked["tasks"],
        "fingerprint": asked,
        "versions": now,
        "earlier_versions": earlier,
    }


def load_tasks(config: EvalConfig, tasks: Mapping[str, int]) -> dict[str, Any]:
    """lm-eval's task objects, with our number of repeats and the overridden sampling. Raises
    `DataError` when none can be loaded."""
    return load(tasks, config.data, grader=config.grader, sampling=config.sampling)[0]


def describe(task: Any) -> dict[str, Any]:
    """How a task is asked: sampling, and hashes of its prompt and its data."""
    kwargs = task.config.generation_kwargs
    docs = json.dumps(
        [[v for k, v in d.items() if k != "grader"] for d in task.eval_docs], default=str
    )
    return {
        "questions": len(task.eval_docs),
        "temperature": kwargs.get("temperature"),
        "top_p": kwargs.get("top_p", 1.0),
        "max_gen_toks": kwargs.get("max_gen_toks"),
        "until": list(kwargs.get("until") or []),
        "prompt_id": _sha(f"{task.config.description}\x1f{task.config.doc_to_text}"),
        "data_rev": _sha(docs),
    }


def run_lm_eval(
    config: EvalConfig, sampler: Sampler, folder: Path, tasks: Mapping[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Drive lm-eval over our tasks. Returns its results (its own schema) without the samples, which
    are in the store."""
    from lm_eval import evaluator

    with Bar(f"eval {slug(config.model)}", 0, quiet=quiet) as bar:
        lm = StoreLM(
            sampler,
            folder,
            seed=config.seed,
            on_progress=bar.set,
            gold=lambda task, doc: gold_of(tasks[task], doc),
        )
        results = evaluator.simple_evaluate(
            model=lm,
            tasks=list(tasks.values()),
            task_manager=task_manager(),
            apply_chat_template=True,
            limit=config.limit,
            bootstrap_iters=0,
            log_samples=True,
            confirm_run_unsafe_code=True,
        )
    kept = {k: v for k, v in results.items() if k != "samples"}
    # it is the commit of whatever folder the user stands in
    kept["git_hash"] = None
    return kept


def gold_of(task: Any, doc: Mapping[str, Any]) -> str:
    """The gold answer as lm-eval gives it to the metrics."""
    return str(task.doc_to_target(doc))


def write_questions(folder: Path, tasks: Mapping[str, Any], limit: int | None = None) -> None:
    """questions/<task>.json: gold (and options) of every question, so that a run can be graded
    again from its folder alone."""
    (folder / "questions").mkdir(exist_ok=True)
    for name, task in tasks.items():
        docs = enumerate(islice(task.eval_docs, limit))
        write_json(
            folder / "questions" / f"{name}.json",
            [
                {
                    "doc_id": i,
                    "uid": d.get("uid", i),
                    "gold": gold_of(task, d),
                    **({"options": d["options"]} if "options" in d else {}),
                }
                for i, d in docs
            ],
        )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
