"""Evaluate one model: generate what is missing, grade, summarise. Every table is made from the run folder alone."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench import pretrained
from sage_bench.errors import UsageError
from sage_bench.evaluation.grades import grade_run
from sage_bench.evaluation.lm import StoreLM
from sage_bench.evaluation.samplers.base import Sampler
from sage_bench.evaluation.spec import task_files, tasks_folder
from sage_bench.files import locked, make_folder, write_json
from sage_bench.grading import memo
from sage_bench.progress import Bar
from sage_bench.versions import versions

SCHEMA = 1


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate. tasks: name to samples a question. sampling: overrides of the task files' generation_kwargs."""

    model: str
    tasks: Mapping[str, int]
    out: Path
    label: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    limit: int | None = None
    grader: str = memo.DEFAULT


def slug(model: str) -> str:
    """A folder name for a model.

    >>> slug("runs/sage/checkpoints/step_000040"), slug("Qwen/Qwen2.5-7B-Instruct"), slug("package:tiny/assets/llama")
    ('sage-step_000040', 'Qwen-Qwen2.5-7B-Instruct', 'assets-llama')
    """
    parts = [p for p in re.split(r"[/\\:]", model) if p and p not in {".", "..", "checkpoints"}]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts[-2:]))


def read_label(model: str) -> dict[str, Any]:
    """What weights say of themselves: {"method", "seed", "step"} of a checkpoint, {} of a model we did not train."""
    file = Path(model) / pretrained.LABEL
    saved = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {"method": saved.get("backend"), "train_seed": saved.get("seed"), "step": saved.get("step"), "preset": saved.get("preset")}


def fingerprint(config: EvalConfig, sampler: Sampler) -> dict[str, Any]:
    """Everything that decides the samples, except how many there are."""
    return {
        "schema": SCHEMA, "sampler": sampler.fingerprint(), "seed": config.seed, "limit": config.limit, "sampling": dict(config.sampling),
        "tasks": {t: _task_hash(t) for t in config.tasks},
    }


def _task_hash(task: str) -> str:
    values = {k: v for k, v in task_files()[task].values.items() if k != "repeats"}
    return _sha(json.dumps(values, sort_keys=True, default=str))


def evaluate(config: EvalConfig, sampler: Sampler, *, quiet: bool = False) -> Path:
    """Run the evaluation to its end and return the run folder. The same call again generates only what is missing."""
    print_of = fingerprint(config, sampler)
    # the set of tasks is not part of the folder's name: more tasks later belong to the same run
    name = hashlib.sha256(json.dumps({k: v for k, v in print_of.items() if k != "tasks"}, sort_keys=True).encode()).hexdigest()[:8]
    folder = make_folder(config.out / slug(config.model) / name)
    with locked(folder):
        before = json.loads((folder / "manifest.json").read_text(encoding="utf-8")) if (folder / "manifest.json").exists() else {}
        changed = [t for t, h in print_of["tasks"].items() if before.get("fingerprint", {}).get("tasks", {}).get(t, h) != h]
        if changed:
            raise UsageError(f"tasks changed since this run began: {', '.join(changed)}", where=str(folder), remedy="choose another --out")
        tasks = {**before.get("tasks", {}), **{t: max(n, before.get("tasks", {}).get(t, 0)) for t, n in config.tasks.items()}}
        print_of["tasks"] = {**before.get("fingerprint", {}).get("tasks", {}), **print_of["tasks"]}
        loaded = load_tasks(config, tasks)
        write_json(folder / "manifest.json", {
            "kind": "eval", "model": config.model, "label": {**read_label(config.model), **config.label}, "tasks": tasks, "seed": config.seed, "limit": config.limit,
            "sampling": {name: describe(task) for name, task in loaded.items()}, "grader": config.grader, "fingerprint": print_of, "versions": versions(),
        })
        write_json(folder / "results.json", run_lm_eval(config, sampler, folder, loaded, quiet=quiet))
        grade_run(folder, config.grader)
    return folder


def load_tasks(config: EvalConfig, tasks: Mapping[str, int]) -> dict[str, Any]:
    """lm-eval's task objects, with our number of repeats and the overridden sampling."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_path=str(tasks_folder()), include_defaults=False).load(list(tasks))["tasks"]
    for name, n in tasks.items():
        loaded[name].set_config("repeats", n)
        if config.sampling:
            loaded[name].set_config("generation_kwargs", dict(config.sampling), update=True)
    return loaded


def describe(task: Any) -> dict[str, Any]:
    """How a task is asked: sampling, and hashes of its prompt and its data."""
    kwargs = task.config.generation_kwargs
    docs = json.dumps([list(d.values()) for d in task.eval_docs], default=str)
    return {
        "temperature": kwargs.get("temperature"), "top_p": kwargs.get("top_p", 1.0), "max_gen_toks": kwargs.get("max_gen_toks"),
        "prompt_id": _sha(f"{task.config.description}\x1f{task.config.doc_to_text}"), "data_rev": _sha(docs),
    }


def run_lm_eval(config: EvalConfig, sampler: Sampler, folder: Path, tasks: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Drive lm-eval over our tasks. Returns its results (its own schema) without the samples, which are in the store."""
    from lm_eval import evaluator

    evaluator.get_git_commit_hash = lambda: None  # it would record the commit of whatever folder the user stands in
    with Bar(f"eval {slug(config.model)}", 0, quiet=quiet) as bar:
        lm = StoreLM(sampler, folder, seed=config.seed, on_progress=bar.set)
        results = evaluator.simple_evaluate(
            model=lm, tasks=list(tasks.values()), apply_chat_template=True, limit=config.limit, bootstrap_iters=0, log_samples=True, confirm_run_unsafe_code=True
        )
    write_questions(folder, results["samples"])
    return {k: v for k, v in results.items() if k != "samples"}


def write_questions(folder: Path, samples: Mapping[str, list[dict[str, Any]]]) -> None:
    """questions/<task>.json: gold of every question, so that a run can be graded again from its folder alone."""
    (folder / "questions").mkdir(exist_ok=True)
    for task, rows in samples.items():
        write_json(folder / "questions" / f"{task}.json", [{"doc_id": r["doc_id"], "uid": r["doc"].get("uid", r["doc_id"]), "gold": str(r["target"]), **_options(r["doc"])} for r in rows])


def _options(doc: Mapping[str, Any]) -> dict[str, list[str]]:
    """The options of a multiple-choice question, in the order of their letters, for graders that use them."""
    return {"options": [str(o) for o in doc["options"]]} if isinstance(doc.get("options"), list) else {}


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
