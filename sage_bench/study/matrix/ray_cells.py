"""Cells as tasks of an existing Ray cluster whose machines share the study's folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.launch import Launcher
from sage_bench.study.matrix.state import CellRecord
from sage_bench.study.matrix.study import Study, run_cell
from sage_bench.utils.errors import UsageError

RETRIES = 5  # workers that may die under one cell; each goes on from what the last one saved
GIB = 1 << 30


def on_worker(study: Study, name: str, folder: str) -> CellRecord:
    """What a Ray worker does: one cell, by the same commands as anywhere."""
    os.chdir(folder)  # paths of the matrix may be relative
    logs = study.logs(name)
    logs.mkdir(parents=True, exist_ok=True)
    launcher = Launcher(logs / f"server-{os.getpid()}.log", forks=False)
    try:
        return run_cell(study, name, launcher)
    finally:
        launcher.close()


class RayCells:
    """The executor `ray`: Ray queues what has no room yet. address: of the cluster; `auto` finds
    the one that this machine belongs to."""

    def __init__(self, address: str = "auto"):
        try:
            import ray
        except ImportError as error:
            raise UsageError(
                "Ray is not installed",
                where="--executor ray",
                remedy="pip install 'sage-bench[ray]', on every machine",
            ) from error
        self.ray = ray
        self.refs: list[Any] = []
        self.study: Any = None
        # workers import this package from where we do
        paths = os.pathsep.join(p for p in sys.path if p)
        if not ray.is_initialized():
            try:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    runtime_env={"env_vars": {"PYTHONPATH": paths}},
                )
            except ConnectionError as error:
                raise UsageError(
                    f"no Ray cluster at `{address}`: {error}",
                    where="--address",
                    remedy="start one with `ray start --head`, or give its address",
                ) from error

    def has_room(self, cell: Cell, running: Sequence[Cell]) -> bool:
        """Ray decides."""
        return True

    def submit(self, study: Study, name: str) -> Future[CellRecord]:
        """A task with the cell's resources, tried again where a worker or a machine dies."""
        if self.study is None:
            self.study = self.ray.put(study)
        room = study.cells[name].room
        is_work = study.cells[name].kind != "select"
        task = self.ray.remote(on_worker).options(
            num_cpus=room.cores if is_work else 0,
            num_gpus=room.gpus if is_work else 0,
            memory=int(room.memory_gb * GIB) if is_work else None,
            max_retries=RETRIES,
            name=name,
        )
        reference = task.remote(self.study, name, os.getcwd())
        self.refs.append(reference)
        return _lasting(reference.future(), name)

    def stop(self) -> None:
        """Cancel what runs: workers end, and their commands save and leave."""
        for reference in self.refs:
            self.ray.cancel(reference, force=True)


def _lasting(answer: Future[CellRecord], name: str) -> Future[CellRecord]:
    """The record; a failed one where no worker lived to write it."""
    lasting: Future[CellRecord] = Future()

    def ended(done: Future[CellRecord]) -> None:
        error = done.exception()
        if error is None:
            lasting.set_result(done.result())
            return
        lines = str(error).strip().splitlines()
        reason = f"no Ray worker finished it: {lines[0] if lines else type(error).__name__}"
        lasting.set_result(CellRecord(cell=name, state="failed", reason=reason))

    answer.add_done_callback(ended)
    return lasting
