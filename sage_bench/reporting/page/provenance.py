"""Where numbers come from: what each run asked, with what, and what decided its grades."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.data.schema import GraderRecord, TrainManifest, TrainStatus
from sage_bench.evaluation.grades import graders_of
from sage_bench.reporting.runs import EvalRun, TrainRun

Facts = dict[str, Any]  # a value is a text, or again facts
SAMPLING = ("temperature", "top_p", "max_gen_toks", "until", "prompt_id", "data_rev")


def date(seconds: float | None) -> str:
    """A day and time, in UTC.

    >>> date(0), date(None)
    ('1970-01-01 00:00 UTC', '')
    """
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def eval_facts(run: EvalRun, grader: str | None) -> Facts:
    """An evaluation: model, questions, sampling, grades, packages."""
    manifest = run.manifest
    asked = {t: f"{n} samples a question" for t, n in manifest["tasks"].items()}
    for task, result in run.tasks.items():
        state = "" if result.status == "ok" else f", {result.status}"
        asked[task] = f"{len(result.means)} questions × {result.samples} samples{state}"
    for task, status in run.missing.items():
        asked[task] = status
    facts: Facts = {
        "model": manifest["model"],
        "policy": _known(run.label),
        "folder": str(run.folder),
        "fingerprint": run.folder.name,
        "written": date(last_written(run.folder)),
        "benchmarks": asked,
        "sampling": sampling_facts(manifest["sampling"]),
        "sampling seed": manifest.get("seed", 0),
        "limited": run.limited,
        "grades": grader_facts(run.folder, grader or manifest["grader"]),
        "gold corrections": manifest.get("gold_corrections", ""),
        "skipped benchmarks": {t: v.get("why", "") for t, v in manifest["skipped"].items()},
        "packages": manifest.get("versions", {}),
    }
    return {name: value for name, value in facts.items() if value not in ("", {}, None)}


def sampling_facts(sampling: Mapping[str, Mapping[str, Any]]) -> Facts:
    """How samples were drawn: one line for all benchmarks where they agree."""
    lines = {t: _line({k: v.get(k) for k in SAMPLING}) for t, v in sampling.items()}
    if len(set(lines.values())) > 1:
        return lines
    return {"all benchmarks": next(iter(lines.values()), "")}


def grader_facts(folder: Path, decides: str) -> Facts:
    """The graders of a run and their versions; the one that decides is named."""
    found: Facts = {}
    for grader in graders_of(folder):
        record = GraderRecord.read_or_none(folder / "grades" / f"{grader}.json")
        version = "" if record is None else record.version
        says = "decides" if grader in decides.split(",") else "beside it"
        found[grader] = f"{says}; {version}".rstrip("; ")
    return found


def train_facts(run: TrainRun) -> Facts:
    """A training run: model, data, method and settings, how far it is, packages."""
    manifest = TrainManifest.read(run.folder / "manifest.json")
    status = TrainStatus.read_or_none(run.folder / "status.json")
    facts: Facts = {
        "method": run.backend,
        "switches": _known(manifest.method),
        "model": manifest.model,
        "folder": str(run.folder),
        "state": "" if status is None else train_state(status),
        "written": date(None if status is None else status.time),
        "data": _known(manifest.data),
        "grader": manifest.grader,
        "engine": _known(manifest.engine),
        "settings": _known(run.config),
        "identity": dict(manifest.identity),
        "accepted changes": "; ".join(str(c.get("what", c)) for c in manifest.accepted_changes),
        "columns the data lacked": ", ".join(manifest.degraded),
        "recorded groups": manifest.recorded,
        "packages": manifest.versions,
    }
    return {name: value for name, value in facts.items() if value not in ("", {}, None)}


def train_state(status: TrainStatus) -> str:
    """`done, 40 of 40 steps`, with the error of a failed run."""
    of = f" of {status.steps}" if status.steps is not None else ""
    error = f": {status.error}" if status.error else ""
    return f"{status.state}, {status.step}{of} steps{error}"


def last_written(folder: Path) -> float | None:
    """When the newest sample of an evaluation was stored, by its files."""
    return max((f.stat().st_mtime for f in (folder / "samples").glob("*.jsonl")), default=None)


def _known(values: Mapping[str, Any]) -> Facts:
    return {k: _text(v) for k, v in values.items() if v is not None}


def _line(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {_text(v)}" for k, v in values.items() if v not in (None, []))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
