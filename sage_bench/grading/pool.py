"""A pool of comparer processes that can be killed.

sympy neither stops nor frees memory when asked politely.

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

from sage_bench.grading.verdict import Status
from sage_bench.grading.worker import Reply

COMPARE, READABLE = "sage_bench.grading.worker:equivalent", "sage_bench.grading.worker:readable"
# (gold, answer, "module:function" that compares them; math-verify's unless named)
Job = tuple[str, ...]
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
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.input = self.process.stdin
        self.output = self.process.stdout
        self.ready = False
        self.job: int | None = None
        self.deadline = time.monotonic() + START_TIMEOUT
        self.buffer = b""
        self.served = 0

    def send(self, index: int, job: Job, timeout: float) -> None:
        self.job = index
        self.deadline = time.monotonic() + timeout
        self.served += 1
        gold, answer, *how = job
        line = json.dumps({"gold": gold, "answer": answer, "how": how[0] if how else COMPARE})
        # it may have died idle: reading from it says so, and the job becomes a crash
        with contextlib.suppress(BrokenPipeError):
            self.input.write(line.encode() + b"\n")

    def read(self) -> Reply | None:
        """A reply if one is whole, else None. Raises EOFError when the process died."""
        chunk = os.read(self.output.fileno(), 1 << 16)
        if not chunk:
            raise EOFError
        self.buffer += chunk
        if b"\n" not in self.buffer:
            return None
        line, _, self.buffer = self.buffer.partition(b"\n")
        reply: Reply = json.loads(line)
        return reply

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.input.close()
        self.output.close()


class Pool:
    """Compares many (gold, answer) pairs, `timeout` seconds each at most.

    Thread-safe; processes start on first use.
    """

    def __init__(self, workers: int | None = None, timeout: float = 10.0):
        self.size = workers or max(1, os.cpu_count() or 1)
        self.timeout = timeout
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._failed_starts = 0
        atexit.register(self.close)

    def compare(self, jobs: Sequence[Job]) -> list[Reply]:
        """Replies in the order of the jobs; status timeout or crash where the process was lost."""
        with self._lock:
            try:
                return self._compare(jobs)
            finally:
                # an interrupted call leaves processes at work: their late replies must not answer
                # the next call's jobs
                for worker in list(self._workers):
                    if worker.job is not None or worker.served >= RECYCLE:
                        worker.kill()
                        self._workers.remove(worker)

    def distinct(self, jobs: Sequence[Job]) -> dict[Job, Reply]:
        """Each job's reply; equal jobs are compared once, because samples often agree."""
        once = list(dict.fromkeys(jobs))
        return dict(zip(once, self.compare(once), strict=True)) if once else {}

    def _compare(self, jobs: Sequence[Job]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        waiting = list(range(len(jobs)))[::-1]
        while len(self._workers) < min(self.size, len(jobs)):
            self._workers.append(Worker())
        while len(replies) < len(jobs):
            for worker in self._workers:
                if worker.ready and worker.job is None and waiting:
                    index = waiting.pop()
                    worker.send(index, jobs[index], self.timeout)
            ready = self._wait()
            for worker in list(self._workers):
                self._attend(worker, worker in ready, replies)
        return [replies[i] for i in range(len(jobs))]

    def _wait(self) -> list[Worker]:
        """The workers that have something to read, at the latest at the next deadline."""
        busy = [w for w in self._workers if w.job is not None or not w.ready]
        wait = min(w.deadline for w in busy) - time.monotonic()
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            return [key.data for key, _ in selector.select(max(0.0, wait))]

    def _attend(self, worker: Worker, readable: bool, replies: dict[int, Reply]) -> None:
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

    def _replace(self, worker: Worker, replies: dict[int, Reply], status: Status) -> None:
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
    """The process-wide pool.

    A forked child gets one of its own: two writers on one pipe would mix their jobs.
    """
    global _shared
    if _shared is None or _shared[0] != os.getpid():
        _shared = (os.getpid(), Pool())
    return _shared[1]
