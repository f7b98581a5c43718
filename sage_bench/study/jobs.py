"""Run a set of `sage-bench` commands that wait for each other, as many at a time as there are
cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.progress import PLAIN_EVERY, REPORT_TO, fancy, stderr

POLL = 0.25


@dataclass
class Job:
    """One command. args: the words after `sage-bench`, or a function that gives them once the jobs
    in `after` have ended.
    weight: how long it takes compared to others (for the overall bar)."""

    name: str
    args: Sequence[str] | Callable[[], Sequence[str]]
    after: tuple[str, ...] = ()
    weight: float = 1.0
    state: str = field(default="waiting", init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    fraction: float = field(default=0.0, init=False)
    note: str = field(default="", init=False)
    output: str = field(default="", init=False)


class Jobs:
    """A list of jobs and the folder of their logs. `run` returns each job's last line of stdout by
    name."""

    def __init__(
        self, jobs: Sequence[Job], logs: Path, *, at_once: int | None = None, quiet: bool = False
    ):
        self.jobs, self.logs, self.quiet = list(jobs), logs, quiet
        self.at_once = at_once or max(1, len(os.sched_getaffinity(0)))
        self.done = {j.name: j for j in self.jobs}
        self.began = self.told = time.monotonic()

    def run(self) -> dict[str, str]:
        """Raises `SageBenchError` with the end of its log when a job fails; the others are stopped,
        their work is kept."""
        self.logs.mkdir(parents=True, exist_ok=True)
        progress = None
        if not self.quiet and fancy():
            progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=stderr(),
            )
            bars = {
                j.name: progress.add_task(j.name, total=None, note="", start=False)
                for j in self.jobs
            }
            whole = progress.add_task("[bold]all", total=100, note="")
            progress.start()
        try:
            while any(j.state != "done" for j in self.jobs):
                self._start()
                time.sleep(POLL)
                for job in self.jobs:
                    self._look(job)
                if progress:
                    for job in self.jobs:
                        if job.state != "waiting":
                            progress.start_task(bars[job.name])
                            progress.update(
                                bars[job.name],
                                completed=round(job.fraction * 100),
                                total=100,
                                note=job.note if job.state == "running" else "done",
                            )
                    progress.update(whole, completed=round(self.overall() * 100), note=self.eta())
                elif not self.quiet and time.monotonic() - self.told > PLAIN_EVERY:
                    self.told = time.monotonic()
                    running = "; ".join(
                        f"{j.name} {j.fraction:.0%} {j.note}".strip()
                        for j in self.jobs
                        if j.state == "running"
                    )
                    print(
                        f"{self.overall():.0%} done, {self.eta()}: {running}",
                        file=sys.stderr,
                        flush=True,
                    )
        finally:
            if progress:
                progress.stop()
            for job in self.jobs:
                if job.process and job.process.poll() is None:
                    job.process.terminate()
                    job.process.wait()
        return {j.name: j.output for j in self.jobs}

    def overall(self) -> float:
        return sum(j.weight * j.fraction for j in self.jobs) / sum(j.weight for j in self.jobs)

    def eta(self) -> str:
        share, spent = self.overall(), time.monotonic() - self.began
        return f"about {spent / share * (1 - share):.0f} s left" if share > 0.03 else "estimating"

    def _start(self) -> None:
        free = self.at_once - sum(j.state == "running" for j in self.jobs)
        for job in self.jobs:
            if (
                free
                and job.state == "waiting"
                and all(self.done[a].state == "done" for a in job.after)
            ):
                args = job.args() if callable(job.args) else job.args
                env = {
                    **os.environ,
                    REPORT_TO: str(self.logs / f"{job.name}.progress"),
                    "OMP_NUM_THREADS": "1",
                }
                with (
                    (self.logs / f"{job.name}.out").open("wb") as out,
                    (self.logs / f"{job.name}.log").open("ab") as log,
                ):
                    job.process = subprocess.Popen(
                        [sys.executable, "-m", "sage_bench", *args], stdout=out, stderr=log, env=env
                    )
                job.state, free = "running", free - 1

    def _look(self, job: Job) -> None:
        if job.state != "running" or job.process is None:
            return
        try:
            told = json.loads((self.logs / f"{job.name}.progress").read_text(encoding="utf-8"))
            job.fraction, job.note = min(1.0, told["done"] / max(told["total"], 1)), told["note"]
        except (OSError, ValueError, KeyError):
            job.note = "loading"  # not written yet, or by a run of another version
        code = job.process.poll()
        if code is None:
            return
        if code:
            tail = "\n".join(
                (self.logs / f"{job.name}.log")
                .read_text(encoding="utf-8", errors="replace")
                .strip()
                .splitlines()[-8:]
            )
            raise SageBenchError(
                f"`{job.name}` failed (exit code {code}):\n{tail}",
                where=str(self.logs / f"{job.name}.log"),
                remedy="mend the cause and run the same command again",
            )
        lines = (self.logs / f"{job.name}.out").read_text(encoding="utf-8").strip().splitlines()
        job.state, job.fraction, job.output = "done", 1.0, lines[-1] if lines else ""
