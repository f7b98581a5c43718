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
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from sage_bench.grading.verdict import Status
from sage_bench.grading.worker import Reply
from sage_bench.utils.errors import SageBenchError

COMPARE, READABLE = "sage_bench.grading.worker:equivalent", "sage_bench.grading.worker:readable"
# (gold, answer, "module:function" that compares them; math-verify's unless named)
Job = tuple[str, ...]
START_TIMEOUT = 120.0  # importing sympy on a loaded machine
START_TRIES = 3  # processes that may die in a row before one was ready
RECYCLE = 5000  # jobs after which a process is replaced: sympy's caches only grow
# A job's time is processor time and is measured in the child, so that a busy machine changes no
# verdict; the clock on the wall only bounds what gets no processor at all.
WALL_PER_CPU = 60.0
TRIES = 2  # a crash is one that happens again in a fresh process
# how a process ends that is asked to: by its user, its terminal or its machine, not by its job
SHUTDOWN_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
MOST_SHUTDOWNS = 20  # of processes during one call


class PoolError(SageBenchError):
    """Comparisons cannot be made here; no grade was given."""


class Worker:
    """One comparer process.

    It has a session of its own: Ctrl-C on a terminal reaches the run, which then ends as it likes,
    and not the comparisons it still waits for.
    """

    def __init__(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sage_bench.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
            start_new_session=True,
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
        self.deadline = time.monotonic() + WALL_PER_CPU * timeout
        self.served += 1
        gold, answer, *how = job
        named = how[0] if how else COMPARE
        line = json.dumps({"gold": gold, "answer": answer, "how": named, "cpu": timeout})
        # it may have died idle: reading from it says so, and the job is tried again
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
    """Compares many (gold, answer) pairs, `timeout` seconds of processor time each at most.

    Thread-safe; processes start on first use.
    """

    def __init__(self, workers: int | None = None, timeout: float = 10.0):
        self.size = workers or max(1, os.cpu_count() or 1)
        self.timeout = timeout
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._failed_starts = 0
        self._closings = 0
        atexit.register(self.close)

    def compare(self, jobs: Sequence[Job]) -> list[Reply]:
        """Replies in the order of the jobs; status timeout or crash where a process was lost.

        Raises `PoolError` where nothing can be said: processes do not start, are ended from
        outside, get no processor time, or the pool was closed meanwhile.
        """
        with self._lock:
            try:
                return self._compare(jobs)
            finally:
                # an interrupted call leaves processes at work: their late replies must not answer
                # the next call's jobs
                for worker in list(self._workers):
                    if worker.job is not None or worker.served >= RECYCLE:
                        worker.kill()
                        self._workers = [w for w in self._workers if w is not worker]

    def distinct(self, jobs: Sequence[Job]) -> dict[Job, Reply]:
        """Each job's reply; equal jobs are compared once, because samples often agree."""
        once = list(dict.fromkeys(jobs))
        return dict(zip(once, self.compare(once), strict=True)) if once else {}

    def _compare(self, jobs: Sequence[Job]) -> list[Reply]:
        closings = self._closings
        work = _Work(len(jobs))
        while len(self._workers) < min(self.size, len(jobs)):
            self._workers.append(Worker())
        while len(work.replies) < len(jobs):
            for worker in self._workers:
                if worker.ready and worker.job is None and work.waiting:
                    index = work.waiting.pop()
                    worker.send(index, jobs[index], self.timeout)
            ready = self._wait()
            if self._closings != closings:
                raise PoolError(
                    "the pool of comparers was closed while answers were compared",
                    where="grading",
                    remedy="none is needed where the program was ending; else run it again",
                )
            for worker in list(self._workers):
                self._attend(worker, worker in ready, work)
        return [work.replies[i] for i in range(len(jobs))]

    def _wait(self) -> list[Worker]:
        """The workers that have something to read, at the latest at the next deadline."""
        busy = [w for w in self._workers if w.job is not None or not w.ready]
        wait = min((w.deadline for w in busy), default=0.0) - time.monotonic()
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                if not worker.output.closed:
                    selector.register(worker.output, selectors.EVENT_READ, worker)
            return [key.data for key, _ in selector.select(max(0.0, min(wait, 1.0)))]

    def _attend(self, worker: Worker, readable: bool, work: _Work) -> None:
        try:
            reply = worker.read() if readable else None
        except EOFError:
            self._bury(worker, work)
            return
        if reply is not None:
            if worker.job is not None and not work.settle(worker.job, reply):
                self._replace(worker)  # tried again, where nothing was computed before
                return
            worker.ready, worker.job, self._failed_starts = True, None, 0
        elif (worker.job is not None or not worker.ready) and time.monotonic() > worker.deadline:
            self._give_up(worker)

    def _bury(self, worker: Worker, work: _Work) -> None:
        """A process has ended: was it its job, its start, or somebody else?"""
        ended_by = -worker.process.wait()
        if ended_by in SHUTDOWN_SIGNALS:
            work.shutdowns += 1
            if worker.job is not None:
                work.waiting.append(worker.job)
            if work.shutdowns > MOST_SHUTDOWNS:
                self.close()
                raise PoolError(
                    "comparers are ended from outside as soon as they start",
                    where="grading",
                    remedy="look for what sends them signals, then run the same command again",
                )
        elif not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= START_TRIES:
                self.close()
                raise PoolError(
                    "the math-verify process does not start",
                    where="grading",
                    remedy="run `python -m sage_bench.grading.worker` to see why",
                )
        elif worker.job is not None:
            status: Status = "timeout" if ended_by == signal.SIGPROF else "crash"
            work.settle(worker.job, {"correct": False, "status": status})
        self._replace(worker)

    def _give_up(self, worker: Worker) -> None:
        """A process neither answers nor uses its processor time up."""
        started = worker.ready
        self.close()
        raise PoolError(
            f"a comparer gave no answer in {WALL_PER_CPU * self.timeout:.0f} s, although it may"
            f" compute {self.timeout:.0f} s only"
            if started
            else f"the math-verify process was not ready after {START_TIMEOUT:.0f} s",
            where="grading",
            remedy="the machine is overloaded or the process is stopped: free it, then run the same"
            " command again",
        )

    def _replace(self, worker: Worker) -> None:
        worker.kill()
        self._workers[self._workers.index(worker)] = Worker()

    def close(self) -> None:
        """End all processes; a comparison that is under way in another thread raises."""
        self._closings += 1
        for worker in self._workers:
            worker.kill()
        self._workers = []


class _Work:
    """The jobs of one call: which wait, which are answered, which were tried before."""

    def __init__(self, count: int):
        self.replies: dict[int, Reply] = {}
        self.waiting = list(range(count))[::-1]
        self.failures: Counter[int] = Counter()
        self.shutdowns = 0

    def settle(self, index: int, reply: Reply) -> bool:
        """Keep the reply, unless it is the first crash of a job: that one is tried again."""
        if reply["status"] == "crash":
            self.failures[index] += 1
            if self.failures[index] < TRIES:
                self.waiting.append(index)
                return False
        self.replies[index] = reply
        return True


_shared: tuple[int, Pool] | None = None


def shared_pool() -> Pool:
    """The process-wide pool.

    A forked child gets one of its own: two writers on one pipe would mix their jobs.
    """
    global _shared
    if _shared is None or _shared[0] != os.getpid():
        _shared = (os.getpid(), Pool())
    return _shared[1]
