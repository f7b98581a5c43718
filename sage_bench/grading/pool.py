"""A pool of comparer processes that can be killed: sympy neither stops nor frees memory when asked
politely.

Plain subprocesses with pipes, not `multiprocessing`: they work from threads, asyncio, notebooks and
scripts without a main guard, and nothing is forked after CUDA or OpenMP started.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

COMPARE, READABLE = "sage_bench.grading.worker:equivalent", "sage_bench.grading.worker:readable"
Job = (
    tuple[str, str] | tuple[str, str, str]
)  # (gold, answer, "module:function" that compares them; math-verify's unless named)
START_TIMEOUT = 120.0  # importing sympy on a loaded machine
START_TRIES = 3  # processes that may die in a row before one was ready
RECYCLE = 5000  # jobs after which a process is replaced: sympy's caches only grow


class Worker:
    """One comparer process."""

    def __init__(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sage_bench.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
        )
        self.ready = False
        self.job: int | None = None
        self.deadline = time.monotonic() + START_TIMEOUT
        self.buffer = b""
        self.served = 0

    def send(self, index: int, job: Job, timeout: float) -> None:
        assert self.process.stdin is not None
        self.job, self.deadline, self.served = index, time.monotonic() + timeout, self.served + 1
        with contextlib.suppress(
            BrokenPipeError
        ):  # it died idle: reading from it says so, and the job becomes a crash
            self.process.stdin.write(
                json.dumps(
                    {"gold": job[0], "answer": job[1], "how": job[2] if len(job) > 2 else COMPARE}
                ).encode()
                + b"\n"
            )

    def read(self) -> dict[str, Any] | None:
        """A reply if one is whole, else None. Raises EOFError when the process died."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 16)
        if not chunk:
            raise EOFError
        self.buffer += chunk
        if b"\n" not in self.buffer:
            return None
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class Pool:
    """Compares many (gold, answer) pairs, `timeout` seconds each at most. Thread-safe; processes
    start on first use."""

    def __init__(self, workers: int | None = None, timeout: float = 10.0):
        self.size, self.timeout = workers or max(1, os.cpu_count() or 1), timeout
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._failed_starts = 0
        atexit.register(self.close)

    def compare(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Replies in the order of the jobs: {"correct", "status"}, status timeout or crash where
        the process was lost."""
        with self._lock:
            try:
                return self._compare(jobs)
            # an interrupted call leaves processes at work: their late replies must not answer the
            # next call's jobs
            finally:
                for worker in [
                    w for w in self._workers if w.job is not None or w.served >= RECYCLE
                ]:
                    worker.kill()
                    self._workers.remove(worker)

    def _compare(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        replies: list[dict[str, Any] | None] = [None] * len(jobs)
        waiting = list(range(len(jobs)))[::-1]
        while len(self._workers) < min(self.size, len(jobs)):
            self._workers.append(Worker())
        while any(r is None for r in replies):
            for worker in self._workers:
                if worker.ready and worker.job is None and waiting:
                    index = waiting.pop()
                    worker.send(index, jobs[index], self.timeout)
            with selectors.DefaultSelector() as selector:
                for worker in self._workers:
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
                wait = (
                    min(w.deadline for w in self._workers if w.job is not None or not w.ready)
                    - time.monotonic()
                )
                ready = [key.data for key, _ in selector.select(max(0.0, wait))]
            for worker in list(self._workers):
                self._attend(worker, worker in ready, replies)
        return replies  # type: ignore[return-value]

    def _attend(self, worker: Worker, readable: bool, replies: list[dict[str, Any] | None]) -> None:
        try:
            reply = worker.read() if readable else None
        except EOFError:
            self._failed_starts += not worker.ready
            if self._failed_starts >= START_TRIES:
                self.close()
                raise RuntimeError(
                    "the math-verify process does not start; run `python -m"
                    " sage_bench.grading.worker` to see why"
                ) from None
            self._replace(worker, replies, "crash")
            return
        if reply is not None:
            if worker.job is not None:
                replies[worker.job] = reply
            worker.ready, worker.job, self._failed_starts = True, None, 0
        elif (worker.job is not None or not worker.ready) and time.monotonic() > worker.deadline:
            if not worker.ready:
                self.close()
                raise RuntimeError(
                    f"the math-verify process was not ready after {START_TIMEOUT:.0f} s"
                )
            self._replace(worker, replies, "timeout")

    def _replace(self, worker: Worker, replies: list[dict[str, Any] | None], status: str) -> None:
        if worker.job is not None:
            replies[worker.job] = {"correct": False, "status": status}
        worker.kill()
        self._workers[self._workers.index(worker)] = Worker()

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers = []


_shared: tuple[int, Pool] | None = None


def shared_pool() -> Pool:
    """The process-wide pool. A forked child gets one of its own: two writers on one pipe would mix
    their jobs."""
    global _shared
    if _shared is None or _shared[0] != os.getpid():
        _shared = (os.getpid(), Pool())
    return _shared[1]
