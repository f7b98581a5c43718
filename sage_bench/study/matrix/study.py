"""Running one cell of a matrix: the same commands and the same record on any machine."""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sage_bench.data.schema import SAMPLES, EvalManifest, TrainConfig
from sage_bench.reporting.runs import find_runs
from sage_bench.study.matrix import budget
from sage_bench.study.matrix.cells import Budget, Cell
from sage_bench.study.matrix.launch import ServerGone
from sage_bench.study.matrix.spec import MatrixSpec
from sage_bench.study.matrix.state import (
    LOGS,
    CellRecord,
    Standing,
    standing,
    write_record,
)
from sage_bench.training import checkpoint
from sage_bench.training.selection import checkpoints, select, validation_rewards
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import locked, make_folder, to_trash
from sage_bench.utils.progress import REPORT_TO, stderr

THREADS = "OMP_NUM_THREADS"
LEAVING = 120.0  # seconds that a command has to save and leave
LONGEST = 400  # characters of a reason


class Launch(Protocol):
    """Who runs commands. asked: somebody wants all of them to stop."""

    @property
    def asked(self) -> bool: ...

    def run(self, words: Sequence[str], out: Path, log: Path, env: Mapping[str, str]) -> int: ...


class Keep(Protocol):
    """Where finished cells are kept for other machines."""

    def put(self, out: Path, cell: Cell, record: CellRecord) -> None: ...

    def get(self, out: Path, cell: Cell, inputs: Mapping[str, Any]) -> CellRecord | None: ...


@dataclass(frozen=True)
class Study:
    """A matrix in a folder. inputs: what each cell is made from, by name."""

    spec: MatrixSpec
    out: Path
    cells: Mapping[str, Cell]
    inputs: Mapping[str, Mapping[str, Any]]
    retry_failed: bool = False
    accepted: Sequence[str] = ()
    store: Keep | None = None
    trainings_that_go_on: frozenset[str] = field(default_factory=frozenset)

    def standing(self, name: str) -> Standing:
        """Whether a cell has to be run."""
        return standing(
            self.out,
            self.cells[name],
            self.inputs[name],
            retry_failed=self.retry_failed,
            accepted=self.accepted,
        )

    def is_done(self, name: str) -> bool:
        """Whether the cell's results are there and still made from what they would be now."""
        return not self.standing(name).todo and self.standing(name).record.state == "done"

    def logs(self, name: str) -> Path:
        """The folder of a cell's log, its standard output and its progress."""
        return self.out / LOGS / name


def run_cell(study: Study, name: str, launch: Launch) -> CellRecord:
    """Do one cell, from the store where it lies there; returns how it ended and keeps that.

    A failure is an answer here, never an exception: the other cells go on.
    """
    cell = study.cells[name]
    logs = make_folder(study.logs(name))
    with locked(logs):
        before = study.standing(name)
        if not before.todo:
            return before.record
        kept = study.store.get(study.out, cell, study.inputs[name]) if study.store else None
        if kept is not None:
            write_record(study.out, kept)
            return kept
        record = _begin(study, cell, before)
        try:
            record.result = _work(study, cell, record, launch)
            record.state, record.reason = "done", ""
        except CommandError as error:
            record.state = "interrupted" if launch.asked else "failed"
            record.reason = error.what
        except ServerGone as error:
            record.state, record.reason = "interrupted", str(error)
        except SageBenchError as error:
            record.state, record.reason = "failed", str(error)
        except OSError as error:
            record.state = "failed"
            record.reason = f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")
        record.ended = time.time()
        record.seconds += record.ended - (record.began or record.ended)
        write_record(study.out, record)
        if record.state == "done":
            _keep(study, cell, record)
        return record


def _keep(study: Study, cell: Cell, record: CellRecord) -> None:
    """Copy a finished cell to the store; that this fails undoes nothing, and is told."""
    if study.store is None:
        return
    try:
        study.store.put(study.out, cell, record)
    except SageBenchError as error:
        stderr().print(f"not kept in the store: {error}")


class CommandError(SageBenchError):
    """A command of a cell did not end well."""


def _begin(study: Study, cell: Cell, before: Standing) -> CellRecord:
    """The record of a cell that begins, or goes on where it was."""
    if before.changed:
        # what lies there was made from something else: aside with it, somebody may need it
        if cell.kind != "select" and cell.folder.exists():
            with locked(cell.folder):
                to_trash(cell.folder)
        record = CellRecord(cell=cell.name, changed=list(before.changed))
    else:
        record = before.record.model_copy(deep=True)
    record.state = "running"
    record.reason = ""
    record.inputs = dict(study.inputs[cell.name])
    record.host = socket.gethostname()
    record.began = time.time()
    write_record(study.out, record)
    return record


def _work(study: Study, cell: Cell, record: CellRecord, launch: Launch) -> dict[str, Any]:
    if cell.kind == "select":
        return _select(study, cell)
    if cell.kind == "eval":
        return _evaluate(study, cell, record, launch)
    if cell.budget is not None:
        return _train_to_budget(study, cell, cell.budget, record, launch)
    _command(study, cell, record, launch, cell.words)
    return _trained(study, cell)


# ---- the kinds ----------------------------------------------------------------------------------
def _select(study: Study, cell: Cell) -> dict[str, Any]:
    """Noted as a cell of its own, so that it can be seen what was chosen and from what."""
    choice = select(cell.folder, study.spec.select)
    saved = checkpoints(cell.folder)
    rewards = {k: v for k, v in validation_rewards(cell.folder).items() if k in saved}
    return {
        "rule": choice.rule,
        "step": choice.step,
        "checkpoint": _relative(study, choice.folder),
        "validation": {str(step): reward for step, reward in rewards.items()},
    }


def _evaluate(study: Study, cell: Cell, record: CellRecord, launch: Launch) -> dict[str, Any]:
    _command(study, cell, record, launch, cell.words)
    runs = find_runs(cell.folder)
    if len(runs) != 1:
        raise SageBenchError(
            f"there are {len(runs)} evaluations where one belongs",
            where=str(cell.folder),
            remedy="move what lies there away and run the same command again",
        )
    manifest = EvalManifest.read(runs[0] / "manifest.json")
    return {
        "folder": _relative(study, runs[0]),
        "tasks": manifest.tasks,
        "tokens": sum(row["tokens"] or 0 for f in _samples(runs[0]) for row in SAMPLES.read(f)),
        "bytes": _bytes(runs[0]),
    }


def _samples(run: Path) -> list[Path]:
    return sorted((run / "samples").rglob("*.jsonl"))


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def _trained(study: Study, cell: Cell) -> dict[str, Any]:
    """What a finished training is remembered by."""
    steps = checkpoint.steps(cell.folder)
    last = cell.folder / "checkpoints" / checkpoint.name(steps[-1])
    return {
        "checkpoint": _relative(study, last),
        "steps": steps[-1],
        "rollouts": sum(budget.per_step(cell.folder, "rollouts")),
        "tokens": sum(budget.per_step(cell.folder, "tokens")),
        "bytes": _bytes(cell.folder),
    }


def _train_to_budget(
    study: Study, cell: Cell, equal: Budget, record: CellRecord, launch: Launch
) -> dict[str, Any]:
    """Train as long as it takes, going on from the same row at its own budget where that can be.

    The last command alone, typed into an empty folder, ends in the same weights.
    """
    target = sum(budget.per_step(study.cells[equal.reference].folder, equal.unit))
    plain = study.cells[str(equal.plain)].folder
    amounts = budget.per_step(plain, equal.unit)
    steps = budget.steps_for(amounts, target)
    planned = TrainConfig.read(plain / "config.json").values["train.steps"]
    can_go_on = cell.name in study.trainings_that_go_on and steps >= planned
    if can_go_on and not checkpoint.steps(cell.folder):
        budget.copy_run(plain, cell.folder)
    for _ in range(budget.ROUNDS):
        own = checkpoint.steps(cell.folder)
        if own and own[-1] > steps:  # an earlier call went further
            steps = own[-1]
        _command(study, cell, record, launch, [*cell.words, f"train.steps={steps}"])
        amounts = budget.per_step(cell.folder, equal.unit)
        if sum(amounts) >= target or cell.name not in study.trainings_that_go_on:
            break
        steps = max(steps + 1, budget.steps_for(amounts, target))
    return _trained(study, cell) | {"unit": equal.unit, "target": target, "reached": sum(amounts)}


def _relative(study: Study, path: Path) -> str:
    """A path below the study's folder: records stay true where the folder is moved or copied."""
    return str(path.relative_to(study.out))


# ---- commands -----------------------------------------------------------------------------------
def typed(words: Sequence[str], cores: int = 1) -> str:
    """A command as a user types it. cores: as many threads as it is given."""
    return f"{THREADS}={cores} {shlex.join(['sage-bench', *words])}"


def _wait_until_free(folder: Path) -> None:
    """A command of an earlier try, whose starter died, may still be saving what it has."""
    if not folder.is_dir():
        return
    deadline = time.monotonic() + LEAVING
    while True:
        try:
            with locked(folder):
                return
        except SageBenchError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _command(
    study: Study, cell: Cell, record: CellRecord, launch: Launch, words: Sequence[str]
) -> str:
    """Run one command; returns the last line of its standard output. Raises `CommandError`."""
    logs = study.logs(cell.name)
    if launch.asked:
        raise CommandError("asked to stop before it began")
    command = typed(words, cell.room.cores)
    record.commands = [c for c in record.commands if c != command] + [command]
    write_record(study.out, record)
    env = {
        REPORT_TO: str((logs / "progress").absolute()),
        THREADS: str(cell.room.cores),
        "PYTHONUNBUFFERED": "1",
    }
    out, log = logs / "out", logs / "log"
    _wait_until_free(cell.folder)
    began = log.stat().st_size if log.exists() else 0
    code = launch.run(words, out.absolute(), log.absolute(), env)
    if code:
        raise CommandError(f"{_reason(log, began, code)} (log: {_relative(study, log)})")
    lines = out.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _reason(log: Path, began: int, code: int) -> str:
    """Why a command failed: its error, or the end of its log. began: where it wrote from."""
    with log.open("rb") as file:
        file.seek(began)
        text = file.read().decode("utf-8", "replace")
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    shown = errors[-1] if errors else " / ".join(lines[-2:])
    how = f"exit code {code}"
    if code < 0:
        how = f"ended by signal {-code}" + (" (out of memory?)" if code == -9 else "")
    return f"{how}: {shown[:LONGEST]}"
