"""Run `sage-bench` commands that wait for each other, as many at once as there are cores."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sage_bench.study.matrix.launch import Launcher
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.progress import PLAIN_EVERY, REPORT_TO, display, fancy, reported

POLL = 0.25


@dataclass
class Job:
    """One command.

    args: the words after `sage-bench`, or a function that gives them once the jobs in `after` have
    ended. weight: how long it takes compared to others (for the overall bar).
    """

    name: str
    args: Sequence[str] | Callable[[], Sequence[str]]
    after: tuple[str, ...] = ()
    weight: float = 1.0
    state: str = field(default="waiting", init=False)
    ended: Future[int] | None = field(default=None, init=False)
    fraction: float = field(default=0.0, init=False)
    note: str = field(default="", init=False)
    output: str = field(default="", init=False)


class Jobs:
    """A list of jobs and the folder of their logs. forks: libraries are imported once for all jobs;
    only for jobs that use no accelerator."""

    def __init__(
        self,
        jobs: Sequence[Job],
        logs: Path,
        *,
        at_once: int | None = None,
        quiet: bool = False,
        forks: bool = False,
    ):
        self.jobs = list(jobs)
        self.logs = logs
        self.quiet = quiet
        self.forks = forks
        self.at_once = at_once or max(1, len(os.sched_getaffinity(0)))
        self.by_name = {j.name: j for j in self.jobs}
        self.began = time.monotonic()
        self.last_report = self.began

    def run(self) -> dict[str, str]:
        """Run all jobs; returns each one's last line of standard output by its name.

        Raises `SageBenchError` with the end of its log when a job fails; the others are stopped,
        their work is kept.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        # OMP_NUM_THREADS=1: as many jobs as cores run side by side
        self.launcher = Launcher(self.logs / "server.log", forks=self.forks)
        self.pool = ThreadPoolExecutor(self.at_once)
        bars = None if self.quiet or not fancy() else _Bars(self)
        try:
            while any(j.state != "done" for j in self.jobs):
                self._start()
                time.sleep(POLL)
                for job in self.jobs:
                    self._look(job)
                if bars:
                    bars.draw()
                elif not self.quiet:
                    self._print_line()
        finally:
            if bars:
                bars.progress.stop()
            self.launcher.stop()
            self.launcher.close()
            self.pool.shutdown()
        return {j.name: j.output for j in self.jobs}

    def _print_line(self) -> None:
        """Progress where there is no terminal: one line now and then."""
        if time.monotonic() - self.last_report <= PLAIN_EVERY:
            return
        self.last_report = time.monotonic()
        running = [j for j in self.jobs if j.state == "running"]
        parts = "; ".join(f"{j.name} {j.fraction:.0%} {j.note}".strip() for j in running)
        print(f"{self.overall():.0%} done, {self.eta()}: {parts}", file=sys.stderr, flush=True)

    def overall(self) -> float:
        """The share of all work that is done."""
        return sum(j.weight * j.fraction for j in self.jobs) / sum(j.weight for j in self.jobs)

    def eta(self) -> str:
        """How long it will still take, in words."""
        share = self.overall()
        if share <= 0.03:
            return "estimating"
        spent = time.monotonic() - self.began
        return f"about {spent / share * (1 - share):.0f} s left"

    def _start(self) -> None:
        """Start what can be started, in the order of the list, while there is room."""
        free = self.at_once - sum(j.state == "running" for j in self.jobs)
        for job in self.jobs:
            ready = all(self.by_name[name].state == "done" for name in job.after)
            if free and job.state == "waiting" and ready:
                self._launch(job)
                free -= 1

    def _launch(self, job: Job) -> None:
        args = job.args() if callable(job.args) else job.args
        job.ended = self.pool.submit(
            self.launcher.run,
            args,
            self.logs / f"{job.name}.out",
            self.logs / f"{job.name}.log",
            {REPORT_TO: str(self.logs / f"{job.name}.progress")},
        )
        job.state = "running"

    def _look(self, job: Job) -> None:
        """Take in how far a job is, and its end. Raises `SageBenchError` when it failed."""
        if job.state != "running" or job.ended is None:
            return
        job.fraction, job.note = reported(self.logs / f"{job.name}.progress")
        if not job.ended.done():
            return
        code = job.ended.result()
        if code:
            raise self._failure(job, code)
        lines = (self.logs / f"{job.name}.out").read_text(encoding="utf-8").strip().splitlines()
        job.state = "done"
        job.fraction = 1.0
        job.output = lines[-1] if lines else ""

    def _failure(self, job: Job, code: int) -> SageBenchError:
        log = self.logs / f"{job.name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        tail = "\n".join(lines[-8:])
        return SageBenchError(
            f"`{job.name}` failed (exit code {code}):\n{tail}",
            where=str(log),
            remedy="mend the cause and run the same command again",
        )


class _Bars:
    """One progress bar a job on the terminal, and one for all."""

    def __init__(self, jobs: Jobs):
        self.jobs = jobs
        self.progress = display()
        self.bars = {
            j.name: self.progress.add_task(j.name, total=None, note="", start=False)
            for j in jobs.jobs
        }
        self.whole = self.progress.add_task("all", total=100, eta="")
        self.progress.start()

    def draw(self) -> None:
        for job in self.jobs.jobs:
            if job.state == "waiting":
                continue
            bar = self.bars[job.name]
            note = job.note if job.state == "running" else "done"
            self.progress.start_task(bar)
            self.progress.update(bar, completed=round(job.fraction * 100), total=100, note=note)
        completed = round(self.jobs.overall() * 100)
        self.progress.update(self.whole, completed=completed, eta=self.jobs.eta())
