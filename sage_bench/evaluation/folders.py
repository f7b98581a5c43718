"""Which folder a run belongs to: the one whose fingerprint agrees, or a new one and a word on what
changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 2  # of manifest.json; a folder of another schema is never gone on with
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
)  # of lm-eval, by task


@dataclass(frozen=True, slots=True)
class Place:
    """news: what differs from the nearest run of the same model, "" when there is nothing to
    tell."""

    folder: Path
    news: str = ""


def fingerprint(
    sampler: Mapping[str, Any],
    seed: int,
    limit: int | None,
    sampling: Mapping[str, Any],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that decides the samples except how many there are: weights, template, seed,
    sampling, and of each task its prompt, sampling and data."""
    return json.loads(
        json.dumps(
            {
                "schema": SCHEMA,
                "sampler": sampler,
                "seed": seed,
                "limit": limit,
                "sampling": dict(sampling),
                "tasks": tasks,
            },
            default=str,
        )
    )


def choose(parent: Path, wanted: Mapping[str, Any]) -> Place:
    """The run folder under `parent` (all runs of one model name).

    Tasks are not part of the name, so that more of them can join a run later. A run is gone on with
    when everything but its tasks agrees and no task that both know has changed; of several, the one
    that shares most tasks.
    """
    runs = {
        f: read_manifest(f).get("fingerprint", {})
        for f in sorted(parent.glob("*"))
        if (f / "manifest.json").is_file()
    }
    common = {k: v for k, v in wanted.items() if k != "tasks"}
    base = parent / _name(common)
    fits = {
        f: sum(t in p["tasks"] for t in wanted["tasks"])
        for f, p in runs.items()
        if not difference(p, wanted)
    }
    if fits:
        return Place(max(fits, key=lambda f: (fits[f], f == base)))
    folder = base if base not in runs else parent / _name(wanted)
    if not runs:
        return Place(folder)
    nearest = min(runs, key=lambda f: (len(difference(runs[f], wanted)), f != base))
    lines = [
        f"  {key}: {old} -> {new}" for key, (old, new) in difference(runs[nearest], wanted).items()
    ]
    return Place(
        folder, f"new run folder {folder}; {nearest.name} beside it differs in\n" + "\n".join(lines)
    )


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted keys whose values differ, with both values. Tasks that only one of them has are no
    difference.

    >>> difference({"seed": 0, "tasks": {"a": {"data_rev": 1}, "b": {}}}, {"seed": 0, "tasks": {"a": {"data_rev": 2}}})
    {'tasks.a.data_rev': ('1', '2')}
    """
    both = sorted(set(old.get("tasks", {})) & set(new.get("tasks", {})))
    pairs = [
        ("", *({k: v for k, v in x.items() if k != "tasks"} for x in (old, new))),
        *((f"tasks.{t}.", old["tasks"][t], new["tasks"][t]) for t in both),
    ]
    out = {}
    for prefix, before, after in pairs:
        a, b = _flat(before, prefix), _flat(after, prefix)
        out |= {
            k: (_short(a.get(k)), _short(b.get(k)))
            for k in sorted(a.keys() | b.keys())
            if a.get(k) != b.get(k)
        }
    return out


def merge_results(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """lm-eval's results of this call over those of earlier calls with other tasks.

    >>> merge_results({"results": {"a": 1}, "date": 1}, {"results": {"b": 2}, "date": 2})
    {'results': {'a': 1, 'b': 2}, 'date': 2}
    """
    return {
        k: {**old.get(k, {}), **v} if k in MERGED and isinstance(v, dict) else v
        for k, v in new.items()
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    return read_json(folder / "manifest.json")


def read_json(file: Path) -> dict[str, Any]:
    """The content of a file, {} when there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _name(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {
            k: v
            for name, inner in value.items()
            for k, v in _flat(inner, f"{prefix}{name}.").items()
        }
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
