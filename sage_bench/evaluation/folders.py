"""Which folder a run belongs to: the one whose fingerprint agrees, or a new one and a word on what
changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.data.schema import EvalManifest
from sage_bench.utils.errors import DataError
from sage_bench.utils.secrets import masked
from sage_bench.utils.typed_files import read_bytes

SCHEMA = 2  # of the fingerprint; samples of another one are never gone on with
# the parts of lm-eval's results that hold one entry a task
MERGED = (
    "results",
    "groups",
    "group_subtasks",
    "configs",
    "versions",
    "n-shot",
    "higher_is_better",
    "n-samples",
    "task_hashes",
)
Differences = dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """explanation: what differs from the nearest run of the same model, "" when nothing does.
    unreadable: what is wrong with other folders beside it, which were passed over."""

    folder: Path
    explanation: str = ""
    unreadable: tuple[str, ...] = ()


def fingerprint(
    sampler: Mapping[str, Any],
    seed: int,
    limit: int | None,
    sampling: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that decides the samples except how many there are: weights, template, seed,
    sampling, and of each task its prompt, sampling and data."""
    value = {
        "schema": SCHEMA,
        "sampler": sampler,
        "seed": seed,
        "limit": limit,
        "sampling": dict(sampling),
        "tasks": tasks,
    }
    # as it will be read from the manifest: tuples are lists there
    as_stored: dict[str, Any] = json.loads(json.dumps(masked(value), default=str))
    return as_stored


def choose(parent: Path, wanted: Mapping[str, Any]) -> RunFolder:
    """The run folder under `parent` (all runs of one model name).

    Tasks are not part of the name, so that more of them can join a run later. A run is gone on with
    when everything but its tasks agrees and no task that both know has changed; of several, the one
    that shares most tasks. Raises `DataError` when the manifest of the folder that would be taken
    cannot be read; one elsewhere is told and passed over.
    """
    runs, broken = _fingerprints(parent)
    common = {k: v for k, v in wanted.items() if k != "tasks"}
    base = parent / _name(common)
    told = tuple(str(error) for error in broken.values())
    shared = {
        folder: sum(task in found["tasks"] for task in wanted["tasks"])
        for folder, found in runs.items()
        if not difference(found, wanted)
    }
    if shared:
        best = max(shared, key=lambda folder: (shared[folder], folder == base))
        return RunFolder(best, unreadable=told)
    if base in broken:
        raise broken[base]
    folder = parent / _name(wanted) if base in runs else base
    if not runs:
        return RunFolder(folder, unreadable=told)
    nearest = min(runs, key=lambda f: (len(difference(runs[f], wanted)), f != base))
    changes = difference(runs[nearest], wanted)
    lines = [f"  {key}: {old} -> {new}" for key, (old, new) in changes.items()]
    explanation = "\n".join(
        [f"new run folder {folder}; {nearest.name} beside it differs in", *lines]
    )
    return RunFolder(folder, explanation, told)


def _fingerprints(parent: Path) -> tuple[dict[Path, dict[str, Any]], dict[Path, DataError]]:
    runs: dict[Path, dict[str, Any]] = {}
    broken: dict[Path, DataError] = {}
    for folder in sorted(parent.glob("*")):
        try:
            manifest = read_manifest(folder)
        except DataError as error:
            broken[folder] = error
            continue
        if manifest is not None:
            runs[folder] = manifest.fingerprint
    return runs, broken


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Differences:
    """Dotted keys whose values differ, with both values. Tasks that only one of them has are no
    difference.

    >>> before = {"seed": 0, "tasks": {"a": {"data_rev": 1}, "b": {}}}
    >>> difference(before, {"seed": 0, "tasks": {"a": {"data_rev": 2}}})
    {'tasks.a.data_rev': ('1', '2')}
    """
    both = sorted(set(old.get("tasks", {})) & set(new.get("tasks", {})))
    out = _differences("", _without_tasks(old), _without_tasks(new))
    for task in both:
        out |= _differences(f"tasks.{task}.", old["tasks"][task], new["tasks"][task])
    return out


def _without_tasks(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fingerprint.items() if k != "tasks"}


def _differences(prefix: str, old: Any, new: Any) -> Differences:
    before = _flat(old, prefix)
    now = _flat(new, prefix)
    changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    return {k: (_short(before.get(k)), _short(now.get(k))) for k in changed}


def merge_results(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's results of this call over those of earlier calls with other tasks.

    >>> merge_results({"results": {"a": 1}, "date": 1}, {"results": {"b": 2}, "date": 2})
    {'results': {'a': 1, 'b': 2}, 'date': 2}
    """
    merged = dict(new)
    for key in MERGED:
        if isinstance(new.get(key), dict):
            merged[key] = {**old.get(key, {}), **new[key]}
    return merged


def read_manifest(folder: Path) -> EvalManifest | None:
    """The manifest of an evaluation, None where there is none. Raises `DataError`."""
    return EvalManifest.read_or_none(folder / "manifest.json")


def read_results(folder: Path) -> dict[str, Any]:
    """lm-eval's results of earlier calls, {} when there are none or the file is damaged: it is
    written anew from the samples."""
    file = folder / "results.json"
    if not file.exists():
        return {}
    try:
        found = json.loads(read_bytes(file, "remove it"))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _name(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix.rstrip("."): value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}{name}.")
    return flat


def _short(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
