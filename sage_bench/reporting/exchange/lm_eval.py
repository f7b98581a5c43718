"""lm-eval's `results.json`, with the name of the model and a standard error for every metric.

The file in a run folder is what lm-eval wrote during the run: it does not know the model, and its
own errors would not be clustered by question. The keys are lm-eval's (`metric,filter` and
`metric_stderr,filter`); the intervals stand beside them as `metric_ci_low,filter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.evaluation.folders import read_results
from sage_bench.reporting.exchange.scores import NO_ANSWER, Finished, Score, known
from sage_bench.utils.files import make_folder, write_json

FILTER = "all"
FILE = "results.json"
# keys of a task's results that are no metric
DESCRIBING = ("name", "alias", "sample_len", "sample_count")
ERROR, LOW, HIGH = "_stderr", "_ci_low", "_ci_high"


def write(evaluation: Finished, out: Path) -> list[Path]:
    file = make_folder(out) / FILE
    write_json(file, results(evaluation))
    return [file]


def results(evaluation: Finished) -> dict[str, Any]:
    """The content of the file, in the order lm-eval writes it."""
    stored = read_results(evaluation.run.folder)
    tasks = evaluation.run.tasks
    versions = stored.get("versions") or {}
    return {
        "results": {task: _task(evaluation, task) for task in tasks},
        "group_subtasks": {task: [] for task in tasks},
        "configs": {task: _config(evaluation, stored, task) for task in tasks},
        "versions": {task: versions.get(task, 1.0) for task in tasks},
        "n-shot": {task: (stored.get("n-shot") or {}).get(task, 0) for task in tasks},
        "higher_is_better": {task: _directions(evaluation, task) for task in tasks},
        "n-samples": {task: _sizes(evaluation, task) for task in tasks},
        "config": _settings(evaluation, stored),
        "git_hash": None,
        "date": evaluation.date.timestamp(),
        "pretty_env_info": stored.get("pretty_env_info"),
        "transformers_version": (evaluation.manifest.get("versions") or {}).get("transformers"),
        "lm_eval_version": (evaluation.manifest.get("versions") or {}).get("lm_eval"),
        "upper_git_hash": None,
        "model_source": "hf",
        "model_name": evaluation.name,
        "model_name_sanitized": evaluation.name.replace("/", "__"),
    }


def _task(evaluation: Finished, task: str) -> dict[str, Any]:
    size = len(evaluation.run.tasks[task].means)
    found: dict[str, Any] = {"name": task, "alias": task, "sample_len": size}
    for score in evaluation.of_task(task):
        name = key_of(score)
        found[f"{name},{FILTER}"] = score.value
        # lm-eval's own word for an error that is not known
        found[f"{name}{ERROR},{FILTER}"] = "N/A" if score.se is None else score.se
        if score.low is not None and score.high is not None:
            found[f"{name}{LOW},{FILTER}"] = score.low
            found[f"{name}{HIGH},{FILTER}"] = score.high
    return found


def key_of(score: Score) -> str:
    """The metric as our task files call it.

    >>> [key_of(Score("t", m, 0.5, samples=16)) for m in ("avg@n", "pass@4", "pass@16")]
    ['avg_at_n', 'pass_at_4', 'pass_at_n']
    """
    if score.metric == f"pass@{score.samples}":
        return "pass_at_n"
    return score.metric.replace("@", "_at_")


def metric_of(key: str, samples: int | None) -> str:
    """The other way round; a key that is not ours stays as it is.

    >>> [metric_of(k, 16) for k in ("avg_at_n", "pass_at_4", "pass_at_n", "exact_match")]
    ['avg@n', 'pass@4', 'pass@16', 'exact_match']
    """
    if key == "pass_at_n" and samples is not None:
        return f"pass@{samples}"
    kind, at, k = key.partition("_at_")
    is_ours = at and kind in ("avg", "pass", "maj") and (k == "n" or k.isdigit())
    return f"{kind}@{k}" if is_ours else key


def _directions(evaluation: Finished, task: str) -> dict[str, bool]:
    return {key_of(score): score.metric != NO_ANSWER for score in evaluation.of_task(task)}


def _config(evaluation: Finished, stored: Mapping[str, Any], task: str) -> dict[str, Any]:
    """lm-eval's description of the task, or what the manifest says where it is not there."""
    kept = (stored.get("configs") or {}).get(task)
    sampling = evaluation.manifest["sampling"][task]
    made = {
        "task": task,
        "output_type": "generate_until",
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": sampling.get("until", []),
            "do_sample": bool(sampling.get("temperature")),
            "temperature": sampling.get("temperature"),
            "top_p": sampling.get("top_p"),
            "max_gen_toks": sampling.get("max_gen_toks"),
        },
    }
    return {**made, **(kept or {}), "repeats": evaluation.run.tasks[task].samples}


def _sizes(evaluation: Finished, task: str) -> dict[str, int]:
    asked = len(evaluation.run.tasks[task].means)
    found = evaluation.manifest["sampling"][task].get("questions", asked)
    return {"original": int(found), "effective": asked}


def _settings(evaluation: Finished, stored: Mapping[str, Any]) -> dict[str, Any]:
    fingerprint = evaluation.manifest.get("fingerprint") or {}
    sampler = fingerprint.get("sampler") or {}
    arguments = {"pretrained": evaluation.name, "dtype": sampler.get("dtype")}
    words = [f"{key}={value}" for key, value in arguments.items() if value is not None]
    return {
        **(stored.get("config") or {}),
        "model": "hf",
        "model_args": ",".join(words),
        "model_sha": sampler.get("weights") or "",
        "limit": evaluation.manifest.get("limit"),
        "random_seed": evaluation.manifest.get("seed"),
    }


# ---- reading ------------------------------------------------------------------------------------
def is_one(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object looks like results of lm-eval."""
    found = document.get("results")
    if not isinstance(found, dict) or not ("configs" in document or "versions" in document):
        return False
    return all(isinstance(task, dict) for task in found.values())


def read(document: Mapping[str, Any]) -> tuple[str, list[Score | str]]:
    """The model, and each score or the reason why it cannot be used."""
    found: list[Score | str] = []
    for task, values in document["results"].items():
        found += _read_task(document, task, values)
    return _model(document), found


def _read_task(
    document: Mapping[str, Any], task: str, values: Mapping[str, Any]
) -> list[Score | str]:
    sizes = (document.get("n-samples") or {}).get(task) or {}
    questions = sizes.get("effective") or values.get("sample_len")
    samples = ((document.get("configs") or {}).get(task) or {}).get("repeats")
    found: list[Score | str] = []
    for key, value in values.items():
        name, _, filtered = key.partition(",")
        if key in DESCRIBING or name.endswith((ERROR, LOW, HIGH)):
            continue
        number = known(value)
        if number is None:
            found.append(f"{task}, {key}: {value!r} is not a finite number")
            continue
        error, low, high = (known(values.get(f"{name}{x},{filtered}")) for x in (ERROR, LOW, HIGH))
        metric = metric_of(name, samples)
        # the filter is a part of the name where lm-eval may have several
        if filtered not in ("", "none", FILTER):
            metric = f"{metric},{filtered}"
        found.append(Score(task, metric, number, error, low, high, questions, samples))
    return found


def _model(document: Mapping[str, Any]) -> str:
    if document.get("model_name"):
        return str(document["model_name"])
    arguments = (document.get("config") or {}).get("model_args") or ""
    if isinstance(arguments, Mapping):
        return str(arguments.get("pretrained") or "")
    words = dict(word.partition("=")[::2] for word in str(arguments).split(","))
    return words.get("pretrained") or words.get("model") or ""
