"""Every Eval Ever 0.3: one JSON document an evaluation, one JSON line a sample.

The files lie where the project's data store wants them,
`data/sage-bench/DEVELOPER/MODEL/UUID.json` and `UUID_samples.jsonl`, and are checked against the
published schemas (`schemas/`) before they are left there.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.reporting.exchange.scores import (
    AVERAGE,
    LEVEL,
    NO_ANSWER,
    Finished,
    GradedSample,
    Score,
    known,
)
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import make_folder, write_json, writing
from sage_bench.version import VERSION

SCHEMA_VERSION = "0.3.0"
COLLECTION = "sage-bench"
AGGREGATE = "eval.schema.json"
INSTANCE = "instance_level_eval.schema.json"


def write(evaluation: Finished, out: Path) -> list[Path]:
    """The document and the samples, without those of gated data.

    Raises `DataError` where they do not fit the published schemas.
    """
    document = aggregate(evaluation)
    developer, _, model = evaluation.name.partition("/")
    folder = make_folder(out / "data" / COLLECTION / developer / model)
    number = _uuid(evaluation)
    samples = folder / f"{number}_samples.jsonl"
    rows = _write_samples(evaluation, document, samples)
    file = folder / f"{number}.json"
    files = [file, samples]
    if rows:
        document["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": str(samples.relative_to(out)),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples.read_bytes()).hexdigest(),
            "total_rows": rows,
        }
    else:
        # only gated data were asked, whose text is not published
        samples.unlink()
        files.remove(samples)
    check(document, AGGREGATE, where="the document to be written")
    write_json(file, document)
    return files


def _uuid(evaluation: Finished) -> str:
    """The same for the same samples, so that exporting again replaces the files."""
    said = [evaluation.name, evaluation.run.folder.name, evaluation.manifest.get("fingerprint")]
    said += [evaluation.manifest["tasks"], evaluation.grader]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


# ---- the document -------------------------------------------------------------------------------
def aggregate(evaluation: Finished) -> dict[str, Any]:
    """The document without the reference to the file of samples."""
    now = str(int(time.time()))
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{COLLECTION}/{evaluation.name.replace('/', '_')}/{now}",
        "evaluation_timestamp": evaluation.date.isoformat(),
        "retrieved_timestamp": now,
        "source_metadata": {
            "source_name": "sage-bench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "sage-bench", "version": VERSION},
        "model_info": _model(evaluation),
        "evaluation_results": [_result(evaluation, score) for score in evaluation.scores],
    }


def _model(evaluation: Finished) -> dict[str, Any]:
    fingerprint = evaluation.manifest.get("fingerprint") or {}
    sampler = fingerprint.get("sampler") or {}
    engine = str(sampler.get("sampler") or "transformers")
    versions = evaluation.manifest.get("versions") or {}
    label = {f"label_{key}": value for key, value in evaluation.run.label.items()}
    details = {**label, "weights_sha": sampler.get("weights")}
    through_server = engine == "openai"
    found = {
        "name": evaluation.name.rpartition("/")[2],
        "id": evaluation.name,
        "developer": evaluation.name.partition("/")[0],
        "additional_details": {
            "deployment_type": "unknown" if through_server else "self_deployed",
            "model_availability": "unknown" if through_server else "open_weights",
            **_texts(details),
        },
    }
    if not through_server:
        found["inference_engine"] = {"name": engine, "version": str(versions.get(engine, ""))}
    return found


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The schema wants texts only; what is not known is left out."""
    return {key: str(value) for key, value in values.items() if value not in (None, "")}


def _result(evaluation: Finished, score: Score) -> dict[str, Any]:
    sampling = evaluation.manifest["sampling"][score.task]
    settings = {
        "samples_per_question": score.samples,
        "seed": evaluation.manifest.get("seed"),
        "prompt_id": sampling.get("prompt_id"),
        "data_rev": sampling.get("data_rev"),
        "grader": evaluation.grader_of(score.task),
        "limited": evaluation.run.limited,
    }
    arguments = {
        "temperature": sampling.get("temperature"),
        "top_p": sampling.get("top_p"),
        "max_tokens": sampling.get("max_gen_toks"),
    }
    return {
        "evaluation_result_id": result_id(score),
        "evaluation_name": score.task,
        "evaluation_timestamp": evaluation.date.isoformat(),
        "source_data": _source(evaluation, score.task),
        "metric_config": _metric(score),
        "score_details": {"score": score.value, "uncertainty": _uncertainty(score)},
        "generation_config": {
            "generation_args": {k: v for k, v in arguments.items() if v is not None},
            "additional_details": _texts(settings),
        },
    }


def result_id(score: Score) -> str:
    """What a line of the samples file calls the score it belongs to."""
    return f"{score.task}/{score.metric}"


def _source(evaluation: Finished, task: str) -> dict[str, Any]:
    file = task_files().get(task)
    hub = ((file.values.get("metadata") or {}).get("hub") if file else None) or {}
    if not hub:
        return {"dataset_name": task, "source_type": "other"}
    details = _texts({"revision": hub.get("revision"), "config": hub.get("config")})
    return {
        "dataset_name": task,
        "source_type": "hf_dataset",
        "hf_repo": hub["id"],
        "hf_split": hub["split"],
        "samples_number": len(evaluation.run.tasks[task].means),
        "additional_details": details,
    }


def _metric(score: Score) -> dict[str, Any]:
    kind, _, k = score.metric.partition("@")
    names = {
        "avg": ("accuracy", "share of right samples, averaged over questions"),
        "pass": ("pass_at_k", "chance that k samples of a question hold a right one"),
    }
    name, about = names.get(kind, (f"{COLLECTION}.{kind}", "share of samples without an answer"))
    parameters: dict[str, Any] = {"n": score.samples}
    if kind == "pass":
        parameters["k"] = int(k)
    return {
        "evaluation_description": about,
        "metric_id": name,
        "metric_name": score.metric,
        "metric_kind": name.rpartition(".")[2],
        "metric_unit": "proportion",
        "metric_parameters": parameters,
        "lower_is_better": score.metric == NO_ANSWER,
        "score_type": "continuous",
        "min_score": 0.0,
        "max_score": 1.0,
    }


def _uncertainty(score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": score.questions}
    if score.se is not None:
        found["standard_error"] = {"value": score.se, "method": "clustered by question"}
    if score.low is not None and score.high is not None:
        found["confidence_interval"] = {
            "lower": score.low,
            "upper": score.high,
            "confidence_level": LEVEL,
            "method": "sage-bench: shares of clustered answers",
        }
    return found


# ---- the samples --------------------------------------------------------------------------------
def _write_samples(evaluation: Finished, document: Mapping[str, Any], file: Path) -> int:
    """One line a sample; returns how many. Lines of one shape are checked once: the schema says
    nothing about the content of texts, and checking each of 200,000 lines takes minutes."""
    count = 0
    checked: set[str] = set()
    with writing(file), file.open("w", encoding="utf-8", errors="backslashreplace") as lines:
        for row in _instances(evaluation, document):
            shape = _shape(row)
            if shape not in checked:
                check(row, INSTANCE, where=f"line {count + 1} of the samples")
                checked.add(shape)
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _shape(value: Any) -> str:
    """Keys and types of a JSON value.

    >>> _shape({"a": [1, 2.0], "b": None})
    "{'a': ['int', 'float'], 'b': 'NoneType'}"
    """

    def types(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: types(part) for key, part in inner.items()}
        if isinstance(inner, list):
            return list(dict.fromkeys(str(types(part)) for part in inner))
        return type(inner).__name__

    return str(types(value))


def _instances(evaluation: Finished, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for task in evaluation.run.tasks:
        common = {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": document["evaluation_id"],
            "model_id": evaluation.name,
            "evaluation_name": task,
            "evaluation_result_id": f"{task}/{AVERAGE}",
        }
        grader = evaluation.grader_of(task)
        for sample in evaluation.samples(task):
            yield common | _instance(sample, grader)


def _instance(sample: GradedSample, grader: str) -> dict[str, Any]:
    said = sample.question + sample.gold
    attribution = []
    if sample.extracted is not None:
        attribution.append(
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": sample.extracted,
                "extraction_method": grader,
                "is_terminal": True,
            }
        )
    found: dict[str, Any] = {
        "sample_id": sample.uid,
        "sample_hash": hashlib.sha256(said.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": sample.question,
            "reference": [sample.gold],
            "choices": sample.options,
        },
        "output": {"raw": [sample.text]},
        "messages": None,
        "answer_attribution": attribution,
        "evaluation": {"score": float(sample.correct), "is_correct": sample.correct},
        "metadata": {
            "sample": str(sample.number),
            "finish": sample.finish,
            "grader_status": sample.status,
        },
    }
    if sample.prompt_tokens is not None and sample.tokens is not None:
        found["token_usage"] = {
            "input_tokens": sample.prompt_tokens,
            "output_tokens": sample.tokens,
            "total_tokens": sample.prompt_tokens + sample.tokens,
        }
    return found


# ---- checking -----------------------------------------------------------------------------------
@cache
def _validator(schema: str) -> Any:
    import jsonschema

    text = files("sage_bench.reporting.exchange").joinpath("schemas", schema).read_text("utf-8")
    return jsonschema.Draft7Validator(json.loads(text))


def check(document: Mapping[str, Any], schema: str, *, where: str) -> None:
    """Raise `DataError` naming the first field that does not fit a published schema."""
    error = next(iter(_validator(schema).iter_errors(document)), None)
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or "it"
        raise DataError(
            f"`{field}` does not fit Every Eval Ever {SCHEMA_VERSION}: {error.message[:200]}",
            where=where,
            remedy="see the published schema, or leave the file out",
        )


# ---- reading ------------------------------------------------------------------------------------
def is_one(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object says that it is such a document."""
    return "evaluation_results" in document and "schema_version" in document


def read(document: Mapping[str, Any]) -> tuple[str, list[Score | str]]:
    """The model, and each score or the reason why it cannot be used.

    Raises `DataError` where the document does not fit the schema.
    """
    check(document, AGGREGATE, where="an Every Eval Ever document")
    return document["model_info"]["id"], [_read(r) for r in document["evaluation_results"]]


def _read(result: Mapping[str, Any]) -> Score | str:
    metric, details = result["metric_config"], result["score_details"]
    uncertainty = details.get("uncertainty") or {}
    interval = uncertainty.get("confidence_interval") or {}
    # intervals of other levels cannot stand in one column with ours
    if interval.get("confidence_level", LEVEL) != LEVEL:
        interval = {}
    parameters = metric.get("metric_parameters") or {}
    name = metric.get("metric_name") or metric.get("metric_id") or "score"
    value = known(details["score"])
    if value is None:
        return f"{result['evaluation_name']}, {name}: the score is not a finite number"
    return Score(
        result["evaluation_name"],
        name,
        value,
        known((uncertainty.get("standard_error") or {}).get("value")),
        known(interval.get("lower")),
        known(interval.get("upper")),
        uncertainty.get("num_samples"),
        parameters.get("n"),
    )
