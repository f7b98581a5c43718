"""Read run folders: what was trained, what it scored, question by question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sage_bench.evaluation.grades import load_grades
from sage_bench.evaluation.tasks.spec import in_order
from sage_bench.training.ledger import no_signal_share
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_jsonl


@dataclass(frozen=True)
class TaskResult:
    """One benchmark of one run. means: score of each complete question, (N,) in [0, 1]; the rest
    are shares and means over samples.

    questions: names of the same N questions, to pair them with another run's. doc_ids: their
    numbers in the store.
    """

    means: NDArray[np.float64]
    samples: int
    tokens: float
    truncated: float
    no_answer: float
    timeouts: int
    status: str  # "ok", or "partial 412/480"
    tokens_median: float = float("nan")
    questions: tuple[str, ...] = ()
    doc_ids: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The questions' names, or their numbers where nobody named them."""
        return self.questions or tuple(map(str, range(len(self.means))))

    @property
    def right(self) -> NDArray[np.int64]:
        """Right samples of each question, (N,)."""
        return np.rint(self.means * self.samples).astype(np.int64)


@dataclass(frozen=True)
class EvalRun:
    """One evaluated model. model: the preset it is or was trained from, else what was given to
    `eval`."""

    folder: Path
    model: str
    method: str
    label: Mapping[str, Any]
    tasks: Mapping[str, TaskResult]
    manifest: Mapping[str, Any]

    @property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        return {t: r.means for t, r in self.tasks.items()}

    @property
    def partial(self) -> bool:
        """Some questions lack samples."""
        return any(r.status != "ok" for r in self.tasks.values())

    @property
    def limited(self) -> str:
        """The watermark of a run that was asked the first questions only (`--limit`), or an empty
        string."""
        limit = self.manifest.get("limit")
        return f"LIMITED to the first {limit} questions of each task" if limit else ""


@dataclass(frozen=True)
class TrainRun:
    """One training run: its numbers step by step and group by group."""

    folder: Path
    backend: str
    config: Mapping[str, Any]
    metrics: pd.DataFrame
    validation: pd.DataFrame
    ledger: list[dict[str, Any]] = field(repr=False)

    def no_signal(self, until: int | None = None) -> float | None:
        return no_signal_share(self.ledger, until)

    def rollouts(self, until: int | None = None) -> int:
        return sum(r["rollouts"] for r in self.ledger if until is None or r["step"] < until)

    def extra_rollouts(self, until: int | None = None) -> int:
        """Completions beyond one group for every prompt that was trained on."""
        group = self.config.get("method.group_size", 8)
        return sum(
            max(0, r["rollouts"] - (0 if r.get("dropped") else group))
            for r in self.ledger
            if until is None or r["step"] < until
        )


def kind_of(folder: Path) -> str:
    """ "train" or "eval". Raises `UsageError` for a folder that is no run."""
    file = folder / "manifest.json"
    if not file.is_file():
        raise UsageError(
            "this is no run folder: manifest.json is missing",
            where=str(folder),
            remedy="give the --out of a train run, or the folder eval printed",
        )
    return json.loads(file.read_text(encoding="utf-8"))["kind"]


def find_runs(folder: Path) -> list[Path]:
    """The run folders at or below a folder, sorted."""
    if (folder / "manifest.json").is_file():
        return [folder]
    return sorted(
        p.parent
        for p in folder.rglob("manifest.json")
        if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


def read_eval(folder: Path, grader: str | None = None) -> EvalRun:
    """grader: whose grades, the run's own unless named. Raises `DataError` when nothing is graded
    in it, or not by that one."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["grader"] = grader or manifest["grader"]
    grades = load_grades(folder, grader)
    if grades.empty:
        raise DataError(
            "no graded sample",
            where=str(folder),
            remedy="run the same `sage-bench eval` command again",
        )
    tasks = {
        t: _task_result(rows, manifest["tasks"][t])
        for t in in_order(manifest["tasks"])
        if len(rows := grades[grades.task == t])
    }
    label = manifest["label"]
    return EvalRun(
        folder,
        label.get("preset") or manifest["model"],
        label.get("method") or "base",
        label,
        tasks,
        manifest,
    )


def _task_result(rows: pd.DataFrame, n: int) -> TaskResult:
    by_question = rows.groupby("doc_id")["correct"]
    complete = by_question.count() == n
    means = (
        by_question.mean()[complete].sort_index().to_numpy(float)
    )  # a question with missing samples is no question with wrong ones
    asked = len(by_question)
    status = "ok" if complete.all() else f"partial {len(rows)}/{asked * n}"
    doc_ids = sorted(complete.index[complete])
    uids = rows.groupby("doc_id")["uid"].first()[doc_ids].astype(str)
    return TaskResult(
        means,
        n,
        float(rows.tokens.mean()),
        float((rows.finish == "length").mean()),
        float((rows.status == "no_answer").mean()),
        int((rows.status == "timeout").sum()),
        status,
        float(rows.tokens.median()),
        tuple(uids if uids.is_unique else map(str, doc_ids)),
        tuple(map(int, doc_ids)),
    )


def read_train(folder: Path) -> TrainRun:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["values"]
    metrics = pd.DataFrame(list(read_jsonl(folder / "metrics.jsonl")))
    validation = pd.DataFrame(list(read_jsonl(folder / "validation.jsonl")))
    return TrainRun(
        folder,
        config["backend"],
        config,
        metrics,
        validation,
        list(read_jsonl(folder / "ledger.jsonl")),
    )
