"""What a run folder is doing, from its files and its lock alone.

Nothing is asked of the process, nothing is changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from sage_bench.data.schema import METRICS, SAMPLES, EvalManifest, TrainConfig, TrainStatus
from sage_bench.evaluation.grades import questions_asked
from sage_bench.reporting.runs import find_runs, kind_of
from sage_bench.utils.errors import SageBenchError, UsageError

State = Literal[
    "running",
    "done",
    "interrupted",
    "failed",
    "died",
    "incomplete",
    "not begun",
    "unreadable",
]
RECENT = 20  # steps the remaining time of a training run is estimated from
RECENT_SAMPLES = 400


@dataclass(frozen=True)
class RunStatus:
    """Where one run stands.

    state: running (its lock is held); done; interrupted (somebody stopped it); failed (with its
    error in `note`); died (it says running, but no process holds its lock); incomplete (an
    evaluation lacks samples and nobody draws them); not begun; unreadable (a file of it is damaged,
    named in `note`). done of total are steps or samples;
    eta: seconds; idle: seconds since it last wrote a result; parts: the same by task.
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
        """Plain values, for JSON."""
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
    now = now or time.time()
    rows = []
    for run in found:
        try:
            rows.append(_train(run, now) if kind_of(run) == "train" else _eval(run, now))
        except SageBenchError as error:
            # one damaged folder never hides the others
            rows.append(RunStatus(str(run), "?", "unreadable", 0, None, "", note=str(error)))
    return rows


def lock_holder(folder: Path) -> int | None:
    """The process that writes to this folder now, or None.

    Looks the lock up in /proc/locks, so that it is not taken even for a moment; where there is no
    such file, asks whether the process that last took it lives.
    """
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
    held = any(_holds(line.split(), inode) for line in locks)
    return pid if held else None


def _holds(words: list[str], inode: int) -> bool:
    """Whether a line of /proc/locks is a lock held on a file; `->` marks one that waits for it."""
    return "->" not in words and words[1] == "FLOCK" and words[5].rsplit(":", 1)[-1] == str(inode)


def _train(folder: Path, now: float) -> RunStatus:
    stated = TrainStatus.read_or_none(folder / "status.json")
    pid = lock_holder(folder)
    steps = list(METRICS.read(folder / "metrics.jsonl"))
    done = len(steps) if stated is None else stated.step
    total = stated.steps if stated else None
    if total is None:
        config = TrainConfig.read_or_none(folder / "config.json")
        total = config.values.get("train.steps") if config else None
    state = cast(State, stated.state if stated else "not begun")
    if pid:
        state = "running"
    elif state == "running":
        state = "died"
    recent: list[dict[str, Any]] = [dict(row) for row in steps[-RECENT:]]
    seconds = [r["seconds/step"] for r in recent if r.get("seconds/step")]
    eta = None
    if seconds and total and state == "running":
        eta = sum(seconds) / len(seconds) * (total - done)
    note = ""
    if stated and stated.error:
        note = stated.error
    elif stated and stated.reward is not None:
        note = f"reward {stated.reward:.3f}"
    if state == "running" and stated and stated.activity:
        # its age tells work that takes long from a grader or a generator that hangs
        age = "" if stated.time is None else f" since {max(0.0, now - stated.time):.0f} s"
        note = f"{note}; {stated.activity}{age}".removeprefix("; ")
    return RunStatus(
        folder=str(folder),
        kind="train",
        state=state,
        done=done,
        total=total,
        unit="steps",
        pid=pid,
        eta=eta,
        idle=_idle(folder / "metrics.jsonl", now),
        note=note,
    )


def _eval(folder: Path, now: float) -> RunStatus:
    manifest = EvalManifest.read(folder / "manifest.json")
    asked = questions_asked(folder, manifest)
    pid = lock_holder(folder)
    parts: dict[str, dict[str, Any]] = {}
    times: list[float] = []
    for task, n in manifest.tasks.items():
        parts[task], drawn_at = _task_progress(folder, task, n, asked[task])
        times += drawn_at
    done = sum(p["done"] for p in parts.values())
    total = sum(p["total"] for p in parts.values())
    graded = bool(parts) and all(p["graded"] for p in parts.values())
    recent = sorted(times)[-RECENT_SAMPLES:]
    eta = None
    if pid and len(recent) > 1 and recent[-1] > recent[0]:
        rate = (len(recent) - 1) / (recent[-1] - recent[0])
        eta = (total - done) / rate
    skipped = manifest.skipped
    return RunStatus(
        folder=str(folder),
        kind="eval",
        state=_eval_state(bool(pid), done, total, graded),
        done=done,
        total=total,
        unit="samples",
        pid=pid,
        eta=eta,
        idle=max(0.0, now - recent[-1]) if recent else None,
        note=f"without {', '.join(skipped)}" if skipped else "",
        parts=parts,
    )


def _eval_state(running: bool, done: int, total: int | None, graded: bool) -> State:
    if running:
        return "running"
    if graded and done == total:
        return "done"
    return "incomplete" if done else "not begun"


def _task_progress(
    folder: Path, task: str, n: int, asked: int
) -> tuple[dict[str, Any], list[float]]:
    """{"done", "total", "graded"} of one task, and when each of its samples was drawn."""
    # a sample that was drawn twice counts once
    drawn_at = {}
    for row in SAMPLES.read(folder / "samples" / f"{task}.jsonl"):
        if row["sample"] < n:
            drawn_at[row["doc_id"], row["sample"]] = row.get("time", 0.0)
    progress = {
        "done": len(drawn_at),
        "total": asked * n,
        "graded": any((folder / "grades").glob(f"{task}.*.jsonl")),
    }
    return progress, list(drawn_at.values())


def _idle(file: Path, now: float) -> float | None:
    return max(0.0, now - file.stat().st_mtime) if file.exists() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
