"""A whole study from Python: models x methods x seeds, trained, selected, evaluated, tabled."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.api.matrix_inputs import Checked, check, missing_benchmarks
from sage_bench.study.matrix.cells import Cell, cells_of, chosen
from sage_bench.study.matrix.launch import Launcher
from sage_bench.study.matrix.ray_cells import RayCells
from sage_bench.study.matrix.schedule import Executor, Local, Schedule
from sage_bench.study.matrix.slurm import write_batch_files
from sage_bench.study.matrix.spec import MatrixFile, read_matrix, refusal
from sage_bench.study.matrix.state import CellRecord
from sage_bench.study.matrix.store import Store
from sage_bench.study.matrix.study import Study, run_cell
from sage_bench.study.matrix.tables import missing, write_study_tables
from sage_bench.utils.errors import PartialError, UsageError, did_you_mean
from sage_bench.utils.files import locked, make_folder, write_json

EXECUTORS = ("local", "ray", "slurm")


@dataclass(frozen=True)
class MatrixResult:
    """A matrix that was worked on. missing: why cells are not done, by name. files: its tables."""

    folder: Path
    done: int
    cells: int
    missing: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def partial(self) -> PartialError | None:
        """What is missing, as an error; None for nothing."""
        if not self.missing:
            return None
        name, why = next(iter(self.missing.items()))
        return PartialError(
            f"{self.cells - self.done} of {self.cells} cells are missing ({name}: {why})",
            where=str(self.folder),
            remedy="mend the cause and run the same command with --retry-failed",
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "folder": str(self.folder),
            "cells": self.cells,
            "done": self.done,
            "missing": self.missing,
            "files": [str(file) for file in self.files],
        }


@dataclass(frozen=True)
class Planned:
    """A matrix that was read and checked, and its study."""

    file: MatrixFile
    study: Study
    checked: Checked

    @property
    def cells(self) -> list[Cell]:
        """All cells, in order."""
        return list(self.study.cells.values())


def plan(
    config: Path | str,
    out: Path | str | None = None,
    *,
    online: bool = False,
    retry_failed: bool = False,
    accepted: Sequence[str] = (),
    store: str | None = None,
) -> Planned:
    """Read and check a matrix. Raises `UsageError` that names every mistake with its line.

    online: data that are not on this machine are fetched, and are a mistake where they cannot be.
    """
    file = read_matrix(Path(config))
    folder = Path(out or file.spec.out or Path("runs") / file.path.stem)
    cells = cells_of(file.spec, folder)
    checked = check(file, cells, online=online)
    if online and not checked.mistakes:
        checked.mistakes += [*checked.missing, *missing_benchmarks(file, online=True)]
    if checked.mistakes:
        raise refusal(checked.mistakes, file.path)
    study = Study(
        file.spec,
        folder,
        {c.name: c for c in cells},
        checked.inputs,
        retry_failed=retry_failed,
        accepted=tuple(accepted),
        store=Store(store, file.spec.select != "last") if store else None,
        trainings_that_go_on=frozenset(checked.goes_on),
    )
    return Planned(file, study, checked)


def matrix(
    config: Path | str,
    out: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    jobs: int | None = None,
    retry_failed: bool = False,
    accept_change: Sequence[str] = (),
    store: str | None = None,
    executor: str = "local",
    address: str = "auto",
    quiet: bool = True,
) -> MatrixResult:
    """Run what is missing of a matrix; the same call goes on where an earlier one stopped.

    config: the YAML file. out: the study's folder, the file's own unless given. only: patterns of
    cell names; what they need runs too. jobs: cells at once, as many as there is room unless given.
    retry_failed: cells that failed are run again. accept_change: inputs whose change leaves
    finished cells as they are. store: a folder or URL where finished cells are kept, and looked for
    first. executor: `local`, or `ray` with the cluster's `address`.

    Raises `UsageError`, before anything starts, for any mistake in the file.
    """
    planned = plan(
        config,
        out,
        online=True,
        retry_failed=retry_failed,
        accepted=tuple(accept_change),
        store=store,
    )
    study = planned.study
    names = [c.name for c in chosen(planned.cells, only)]
    folder = make_folder(study.out)
    with locked(folder):
        write_json(folder / "matrix.json", planned.file.spec.model_dump(mode="json"))
        with _executor(executor, study, jobs, address) as where:
            schedule = Schedule(study, names, where, quiet=quiet)
            schedule.run(lambda model: write_study_tables(study.spec, folder, planned.cells))
        files = write_study_tables(study.spec, folder, planned.cells)
    return result(planned, names, files)


@contextmanager
def _executor(name: str, study: Study, jobs: int | None, address: str) -> Iterator[Executor]:
    """Where cells run, until it is left."""
    if name == "ray":
        yield RayCells(address)
        return
    if name != "local":
        raise UsageError(
            f"unknown executor `{name}`; {did_you_mean(name, EXECUTORS)}".rstrip("; "),
            where="--executor",
            remedy="one of " + ", ".join(EXECUTORS),
        )
    gpus = _gpus()
    # the libraries of a fork know how many threads they have since they were loaded
    single = {study.cells[name].room.cores for name in study.cells} == {1}
    launcher = Launcher(study.out / "logs" / "server.log", forks=single and not gpus)
    try:
        yield Local(launcher, jobs=jobs, gpus=gpus)
    finally:
        launcher.close()


def batch_files(
    config: Path | str,
    out: Path | str | None = None,
    *,
    only: Sequence[str] = (),
    store: str | None = None,
) -> list[Path]:
    """Write the matrix as batch files of SLURM; the last one submits the others. Starts nothing."""
    planned = plan(config, out, store=store)
    study = planned.study
    make_folder(study.out)
    wanted = chosen(planned.cells, only)
    return write_batch_files(wanted, planned.file.path, study.out, study.spec.slurm, store)


def tables(config: Path | str, out: Path | str | None = None) -> MatrixResult:
    """Write the tables of what there is; run nothing."""
    planned = plan(config, out)
    files = write_study_tables(planned.study.spec, planned.study.out, planned.cells)
    return result(planned, [c.name for c in planned.cells], files)


def result(planned: Planned, names: Sequence[str], files: Sequence[Path]) -> MatrixResult:
    """How some cells stand after a run."""
    study = planned.study
    cells = [study.cells[name] for name in names]
    done = sum(study.is_done(c.name) for c in cells)
    return MatrixResult(study.out, done, len(cells), missing(study.out, cells), tuple(files))


def one_cell(
    config: Path | str, out: Path | str | None, name: str, *, store: str | None = None
) -> CellRecord:
    """Run a single cell here and now, as executors on other machines do. Needs no lock of the
    study: each cell has its own."""
    study = plan(config, out, retry_failed=True, store=store).study
    if name not in study.cells:
        raise UsageError(
            f"there is no cell `{name}`", where="--cell", remedy="`--dry-run` lists all"
        )
    lacking = [need for need in study.cells[name].after if not study.is_done(need)]
    if lacking:
        raise UsageError(
            f"it needs {', '.join(lacking)}, which is not done",
            where=name,
            remedy="run that one first, or the whole matrix without --cell",
        )
    make_folder(study.out)
    launcher = Launcher(study.logs(name) / "server.log", forks=False)
    try:
        return run_cell(study, name, launcher)
    finally:
        launcher.close()


def _gpus() -> list[str]:
    """The accelerators of this machine, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(i) for i in range(count)]
