"""What a task file may say: a misspelt key or value is an error that names file and key.

lm-eval names neither file nor near misses, and passes over what it does not know in metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sage_bench.evaluation.tasks.benchmarks import NAMES
from sage_bench.evaluation.tasks.files import FunctionName
from sage_bench.evaluation.tasks.golds import FORMS
from sage_bench.utils.errors import UsageError, did_you_mean

# what lm-eval 0.4.12 to 0.5 read; a test compares
TASK_KEYS = frozenset(
    [
        "task",
        "task_alias",
        "tag",
        "custom_dataset",
        "dataset_path",
        "dataset_name",
        "dataset_kwargs",
        "training_split",
        "validation_split",
        "test_split",
        "fewshot_split",
        "process_docs",
        "doc_to_text",
        "doc_to_target",
        "doc_to_image",
        "doc_to_audio",
        "unsafe_code",
        "doc_to_choice",
        "process_results",
        "use_prompt",
        "description",
        "target_delimiter",
        "fewshot_delimiter",
        "fewshot_config",
        "num_fewshot",
        "metric_list",
        "output_type",
        "generation_kwargs",
        "repeats",
        "filter_list",
        "should_decontaminate",
        "doc_to_decontamination_query",
        "gen_prefix",
        "metadata",
        "class",
    ]
)
GROUP_KEYS = frozenset(["group", "group_alias", "task", "aggregate_metric_list", "metadata"])
# what our loader reads (`benchmarks.load`), then what is only for people
METADATA_KEYS = frozenset(
    [
        "hub",
        "file",
        "fields",
        "gold",
        "rows",
        "gated",
        "options",
        "grader",
        "data",
        "offline",
        "gold_corrections",
        "version",
        "about",
        "revision_note",
        "paper_copy",
        "released",
        "license",
        "source",
    ]
)
HUB_KEYS = frozenset(("id", "config", "split", "revision"))
SAMPLING_KEYS = frozenset(("until", "do_sample", "temperature", "top_p", "max_gen_toks"))
OPTIONS = ("given", "hashed")


def check(path: Path, values: Mapping[str, Any]) -> None:
    """Raise `UsageError` for the first key or value of a task file that cannot be meant."""
    _unknown(path, "", values, GROUP_KEYS if "group" in values else TASK_KEYS)
    metadata = values.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise _error(path, "metadata", "is not a mapping of keys", "write `metadata: {...}`")
    if any(f.ours for f in _functions(values)):
        _check_sampling(path, values)
    if reads_benchmark(values) or "hub" in metadata or "file" in metadata:
        _check_metadata(path, metadata)
    if reads_benchmark(values):
        _unknown(path, "dataset_kwargs.", values.get("dataset_kwargs") or {}, {"benchmark"})


def reads_benchmark(values: Mapping[str, Any]) -> bool:
    """Whether the task's rows come through `benchmarks.load`."""
    loader = values.get("custom_dataset")
    return isinstance(loader, FunctionName) and loader.ours and loader.name == "utils.benchmark"


def _functions(value: Any) -> Iterator[FunctionName]:
    if isinstance(value, FunctionName):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _functions(inner)


def _check_sampling(path: Path, values: Mapping[str, Any]) -> None:
    """Our samplers read these settings and no others; one more would be ignored."""
    _unknown(path, "generation_kwargs.", values.get("generation_kwargs") or {}, SAMPLING_KEYS)


def _check_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    _unknown(path, "metadata.", metadata, METADATA_KEYS)
    for key, known in (("hub", HUB_KEYS), ("fields", frozenset(NAMES))):
        inner = metadata.get(key) or {}
        if not isinstance(inner, Mapping):
            raise _error(
                path, f"metadata.{key}", "is not a mapping of keys", f"known: {_list(known)}"
            )
        _unknown(path, f"metadata.{key}.", inner, known)
    for key, choices in (("gold", tuple(FORMS)), ("options", OPTIONS)):
        value = metadata.get(key)
        if value is not None and value not in choices:
            hint = did_you_mean(str(value), choices)
            what = f"`{value}` is not known; {hint}".rstrip("; ")
            raise _error(path, f"metadata.{key}", what, f"one of {', '.join(choices)}")
    _check_rows(path, metadata.get("rows"))
    for key, value in (metadata.get("fields") or {}).items():
        wanted = list if key == "wrong" else str
        if not isinstance(value, wanted):
            kind = "a list of columns" if wanted is list else "the name of a column"
            raise _error(path, f"metadata.fields.{key}", f"is not {kind}", "mend the task file")


def _check_rows(path: Path, rows: Any) -> None:
    counts = rows if isinstance(rows, list) else [rows]
    if rows is not None and not all(isinstance(n, int) and n > 0 for n in counts):
        raise _error(path, "metadata.rows", f"`{rows}` is not a number of rows", "write e.g. 30")


def _unknown(path: Path, place: str, found: Iterable[Any], known: Iterable[str]) -> None:
    names = list(known)
    for key in found:
        if key not in names:
            hint = did_you_mean(str(key), names)
            what = f"unknown key `{place}{key}`; {hint}".rstrip("; ")
            raise _error(path, f"{place}{key}", what, f"known: {_list(names)}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _error(path: Path, key: str, what: str, remedy: str) -> UsageError:
    return UsageError(what, where=f"{path}:{key}", remedy=remedy)
