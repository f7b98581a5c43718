"""Starting the commands of cells: by a process of their own that outlives neither us nor them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import SageBenchError

SERVER = "sage_bench.cli.cell_server"
KILL, TERM = 9, 15


class Launcher:
    """A server that runs commands (`sage_bench.cli.cell_server`). Thread-safe.

    forks: its libraries are imported once and every command is a fork. Only for commands that use
    no accelerator: a driver does not survive a fork.
    """

    def __init__(self, log: Path, *, forks: bool, threads: int = 1):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.asked = False
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[int]] = {}
        self._last = 0
        # as many cells as cores run side by side: more threads a cell would only get in the way
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", SERVER, *(["--preload"] if forks else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=env,
                start_new_session=True,  # Ctrl-C is for us; what runs is asked to save and leave
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, words: Sequence[str], out: Path, log: Path, env: Mapping[str, str]) -> int:
        """Run `sage-bench WORDS` to its end; returns its exit code, minus the number of the signal
        that ended it. out, log: files its standard output and error go to."""
        future: Future[int] = Future()
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting[number] = future
        self._send(
            {
                "id": number,
                "words": list(words),
                "out": str(out),
                "log": str(log),
                "env": dict(env),
            }
        )
        return future.result()

    def stop(self, number: int = TERM) -> None:
        """Ask every running command to save and leave; KILL takes them away."""
        self.asked = True
        with self._lock:
            running = list(self._waiting)
        for command in running:
            self._send({"id": command, "signal": number})

    def close(self) -> None:
        """End the server, and what it still runs."""
        assert self._process.stdin is not None
        with self._lock:
            if not self._process.stdin.closed:
                self._process.stdin.close()
        self._process.wait()

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._gone() from error

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            if "code" in reply:
                with self._lock:
                    future = self._waiting.pop(int(reply["id"]))
                future.set_result(int(reply["code"]))
        with self._lock:
            left = list(self._waiting.values())
            self._waiting.clear()
        for future in left:
            future.set_exception(self._gone())

    def _gone(self) -> SageBenchError:
        return SageBenchError(
            "the process that starts the cells has ended",
            where=str(self.log),
            remedy="run the same command again; its log says why",
        )
