"""What a run folder is doing, from its files and its lock alone: nothing is asked of the process,
nothing is changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sage_bench.reporting.runs import find_runs
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl

State = Literal["running", "done", "interrupted", "failed", "died", "incomplete", "not begun"]
RECENT = 20  # steps the remaining time of a training run is estimated from
RECENT_SAMPLES = 400


@dataclass(frozen=True)
class RunStatus:
    """state: running (its lock is held); done; interrupted (somebody stopped it); failed (with its
    error in `note`); died (it says running, but no process holds its lock); incomplete (an
    evaluation lacks samples and nobody draws them); not begun. done of total are steps or samples;
    eta in seconds; idle: seconds since it last wrote a result; parts: the same by task.
    """

    folder: str
    kind: str
    state: State
    done: int
    total: int | None
    unit: str
    pid: int | None = None
    eta: float | None = None
    idle: float | None = None
    note: str = ""
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(folder: Path, now: float | None = None) -> list[RunStatus]:
    """Every run at or below a folder. Raises `UsageError` when there is none."""
    found = find_runs(folder) if folder.is_dir() else []
    if not found:
        raise UsageError(
            "there is no run in this folder: no manifest.json at or below it",
            where=str(folder),
            remedy="give the --out of `train`, `eval` or `demo`",
        )
    return [
        (
            _train(f, now or time.time())
            if _json(f / "manifest.json").get("kind") == "train"
            else _eval(f, now or time.time())
        )
        for f in found
    ]


def lock_holder(folder: Path) -> int | None:
    """The process that writes to this folder now, or None. Looks the lock up in /proc/locks, so
    that it is not taken even for a moment; where there is none, asks whether the process that last
    took it lives."""
    file = folder / ".lock"
    try:
        inode, text = file.stat().st_ino, file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    pid = int(text) if text.isdigit() else None
    try:
        locks = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return pid if pid is not None and _alive(pid) else None
    held = [
        w
        for line in locks
        if "->" not in (w := line.split())
        and w[1] == "FLOCK"
        and w[5].rsplit(":", 1)[-1] == str(inode)
    ]
    return pid if held else None


def _train(folder: Path, now: float) -> RunStatus:
    said, pid = _json(folder / "status.json"), lock_holder(folder)
    steps = list(read_jsonl(folder / "metrics.jsonl"))
    done, total = (
        int(said.get("step", len(steps))),
        said.get("steps") or _json(folder / "config.json").get("values", {}).get("train.steps"),
    )
    seconds = [r["seconds/step"] for r in steps[-RECENT:] if r.get("seconds/step")]
    stated = said.get("state")
    state: State = (
        "running" if pid else "died" if stated == "running" else stated if stated else "not begun"
    )
    eta = (
        sum(seconds) / len(seconds) * (total - done)
        if seconds and total and state == "running"
        else None
    )
    reward = said.get("reward")
    note = said.get("error") or (f"reward {reward:.3f}" if isinstance(reward, float) else "")
    return RunStatus(
        str(folder),
        "train",
        state,
        done,
        total,
        "steps",
        pid,
        eta,
        _idle(folder / "metrics.jsonl", now),
        note,
    )


def _eval(folder: Path, now: float) -> RunStatus:
    manifest, pid = _json(folder / "manifest.json"), lock_holder(folder)
    parts: dict[str, dict[str, Any]] = {}
    times: list[float] = []
    for task, n in manifest.get("tasks", {}).items():
        questions = _questions(folder, manifest, task)
        rows = {
            (r["doc_id"], r["sample"]): r.get("time", 0.0)
            for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
            if r["sample"] < n
        }
        times += rows.values()
        total = None if questions is None else questions * n
        graded = any((folder / "grades").glob(f"{task}.*.jsonl"))
        parts[task] = {"done": len(rows), "total": total, "graded": graded}
    done, totals = sum(p["done"] for p in parts.values()), [p["total"] for p in parts.values()]
    total = None if None in totals else sum(totals)
    state: State = (
        "running"
        if pid
        else (
            "done"
            if parts and done == total and all(p["graded"] for p in parts.values())
            else "incomplete"
            if done
            else "not begun"
        )
    )
    recent = sorted(times)[-RECENT_SAMPLES:]
    rate = (
        (len(recent) - 1) / (recent[-1] - recent[0])
        if len(recent) > 1 and recent[-1] > recent[0]
        else None
    )
    eta = (total - done) / rate if rate and total is not None and state == "running" else None
    skipped = manifest.get("skipped") or {}
    note = f"without {', '.join(skipped)}" if skipped else ""
    return RunStatus(
        str(folder),
        "eval",
        state,
        done,
        total,
        "samples",
        pid,
        eta,
        max(0.0, now - recent[-1]) if recent else None,
        note,
        parts,
    )


def _questions(folder: Path, manifest: Mapping[str, Any], task: str) -> int | None:
    written = folder / "questions" / f"{task}.json"
    if written.exists():
        return len(json.loads(written.read_text(encoding="utf-8")))
    n = manifest.get("sampling", {}).get(task, {}).get("questions")
    return n if n is None else min(n, manifest.get("limit") or n)


def _idle(file: Path, now: float) -> float | None:
    return max(0.0, now - file.stat().st_mtime) if file.exists() else None


def _json(file: Path) -> dict[str, Any]:
    """What a file says, {} when it is not there; files are replaced whole, so it is never
    half-written."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
