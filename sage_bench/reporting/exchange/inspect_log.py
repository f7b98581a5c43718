"""Logs of Inspect (`inspect_ai`), one JSON file a task, as `inspect view` and `inspect score` read.

Samples of a question are epochs. The scorer is the grader, its score 1 or 0; the reducers `mean`
and `pass_at_K` over epochs are Inspect's own, so its `accuracy` and `stderr` are ours.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.reporting.exchange.scores import (
    AVERAGE,
    NO_ANSWER,
    Finished,
    GradedSample,
    Score,
    known,
)
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import make_folder, write_json
from sage_bench.version import VERSION

LOG_VERSION = 2
VALUE, ERROR, LOW, HIGH = "accuracy", "stderr", "ci_low", "ci_high"
# what other scorers call their headline number
VALUES = (VALUE, "mean")
HEADER = "header.json"  # in a log of the form `.eval`, which is a zip archive


def write(evaluation: Finished, out: Path) -> list[Path]:
    stamp = evaluation.date.strftime("%Y-%m-%dT%H-%M-%S")
    files = []
    for task in evaluation.run.tasks:
        file = make_folder(out) / f"{stamp}_{task}_{_id(evaluation, task)}.json"
        write_json(file, log(evaluation, task))
        files.append(file)
    return files


def _id(evaluation: Finished, *more: str) -> str:
    said = [evaluation.name, str(evaluation.manifest.get("fingerprint")), *more]
    return hashlib.sha256("\x1f".join(said).encode()).hexdigest()[:22]


def log(evaluation: Finished, task: str) -> dict[str, Any]:
    """One task as a log; without samples where its data are gated."""
    date = evaluation.date.isoformat()
    result = evaluation.run.tasks[task]
    samples = [_sample(evaluation, s, task) for s in evaluation.samples(task)]
    return {
        "version": LOG_VERSION,
        "status": "success",
        "eval": _spec(evaluation, task),
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}]},
        "results": {
            "total_samples": result.samples * len(result.means),
            "completed_samples": result.samples * len(result.means),
            "scores": [_score(evaluation, score) for score in evaluation.of_task(task)],
            "metadata": {"sage_bench": {"n": result.samples, "questions": len(result.means)}},
        },
        "stats": {"started_at": date, "completed_at": date},
        "samples": samples,
    }


def _spec(evaluation: Finished, task: str) -> dict[str, Any]:
    sampling = evaluation.manifest["sampling"][task]
    result = evaluation.run.tasks[task]
    reducers = [_reducer(s) for s in evaluation.of_task(task) if s.metric != NO_ANSWER]
    settings = {
        "temperature": sampling.get("temperature"),
        "top_p": sampling.get("top_p"),
        "max_tokens": sampling.get("max_gen_toks"),
    }
    return {
        "eval_id": _id(evaluation, task),
        "run_id": _id(evaluation),
        "task_id": _id(evaluation, task),
        "created": evaluation.date.isoformat(),
        "task": task,
        "task_version": 0,
        "dataset": {
            "name": task,
            "samples": len(result.means),
            "sample_ids": list(result.names),
            "shuffled": False,
        },
        "model": evaluation.name,
        "model_generate_config": {k: v for k, v in settings.items() if v is not None},
        "model_args": {},
        "config": {
            "epochs": result.samples,
            "epochs_reducer": reducers,
            "limit": evaluation.manifest.get("limit"),
        },
        "packages": {"sage_bench": VERSION},
        "metadata": {"label": dict(evaluation.run.label), "limited": evaluation.run.limited},
    }


def _reducer(score: Score) -> str:
    return "mean" if score.metric == AVERAGE else score.metric.replace("@", "_at_")


def _score(evaluation: Finished, score: Score) -> dict[str, Any]:
    values = {VALUE: score.value, ERROR: score.se, LOW: score.low, HIGH: score.high}
    grader = evaluation.grader_of(score.task)
    is_blank = score.metric == NO_ANSWER
    return {
        "name": NO_ANSWER if is_blank else grader,
        "scorer": NO_ANSWER if is_blank else grader,
        "reducer": "mean" if is_blank else _reducer(score),
        "scored_samples": score.questions,
        "unscored_samples": 0,
        "metrics": {k: {"name": k, "value": v} for k, v in values.items() if v is not None},
    }


def _sample(evaluation: Finished, sample: GradedSample, task: str) -> dict[str, Any]:
    reply = {
        "role": "assistant",
        "content": sample.text,
        "source": "generate",
        "model": evaluation.name,
    }
    grader = evaluation.grader_of(task)
    verdict = {
        "value": float(sample.correct),
        "answer": sample.extracted,
        "metadata": {"status": sample.status},
    }
    blank = {"value": float(sample.status == NO_ANSWER)}
    found: dict[str, Any] = {
        "id": sample.uid,
        "epoch": sample.number + 1,
        "input": sample.question,
        "target": sample.gold,
        "messages": [{"role": "user", "content": sample.question}, reply],
        "output": {
            "model": evaluation.name,
            "choices": [
                {
                    "message": reply,
                    "stop_reason": "max_tokens" if sample.finish == "length" else "stop",
                }
            ],
        },
        "scores": {grader: verdict, NO_ANSWER: blank},
        "metadata": {},
    }
    if sample.options:
        found["choices"] = sample.options
    if sample.tokens is not None:
        asked = sample.prompt_tokens or 0
        found["output"]["usage"] = {
            "input_tokens": asked,
            "output_tokens": sample.tokens,
            "total_tokens": asked + sample.tokens,
        }
    return found


# ---- reading ------------------------------------------------------------------------------------
def header(file: Path) -> bytes:
    """The document of a log in the form `.eval`. Raises `DataError` for what is not one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(HEADER)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, OSError) as error:
        raise DataError(
            f"is not a finished log of Inspect ({type(error).__name__}: {error})",
            where=str(file),
            remedy="`inspect log convert --to json` writes it as JSON",
        ) from error


def is_one(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object looks like a log of Inspect."""
    spec = document.get("eval")
    return isinstance(spec, dict) and "task" in spec and "model" in spec


def read(document: Mapping[str, Any]) -> tuple[str, list[Score | str]]:
    """The model, and each score or the reason why it cannot be used."""
    spec = document["eval"]
    task, model = str(spec["task"]), str(spec["model"])
    if document.get("status") != "success":
        return model, [f"{task}: its status is `{document.get('status')}`, not `success`"]
    results = document.get("results") or {}
    samples = (spec.get("config") or {}).get("epochs")
    found: list[Score | str] = []
    scores = results.get("scores") or []
    for score in scores:
        found += _read_score(task, score, samples, several=_scorers(scores) > 1)
    return model, found or [f"{task}: it has no score"]


def _scorers(scores: list[Mapping[str, Any]]) -> int:
    return len({s.get("name") for s in scores} - {NO_ANSWER})


def _read_score(
    task: str, score: Mapping[str, Any], samples: int | None, *, several: bool
) -> list[Score | str]:
    metrics = score.get("metrics") or {}
    values = {key: known((metric or {}).get("value")) for key, metric in metrics.items()}
    key = next((k for k in VALUES if k in metrics), next(iter(metrics), ""))
    value = values.get(key)
    if value is None:
        return [f"{task}, {score.get('name')}: no finite number among its metrics"]
    name = _metric(score, key)
    if several and score.get("name") != NO_ANSWER:
        name = f"{name},{score.get('name')}"
    error, low, high = values.get(ERROR), values.get(LOW), values.get(HIGH)
    questions = score.get("scored_samples")
    return [Score(task, name, value, error, low, high, questions, samples)]


def _metric(score: Mapping[str, Any], key: str) -> str:
    if score.get("name") == NO_ANSWER:
        return NO_ANSWER
    reducer = str(score.get("reducer") or "mean")
    if reducer == "mean" and key in VALUES:
        return AVERAGE
    kind, at, k = reducer.partition("_at_")
    return f"{kind}@{k}" if at and k.isdigit() else f"{key},{reducer}"
