"""Processes that draw samples, fed from one queue by question. Lines of JSON go in and out; nothing
is shared.

A worker is any command. It reads its configuration in the first line, answers {"ready": {...}},
then reads groups

    {"prompt": [ids], "temperature": .., "top_p": .., "max_tokens": .., "stop": [..],
     "asks": [[id, seed], ...]}

and answers {"id": .., "text": .., "finish": .., "tokens": ..} as samples finish. {"failed": why,
"id": ..} gives one sample up, {"error": why} ends the run. When its input ends, a worker leaves at
once: no worker outlives a killed parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sage_bench.utils.errors import SageBenchError

Group = dict[str, Any]
TAIL = 15  # lines of a dead worker's log that its error repeats


class Worker:
    """One process. log: file its stderr goes to."""

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        config: Mapping[str, Any],
        env: Mapping[str, str],
        log: Path,
        out: SimpleQueue[tuple[Worker, str | None]],
    ):
        self.number = number
        self.log = log
        self.busy = 0
        self.ready = False
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **env},
                text=True,
                encoding="utf-8",
            )
        threading.Thread(target=self._read, args=(out,), daemon=True).start()
        self.send(config)

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self.process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):
            # it died: the reader meets the end of its output and tells
            self.busy = max(self.busy, 1)

    def _read(self, out: SimpleQueue[tuple[Worker, str | None]]) -> None:
        for line in self.process.stdout:  # type: ignore[union-attr]
            out.put((self, line))
        out.put((self, None))

    def close(self) -> None:
        try:
            self.process.stdin.close()  # type: ignore[union-attr]
            self.process.wait(timeout=10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


class Pool:
    """Workers over one queue of groups. A worker gets the next group when fewer than `window` of
    its samples are under way, so a fast one takes more, and all samples of a question meet the same
    prefix cache."""

    def __init__(
        self,
        command: Sequence[str],
        configs: Sequence[Mapping[str, Any]],
        envs: Sequence[Mapping[str, str]],
        *,
        logs: Path,
        name: str,
        window: int,
    ):
        self.window = window
        self.name = name
        self.closed = False
        self.out: SimpleQueue[tuple[Worker, str | None]] = SimpleQueue()
        logs.mkdir(parents=True, exist_ok=True)
        self.workers = [
            Worker(i, command, config, env, logs / f"{name}_{i}.log", self.out)
            for i, (config, env) in enumerate(zip(configs, envs, strict=True))
        ]
        self.about: dict[int, Any] = {}  # what each worker said of itself when it was ready
        self.drawn: Counter[int] = Counter()  # samples by worker

    def run(self, groups: Sequence[Group]) -> Iterator[dict[str, Any]]:
        """Messages with an "id", as samples finish; every id of every group once. Raises
        `SageBenchError` when a worker dies."""
        todo, left = deque(groups), sum(len(g["asks"]) for g in groups)
        for worker in self.workers:
            self._feed(worker, todo)
        while left:
            worker, line = self.out.get()
            if line is None:
                raise self._death(worker)
            message = json.loads(line)
            if "error" in message:
                raise SageBenchError(
                    f"{self.name} worker {worker.number}: {message['error']}",
                    where=str(worker.log),
                    remedy="the log has the whole story",
                )
            if "ready" in message:
                worker.ready, self.about[worker.number] = True, message["ready"]
            else:
                worker.busy -= 1
                left -= 1
                self.drawn[worker.number] += 1
                yield message
            self._feed(worker, todo)

    def _feed(self, worker: Worker, todo: deque[Group]) -> None:
        while todo and worker.ready and worker.busy < self.window:
            group = todo.popleft()
            worker.busy += len(group["asks"])
            worker.send(group)

    def _death(self, worker: Worker) -> SageBenchError:
        code = worker.process.wait()
        tail = "\n".join(
            worker.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        )
        return SageBenchError(
            f"{self.name} worker {worker.number} ended with code {code} while samples were under"
            f" way; the end of its log:\n{tail}\n",
            where=str(worker.log),
            remedy="what was drawn is stored; run the same command again when the cause is gone",
        )

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            for worker in self.workers:
                worker.close()
