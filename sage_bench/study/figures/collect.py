"""The runs of a study's folder: each evaluation with the training run it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sage_bench.generation.model_folders import preset_of
from sage_bench.reporting.protocols import model_names
from sage_bench.reporting.runs import (
    EvalRun,
    TrainRun,
    find_kind,
    read_eval,
    read_train,
    readable,
)
from sage_bench.reporting.selected import counting
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_json

TRAINING_TASKS = "train_"  # what a policy does on its training prompts is no benchmark


@dataclass(frozen=True)
class StudyRun:
    """One row of the study, of one seed: evaluated, trained, or both.

    method: as the tables call it. seed: None of a policy that was not trained.
    """

    model: str
    method: str
    seed: Any
    evaluated: EvalRun | None
    trained: TrainRun | None

    def setting(self, key: str, default: Any = None) -> Any:
        """A key of the training's configuration, e.g. `method.fixed_level`."""
        return default if self.trained is None else self.trained.config.get(key, default)


def collect(folder: Path) -> tuple[list[StudyRun], list[EvalRun]]:
    """Rows of the study, and evaluations of training prompts (tasks `train_...`).

    Rows of a matrix come in the order of its file, others in that of their folders' names.

    Raises `UsageError` for a folder without a run.
    """
    found = list(readable(find_kind(folder, "eval"), read_eval).values())
    trains = list(readable(find_kind(folder, "train"), read_train).values())
    if not found and not trains:
        raise UsageError(
            "there is no run here",
            where=str(folder),
            remedy="give the folder of a study, e.g. the --out of `sage-bench matrix`",
        )
    on_prompts = [run for run in found if all(t.startswith(TRAINING_TASKS) for t in run.tasks)]
    evals = counting([run for run in found if run not in on_prompts])
    names = model_names(evals) if evals else {}
    trained = {run.folder: training_of(run, trains) for run in evals}
    uses = Counter(train.folder for train in trained.values() if train is not None)
    rows = []
    for run in evals:
        train = trained[run.folder]
        if train is not None and uses[train.folder] > 1:
            train = until(train, run.label.get("step"))
        seed = run.label.get("train_seed")
        rows.append(StudyRun(names[run.folder], run.method, seed, run, train))
    for train in trains:
        if train.folder not in uses:
            rows.append(_without_evaluation(train))
    return sorted(rows, key=order_of(folder)), on_prompts


def order_of(folder: Path) -> Callable[[StudyRun], int]:
    """The place of a row in the matrix of the folder; a row at an equal budget follows its own.

    Without a matrix all places are equal, so that what is sorted by them stays as it is.
    """
    file = folder / "matrix.json"
    names: list[str] = []
    if file.is_file():
        names = [entry["name"] for entry in read_json(file)["backends"]]
    places = {name: i for i, name in enumerate(names)}

    def place(row: StudyRun) -> int:
        return places.get(row.method.split(",")[0], len(names))

    return place


def until(train: TrainRun, step: int | None) -> TrainRun:
    """The steps of a training run before `step`, where several rows are stages of one training."""
    if step is None or train.metrics.empty:
        return train
    metrics = train.metrics[train.metrics.step < step]
    ledger = [row for row in train.ledger if row["step"] < step]
    return replace(train, metrics=metrics, ledger=ledger)


def training_of(run: EvalRun, trains: Sequence[TrainRun]) -> TrainRun | None:
    """The training run whose checkpoint was evaluated; None for a policy that was not trained here.

    A study may have been moved since: then the folder that ends alike, if there is one such.
    """
    checkpoint = Path(str(run.manifest["model"]))
    if checkpoint.parent.name != "checkpoints":
        return None
    wanted = checkpoint.parent.parent
    for train in trains:
        if train.folder.resolve() == wanted.resolve():
            return train
    alike = {train.folder: _common_end(train.folder, wanted) for train in trains}
    most = max(alike.values(), default=0)
    best = [train for train in trains if alike[train.folder] == most]
    return best[0] if most > 0 and len(best) == 1 else None


def _common_end(a: Path, b: Path) -> int:
    """How many last parts of two paths are equal."""
    count = 0
    for one, other in zip(reversed(a.parts), reversed(b.parts), strict=False):
        if one != other:
            break
        count += 1
    return count


def _without_evaluation(train: TrainRun) -> StudyRun:
    path = str(train.config.get("model.path") or "")
    model = preset_of(path) or Path(path).name
    return StudyRun(model, train.backend, train.config.get("train.seed"), None, train)
