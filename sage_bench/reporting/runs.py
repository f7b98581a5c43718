"""Read run folders: what was trained, what it scored, question by question."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sage_bench.data.schema import (
    LEDGER,
    METRICS,
    VALIDATION,
    EvalManifest,
    Manifest,
    TrainConfig,
)
from sage_bench.evaluation.grades import load_grades, questions_asked
from sage_bench.evaluation.tasks.spec import in_order
from sage_bench.training.no_signal import no_signal_share
from sage_bench.utils.errors import DataError, SageBenchError, UsageError
from sage_bench.utils.progress import stderr

Run = TypeVar("Run")


@dataclass(frozen=True)
class TaskResult:
    """One benchmark of one run.

    means: score of each complete question, (N,) in [0, 1]. tokens, truncated, no_answer: means and
    shares over samples. status: "ok", or "partial 412/480" samples. questions: names of the same N
    questions, to pair them with another run's. doc_ids: their numbers in the store.
    """

    means: NDArray[np.float64]
    samples: int
    tokens: float
    truncated: float
    no_answer: float
    timeouts: int
    status: str
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
    """One evaluated model.

    model: the preset it is or was trained from, else what was given to `eval`.
    """

    folder: Path
    model: str
    method: str
    label: Mapping[str, Any]
    tasks: Mapping[str, TaskResult]
    manifest: Mapping[str, Any]
    # tasks that were asked and have no question with all its samples: "partial 0/200"
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        return {t: r.means for t, r in self.tasks.items()}

    @property
    def partial(self) -> bool:
        """Some questions lack samples."""
        return bool(self.missing) or any(r.status != "ok" for r in self.tasks.values())

    @property
    def lacking(self) -> dict[str, str]:
        """The status of every task that lacks samples."""
        statuses = {t: r.status for t, r in self.tasks.items() if r.status != "ok"}
        return statuses | dict(self.missing)

    @property
    def limited(self) -> str:
        """The watermark of a run that was asked the first questions only (`--limit`), or ""."""
        limit = self.manifest.get("limit")
        return f"LIMITED to the first {limit} questions of each task" if limit else ""


# what only run folders hold, beside the samples of an evaluation
TRACES = {"manifest.json", "ledger.jsonl"}


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
        """Share of training prompts without a signal in the steps before `until`."""
        return no_signal_share(self.ledger, until)

    def rollouts(self, until: int | None = None) -> int:
        """Completions sampled in the steps before `until`."""
        return sum(r["rollouts"] for r in self._ledger_until(until))

    def extra_rollouts(self, until: int | None = None) -> int:
        """Completions beyond one group for every prompt that was trained on."""
        group = self.config.get("method.group_size", 8)
        extra = 0
        for row in self._ledger_until(until):
            trained_on = 0 if row.get("dropped") else group
            extra += max(0, row["rollouts"] - trained_on)
        return extra

    def _ledger_until(self, until: int | None) -> list[dict[str, Any]]:
        return [r for r in self.ledger if until is None or r["step"] < until]


def kind_of(folder: Path) -> str:
    """Whether a folder holds a training run ("train") or an evaluation ("eval").

    Raises `UsageError` for a folder that is not a run.
    """
    file = folder / "manifest.json"
    if not file.is_file():
        raise UsageError(
            "this is not a run folder: manifest.json is missing",
            where=str(folder),
            remedy="give the --out of a train run, or the folder eval printed",
        )
    return Manifest.read(file).kind


def find_runs(folder: Path) -> list[Path]:
    """The run folders at or below a folder, sorted; also those that have lost their manifest, which
    readers refuse with that reason instead of never seeing them."""
    if (folder / "manifest.json").is_file():
        return [folder]
    found = []
    for place, folders, files in os.walk(folder):
        # hidden folders hold what was put aside, e.g. by --overwrite
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(place)
        if not TRACES.isdisjoint(files) or any((here / "samples").glob("*.jsonl")):
            found.append(here)
    return sorted(found)


def read_eval(
    folder: Path, grader: str | None = None, grades: pd.DataFrame | None = None
) -> EvalRun:
    """An evaluation from its folder.

    grader: whose grades, the run's own unless named. grades: what `load_grades` returned for it,
    where that was asked before. Raises `DataError` when nothing in it is graded, or not by that
    one.
    """
    manifest = EvalManifest.read(folder / "manifest.json")
    manifest.grader = grader or manifest.grader
    grades = load_grades(folder, grader) if grades is None else grades
    if grades.empty:
        raise DataError(
            "no graded sample",
            where=str(folder),
            remedy="run the same `sage-bench eval` command again",
        )
    asked = questions_asked(folder, manifest)
    tasks: dict[str, TaskResult] = {}
    missing: dict[str, str] = {}
    for task in in_order(manifest.tasks):
        rows = grades[grades.task == task]
        result = _task_result(rows, manifest.tasks[task], asked[task])
        if len(result.means):
            tasks[task] = result
        else:
            missing[task] = result.status
    label = manifest.label
    model = label.get("preset") or manifest.model
    method = label.get("method") or "base"
    values = manifest.model_dump(by_alias=True)
    return EvalRun(folder, model, method, label, tasks, values, missing)


def _task_result(rows: pd.DataFrame, samples: int, asked: int) -> TaskResult:
    """One benchmark from its graded samples. asked: questions, those without any sample too."""
    by_question = rows.groupby("doc_id")["correct"]
    # a question with missing samples is left out: its missing samples are not wrong ones
    complete = by_question.count() == samples
    means = by_question.mean()[complete].sort_index().to_numpy(float)
    is_whole = int(complete.sum()) == asked
    status = "ok" if is_whole else f"partial {len(rows)}/{asked * samples}"
    doc_ids = sorted(complete.index[complete])
    uids = rows.groupby("doc_id")["uid"].first()[doc_ids].astype(str)
    return TaskResult(
        means=means,
        samples=samples,
        tokens=float(rows.tokens.mean()),
        truncated=float((rows.finish == "length").mean()),
        no_answer=float((rows.status == "no_answer").mean()),
        timeouts=int((rows.status == "timeout").sum()),
        status=status,
        tokens_median=float(rows.tokens.median()),
        questions=tuple(uids if uids.is_unique else map(str, doc_ids)),
        doc_ids=tuple(map(int, doc_ids)),
    )


def read_train(folder: Path) -> TrainRun:
    """A training run from its folder, finished or not. Raises `DataError` naming a file that is
    damaged."""
    config = TrainConfig.read(folder / "config.json").values
    return TrainRun(
        folder,
        str(config["backend"]),
        config,
        metrics=pd.DataFrame(list(METRICS.read(folder / "metrics.jsonl"))),
        validation=pd.DataFrame(list(VALIDATION.read(folder / "validation.jsonl"))),
        ledger=[dict(row) for row in LEDGER.read(folder / "ledger.jsonl")],
    )


def readable(
    folders: Sequence[Path],
    read: Callable[[Path], Run],
    errors: dict[Path, SageBenchError] | None = None,
) -> dict[Path, Run]:
    """Every run that can be read; one that cannot is told on standard error and passed over.

    errors: is filled with the reasons. Raises the error of the first one when none can be read.
    """
    found: dict[Path, Run] = {}
    errors = {} if errors is None else errors
    for folder in folders:
        try:
            found[folder] = read(folder)
        except SageBenchError as error:
            errors[folder] = error
    if errors and not found:
        raise next(iter(errors.values()))
    for passed_over in errors.values():
        stderr().print(f"passed over: {passed_over}")
    return found


def find_kind(folder: Path, kind: str) -> list[Path]:
    """The runs of one kind at or below a folder; those whose manifest cannot be read are told and
    passed over."""
    kinds = readable(find_runs(folder), kind_of)
    return [found for found, its_kind in kinds.items() if its_kind == kind]
