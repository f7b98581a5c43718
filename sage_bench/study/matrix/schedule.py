"""Which cells run when: each after those it needs, as many at once as there is room."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.state import CellRecord, read_record, write_record
from sage_bench.study.matrix.study import Launch, Study, run_cell
from sage_bench.utils.progress import PLAIN_EVERY, display, duration, fancy, reported

POLL = 0.2
GIB = 1 << 30
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Executor(Protocol):
    """Where cells run."""

    def has_room(self, cell: Cell, running: Sequence[Cell]) -> bool: ...

    def submit(self, study: Study, name: str) -> Future[CellRecord]: ...

    def stop(self) -> None: ...


class Local:
    """This machine: as many cells as its cores, memory and accelerators hold, at most `jobs`."""

    def __init__(self, launch: Launch, *, jobs: int | None = None, gpus: Sequence[str] = ()):
        self.launch = launch
        self.cores = len(os.sched_getaffinity(0))
        self.memory = _memory_gb()
        self.gpus = list(gpus)
        self.free_gpus = list(gpus)
        self.jobs = jobs
        self.threads = ThreadPoolExecutor(jobs or max(self.cores, 1))

    def has_room(self, cell: Cell, running: Sequence[Cell]) -> bool:
        """A cell larger than the machine runs when nothing else does."""
        if not running:
            return True
        if len(running) >= (self.jobs or self.cores):
            return False
        rooms = [c.room for c in (*running, cell) if c.kind != "select"]
        return (
            (self.jobs is not None or sum(r.cores for r in rooms) <= self.cores)
            and sum(r.memory_gb for r in rooms) <= self.memory
            and sum(_whole(r.gpus) for r in rooms) <= len(self.gpus)
        )

    def submit(self, study: Study, name: str) -> Future[CellRecord]:
        wanted = _whole(study.cells[name].room.gpus) if study.cells[name].kind != "select" else 0
        mine = [self.free_gpus.pop(0) for _ in range(min(wanted, len(self.free_gpus)))]
        launch = _OnGpus(self.launch, mine) if mine else self.launch
        future = self.threads.submit(run_cell, study, name, launch)
        future.add_done_callback(lambda _: self.free_gpus.extend(mine))
        return future

    def stop(self) -> None:
        """Ask what runs to save and leave; a second call does not wait."""
        launch: Any = self.launch
        launch.stop(9 if launch.asked else 15)


class _OnGpus:
    """A launcher whose commands see some accelerators only."""

    def __init__(self, launch: Launch, gpus: Sequence[str]):
        self.launch = launch
        self.gpus = gpus

    @property
    def asked(self) -> bool:
        return self.launch.asked

    def run(self, words: Sequence[str], out: Path, log: Path, env: Mapping[str, str]) -> int:
        return self.launch.run(words, out, log, {**env, VISIBLE: ",".join(self.gpus)})


def _whole(gpus: float) -> int:
    """Accelerators are not shared on one machine."""
    return math.ceil(gpus)


def _memory_gb() -> float:
    """Main memory that this process may use, in GiB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = total
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if os.path.exists(file):
            with open(file, encoding="utf-8") as f:
                word = f.read().strip()
            limit = min(limit, int(word)) if word.isdigit() else limit
    return limit / GIB


@dataclass
class Progress:
    """How far the cells of one call are. after_model: told each model whose cells have ended."""

    records: dict[str, CellRecord] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)

    def ended(self, name: str) -> bool:
        return name in self.records or name in self.blocked


class Schedule:
    """One call of a matrix over some of its cells."""

    def __init__(self, study: Study, names: Sequence[str], executor: Executor, *, quiet: bool):
        self.study = study
        self.names = list(names)
        self.executor = executor
        self.quiet = quiet
        self.progress = Progress()
        self.running: dict[str, Future[CellRecord]] = {}
        self.began = time.monotonic()
        self.spoke = self.began

    def run(self, after_model: Any = None) -> Progress:
        """Until every cell has ended or cannot begin. after_model: called with a model's name once
        all its cells have ended. On an exception (Ctrl-C), what runs is asked to save and leave."""
        self._take_finished()
        told = {m for m in self._models() if self._model_ended(m)}
        bars = _Bars(self) if not self.quiet and fancy() else None
        try:
            while not all(self.progress.ended(n) for n in self.names):
                self._start()
                self._collect()
                self._show(bars)
                for model in self._models():
                    if model not in told and self._model_ended(model):
                        told.add(model)
                        if after_model is not None:
                            after_model(model)
        except BaseException:
            self._leave()
            raise
        finally:
            if bars:
                bars.close()
        return self.progress

    def _take_finished(self) -> None:
        """Cells that need nothing; a failed one stays failed, unless it is to be tried again.

        From the last to the first: where everything that needs a cell is done, nobody misses its
        folder (checkpoints of large policies are often removed).
        """
        for name in reversed(self.names):
            found = self.study.standing(name)
            if not found.todo or (found.gone and self._nobody_needs(name)):
                self.progress.records[name] = found.record

    def _nobody_needs(self, name: str) -> bool:
        needed_by = [n for n in self.names if name in self.study.cells[n].after]
        return bool(needed_by) and all(self._is_done(n) for n in needed_by)

    def _models(self) -> list[str]:
        return list(dict.fromkeys(self.study.cells[n].model.name for n in self.names))

    def _model_ended(self, model: str) -> bool:
        own = [n for n in self.names if self.study.cells[n].model.name == model]
        return all(self.progress.ended(n) for n in own)

    # ---- starting and ending ------------------------------------------------------------------
    def _start(self) -> None:
        for name in self.names:
            if self.progress.ended(name) or name in self.running:
                continue
            cell = self.study.cells[name]
            lacking = self._lacking(cell)
            if lacking is not None:
                self.progress.blocked[name] = lacking
                continue
            ready = all(self._is_done(need) for need in cell.after)
            others = [self.study.cells[n] for n in self.running]
            if ready and self.executor.has_room(cell, others):
                self.running[name] = self.executor.submit(self.study, name)

    def _is_done(self, name: str) -> bool:
        record = self.progress.records.get(name)
        return record is not None and record.state == "done"

    def _lacking(self, cell: Cell) -> str | None:
        """The cell without which this one cannot begin."""
        for need in cell.after:
            if need in self.progress.blocked:
                return self.progress.blocked[need]
            record = self.progress.records.get(need)
            if record is not None and record.state != "done":
                return need
        return None

    def _collect(self) -> None:
        time.sleep(POLL)
        for name, future in list(self.running.items()):
            if future.done():
                del self.running[name]
                record = self.progress.records[name] = _record_of(self.study, name, future)
                if record.state != "done" and not self.quiet:
                    print(f"{name} {record.state}: {record.reason}", file=sys.stderr, flush=True)

    def _leave(self) -> None:
        """Ask what runs to save, and wait for it; a second interruption takes it away."""
        self.executor.stop()
        try:
            for future in self.running.values():
                future.exception()
        except BaseException:
            self.executor.stop()
            raise

    # ---- showing --------------------------------------------------------------------------------
    def share(self, name: str) -> tuple[float, str]:
        """How much of a running cell is done, and its note."""
        return reported(self.study.logs(name) / "progress")

    def eta(self) -> str:
        """The remaining time in words, from what this call has done so far."""
        counted = [n for n in self.names if self.study.cells[n].kind != "select"]
        fresh = [n for n in counted if not self._was_there(n)]
        done = sum(1.0 for n in fresh if self.progress.ended(n))
        done += sum(self.share(n)[0] for n in self.running if n in fresh)
        if done < 0.5:
            return "estimating"
        spent = time.monotonic() - self.began
        return f"about {duration(spent / done * (len(fresh) - done))} left"

    def _was_there(self, name: str) -> bool:
        record = self.progress.records.get(name)
        ended = None if record is None else record.ended
        return ended is not None and time.time() - ended > time.monotonic() - self.began

    def _show(self, bars: _Bars | None) -> None:
        if bars is not None:
            bars.draw()
        elif not self.quiet and time.monotonic() - self.spoke > PLAIN_EVERY:
            self.spoke = time.monotonic()
            ended = sum(self.progress.ended(n) for n in self.names)
            parts = []
            for name in self.running:
                share, note = self.share(name)
                parts.append(f"{name} {share:.0%} {note}".strip())
            line = f"{ended}/{len(self.names)} cells, {self.eta()}: {'; '.join(parts)}"
            print(line, file=sys.stderr, flush=True)


def _record_of(study: Study, name: str, future: Future[CellRecord]) -> CellRecord:
    """How a cell ended; what nobody foresaw is a failure of this cell, and not of the others."""
    error = future.exception()
    if error is None:
        return future.result()
    traceback.print_exception(error, file=sys.stderr)
    record = read_record(study.out, name)
    record.state, record.reason = "failed", f"{type(error).__name__}: {error}"
    write_record(study.out, record)
    return record


class _Bars:
    """One bar a running cell on the terminal, and one for all."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self.progress = display()
        self.whole = self.progress.add_task("all cells", total=len(schedule.names), eta="")
        self.bars: dict[str, Any] = {}
        self.progress.start()

    def draw(self) -> None:
        schedule = self.schedule
        for name in schedule.running:
            if name not in self.bars:
                self.bars[name] = self.progress.add_task(name, total=100, note="")
            share, note = schedule.share(name)
            self.progress.update(self.bars[name], completed=round(100 * share), note=note)
        for name in list(self.bars):
            if name not in schedule.running:
                self.progress.remove_task(self.bars.pop(name))
        ended = sum(schedule.progress.ended(n) for n in schedule.names)
        self.progress.update(self.whole, completed=ended, eta=schedule.eta())

    def close(self) -> None:
        self.progress.stop()
