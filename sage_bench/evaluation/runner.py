"""Evaluate one model: generate what is missing, grade, summarise. Every table is made from the run
folder alone."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

from sage_bench.data.schema import (
    QUESTIONS,
    EvalManifest,
    QuestionRow,
    TrainConfig,
    TrainManifest,
)
from sage_bench.evaluation import folders
from sage_bench.evaluation.grades import grade_run, stored_samples
from sage_bench.evaluation.harness import lm_eval_results
from sage_bench.evaluation.lm import StoreLM
from sage_bench.evaluation.tasks.loading import (
    DataOptions,
    Skipped,
    grader_of,
    load,
    report_of,
)
from sage_bench.generation import model_folders as pretrained
from sage_bench.generation.samplers.base import Sampler
from sage_bench.training.spent import training_cost
from sage_bench.utils.errors import DataError, PartialError, UsageError
from sage_bench.utils.files import (
    locked,
    make_folder,
    read_json,
    to_trash,
    write_json,
    writing,
)
from sage_bench.utils.progress import Bar
from sage_bench.utils.versions import versions

MOST_SAMPLES = 20_000_000  # of one task in one call


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate.

    tasks: name to samples a question. out: folder of all evaluations. sampling: overrides of the
    task files' generation_kwargs. limit: first questions of each task only. grader: for all tasks,
    instead of the one each of them names. data: where rows come from and how golds are read.
    overwrite: a run of the same fingerprint goes to .trash first.
    """

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

    >>> slug("runs/sage/checkpoints/step_000040"), slug("Qwen/Qwen2.5-7B-Instruct")
    ('sage-step_000040', 'Qwen-Qwen2.5-7B-Instruct')
    >>> slug("package:data/tiny_policies/llama")
    'tiny_policies-llama'
    """
    parts = [p for p in re.split(r"[/\\:]", model) if p and p not in {".", "..", "checkpoints"}]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts[-2:]))


def read_label(model: str) -> dict[str, Any]:
    """What weights say of themselves: {"method", "seed", "step"} of a checkpoint.

    And what their training run says of them (`_of_training`); nothing of a model we did not train.
    """
    file = Path(model) / pretrained.LABEL
    saved = read_json(file) if file.is_file() else {}
    label = {
        "method": saved.get("backend"),
        "train_seed": saved.get("seed"),
        "step": saved.get("step"),
        "preset": saved.get("preset"),
    }
    label |= {k: saved[k] for k in ("base_model", "base_weights") if saved.get(k)}
    if file.is_file():
        label |= _of_training(Path(model).parent.parent, saved.get("step"))
    # what tables have to say of weights that were not trained as their name says
    marks = ("degraded", "recorded", "accepted_changes")
    label |= {name: saved[name] for name in marks if saved.get(name)}
    return label


def _of_training(folder: Path, step: int | None) -> dict[str, Any]:
    """What tables want to know of a training run up to a step, {} where this is none.

    data_order: runs that agree in it saw the same prompts in the same order, so that reports may
    pair them. degraded: columns that the method reads and its data lacked. training_cost: kept
    here, because a leaderboard may be made on a machine that has only the evaluations.
    """
    manifest, config = folder / "manifest.json", folder / "config.json"
    if not manifest.is_file() or not config.is_file():
        return {}
    try:
        trained = TrainManifest.read(manifest)
        values = TrainConfig.read(config).values
        cost = training_cost(folder, step)
    except DataError as error:
        # the weights can be evaluated all the same
        _note(f"note: what trained this checkpoint is not known: {error}")
        return {}
    label: dict[str, Any] = {}
    data = trained.identity.get("data")
    if data:
        parts = (data, values.get("train.prompts_per_step"), values.get("train.seed"))
        label["data_order"] = "-".join(map(str, parts))
    if trained.degraded:
        label["degraded"] = trained.degraded
    if cost:
        label["training_cost"] = cost
    return label


def evaluate(config: EvalConfig, sampler: Sampler, *, quiet: bool = False) -> Path:
    """Run the evaluation to its end and return the run folder. The same call again generates only
    what is missing.

    Raises `PartialError` when some samples could not be drawn; the others are stored and graded by
    then.
    """
    loaded, skipped = load(
        config.tasks, config.data, grader=config.grader, sampling=config.sampling
    )
    check_size(config.tasks, loaded, config.limit)
    fingerprint = folders.fingerprint(
        sampler.fingerprint(),
        config.seed,
        config.limit,
        config.sampling,
        {name: describe(task) for name, task in loaded.items()},
    )
    chosen = folders.choose(config.out / slug(config.model), fingerprint)
    for problem in chosen.unreadable:
        _note(f"passed over: {problem}")
    if chosen.explanation:
        _note(chosen.explanation)
    folder = make_folder(chosen.folder)
    with locked(folder):
        if config.overwrite:
            to_trash(folder)
        before = folders.read_manifest(folder)
        tell_versions(before)
        asked = {name: config.tasks[name] for name in loaded}
        sizes = {name: question_count(task, config.limit) for name, task in loaded.items()}
        shown = samples_shown(folder, before, asked, sizes)
        now = manifest(config, before, loaded, skipped, fingerprint, shown)
        for name, task in loaded.items():
            task.set_config("repeats", now.tasks[name])
        now.write(folder / "manifest.json")
        write_questions(folder, loaded, config.limit)
        try:
            results = run_lm_eval(config, sampler, folder, loaded, quiet=quiet)
        except PartialError:
            # what is there can be read; the tables say `partial`
            grade_run(folder, now.graders)
            raise
        merged = folders.merge_results(folders.read_results(folder), results)
        write_json(folder / "results.json", merged)
        grade_run(folder, now.graders)
    return folder


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def tell_versions(before: EvalManifest | None) -> None:
    """Say which packages have changed since this run began: samples of both will stand together."""
    now = versions()
    for name, version in (before.versions if before else {}).items():
        if now.get(name) != version:
            _note(f"note: {name} was {version} when this run began and is {now.get(name)} now")


def samples_shown(
    folder: Path,
    before: EvalManifest | None,
    asked: Mapping[str, int],
    questions: Mapping[str, int],
) -> dict[str, int]:
    """Samples a question that the tables show, by task, and a word where it is not what was asked.

    Fewer than an earlier call are asked for: where that call was finished, its samples stay on
    show; where it was not (a mistyped number, say), the first ones alone count. Nothing grows
    because of what was once asked and never drawn.
    """
    shown = dict(asked)
    for task, n in asked.items():
        earlier = before.tasks.get(task, 0) if before else 0
        if earlier <= n:
            continue
        if _complete_samples(folder, task, questions[task]) >= earlier:
            shown[task] = earlier
            _note(
                f"note: {task}: {earlier} samples a question are stored, and the tables show all of"
                f" them; this call asked for {n}"
            )
        else:
            _note(
                f"note: {task}: an earlier call asked for {earlier} samples a question and did not"
                f" finish; the tables show the first {n}"
            )
    return shown


def _complete_samples(folder: Path, task: str, questions: int) -> int:
    """The number of samples that every question has."""
    stored: dict[int, set[int]] = {doc_id: set() for doc_id in range(questions)}
    for row in stored_samples(folder, task):
        if row["doc_id"] in stored:
            stored[row["doc_id"]].add(row["sample"])
    counts = (next(n for n in count() if n not in samples) for samples in stored.values())
    return min(counts, default=0)


def check_size(tasks: Mapping[str, int], loaded: Mapping[str, Any], limit: int | None) -> None:
    """Raise `UsageError` for more samples than one process can hold the requests of: it would be
    killed for memory long before the first is drawn."""
    for name, task in loaded.items():
        questions = question_count(task, limit)
        if tasks[name] * questions > MOST_SAMPLES:
            raise UsageError(
                f"{tasks[name]:,} samples of {questions:,} questions are more than"
                f" {MOST_SAMPLES:,} samples",
                where=f"--tasks {name}:{tasks[name]}",
                remedy="ask for fewer samples a question, or split the task with --limit",
            )


def question_count(task: Any, limit: int | None) -> int:
    """How many questions of a task are asked."""
    return len(task.eval_docs) if limit is None else min(len(task.eval_docs), limit)


def manifest(
    config: EvalConfig,
    before: EvalManifest | None,
    loaded: Mapping[str, Any],
    skipped: Skipped,
    fingerprint: Mapping[str, Any],
    shown: Mapping[str, int],
) -> EvalManifest:
    """manifest.json: what this call asks for, together with what earlier calls into this folder
    asked for. shown: samples a question, by task."""
    old_tasks = before.tasks if before else {}
    graders = before.graders if before else {}
    golds = before.golds if before else {}
    known = before.fingerprint.get("tasks", {}) if before else {}
    asked = {**fingerprint, "tasks": {**known, **fingerprint["tasks"]}}
    graders = {**graders, **{name: grader_of(task) for name, task in loaded.items()}}
    reports = {name: report for name, task in loaded.items() if (report := report_of(task))}
    return EvalManifest(
        model=config.model,
        label={**read_label(config.model), **config.label},
        tasks={**old_tasks, **shown},
        seed=config.seed,
        limit=config.limit,
        sampling=asked["tasks"],
        fingerprint=asked,
        versions=versions(),
        earlier_versions=earlier_versions(before),
        skipped={name: why for name, why in skipped.items() if name not in old_tasks},
        golds={**golds, **reports},
        gold_corrections="on" if config.data.gold_corrections else "off",
        grader=", ".join(dict.fromkeys(graders.values())),
        graders=graders,
    )


def earlier_versions(before: EvalManifest | None) -> list[dict[str, str]]:
    """The versions of packages that earlier calls into a folder used, where they differ."""
    if before is None:
        return []
    now = versions()
    return [v for v in [*before.earlier_versions, before.versions or now] if v != now]


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
        "prompt_id": _sha(prompt_of(task)),
        "data_rev": _sha(docs),
    }


def prompt_of(task: Any) -> str:
    """Everything a task file says about its prompt, as a text that is the same in every process."""
    config = task.config
    parts = [_written(config.description), _written(config.doc_to_text)]
    # what hardly any task has, so that those without it keep their prompt_id
    if config.num_fewshot:
        parts.append(f"{config.num_fewshot} {config.fewshot_split} {config.fewshot_config}")
    if config.gen_prefix:
        parts.append(_written(config.gen_prefix))
    return "\x1f".join(parts)


def _written(part: Any) -> str:
    """A text as it is, a function as its source."""
    return inspect.getsource(part) if callable(part) else str(part)


def run_lm_eval(
    config: EvalConfig, sampler: Sampler, folder: Path, tasks: Mapping[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Drive lm-eval over our tasks. Returns its results (its own schema) without the samples, which
    are in the store."""
    with Bar(f"eval {slug(config.model)}", 0, quiet=quiet) as bar:
        lm = StoreLM(
            sampler,
            folder,
            seed=config.seed,
            on_progress=bar.set,
            gold=lambda task, doc: gold_of(tasks[task], doc),
        )
        results = lm_eval_results(lm, tasks, config.limit)
    return {k: v for k, v in results.items() if k != "samples"}


def gold_of(task: Any, doc: Mapping[str, Any]) -> str:
    """The gold answer as lm-eval gives it to the metrics."""
    return str(task.doc_to_target(doc))


def write_questions(folder: Path, tasks: Mapping[str, Any], limit: int | None = None) -> None:
    """questions/<task>.json: gold (options, text) of every question, so that a run can be graded
    again and read from its folder alone."""
    with writing(folder / "questions"):
        (folder / "questions").mkdir(exist_ok=True)
    for name, task in tasks.items():
        rows = []
        for doc_id, doc in enumerate(islice(task.eval_docs, limit)):
            row: QuestionRow = {
                "doc_id": doc_id,
                "uid": doc.get("uid", doc_id),
                "gold": gold_of(task, doc),
            }
            if isinstance(doc.get("question"), str):
                row["question"] = doc["question"]
            if "options" in doc:
                row["options"] = doc["options"]
            rows.append(row)
        QUESTIONS.write_list(folder / "questions" / f"{name}.json", rows)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
