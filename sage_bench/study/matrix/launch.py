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


class ServerGone(SageBenchError):
    """The server ended under a command: that says nothing about the command."""


class Launcher:
    """A server that runs commands (`sage_bench.cli.cell_server`). Thread-safe.

    forks: its libraries are imported once and every command is a fork. Only for commands that use
    no accelerator: a driver does not survive a fork.
    """

    def __init__(self, log: Path, *, forks: bool, threads: int = 1):
        self.log = log
        self.forks = forks
        self.threads = threads
        self.asked = False
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[int]] = {}
        self._last = 0
        self._process: subprocess.Popen[bytes] | None = None

    def _server(self) -> subprocess.Popen[bytes]:
        """The server, begun with the first command: where nothing is to do, nothing is imported.
        The caller holds the lock."""
        if self._process is None or self._process.poll() is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            # as many cells as cores run side by side: more threads a cell would be in the way
            env = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
            with self.log.open("ab") as file:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", SERVER, *(["--preload"] if self.forks else [])],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env=env,
                    # Ctrl-C is for us; what runs is asked to save and leave
                    start_new_session=True,
                )
            self._waiting = {}
            told = (self._process, self._waiting)
            threading.Thread(target=self._listen, args=told, daemon=True).start()
        return self._process

    def run(self, words: Sequence[str], out: Path, log: Path, env: Mapping[str, str]) -> int:
        """Run `sage-bench WORDS` to its end; returns its exit code, minus the number of the signal
        that ended it. out, log: files its standard output and error go to."""
        future: Future[int] = Future()
        with self._lock:
            server = self._server()
            self._last += 1
            self._waiting[self._last] = future
            request = {
                "id": self._last,
                "words": list(words),
                "out": str(out),
                "log": str(log),
                "env": dict(env),
            }
            self._send(server, request)
        return future.result()

    def stop(self, number: int = TERM) -> None:
        """Ask every running command to save and leave; KILL takes them away."""
        self.asked = True
        with self._lock:
            for command in self._waiting:
                if self._process is not None:
                    self._send(self._process, {"id": command, "signal": number})

    def close(self) -> None:
        """End the server, and what it still runs."""
        with self._lock:
            process = self._process
            if process is not None and process.stdin is not None:
                process.stdin.close()
        if process is not None:
            process.wait()

    def _send(self, server: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
        assert server.stdin is not None
        try:
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._gone() from error

    def _listen(self, server: subprocess.Popen[bytes], waiting: dict[int, Future[int]]) -> None:
        """Hand on what the server says. waiting: for its commands, not for those of another."""
        assert server.stdout is not None
        for line in server.stdout:
            reply = json.loads(line)
            if "code" in reply:
                with self._lock:
                    future = waiting.pop(int(reply["id"]))
                future.set_result(int(reply["code"]))
        with self._lock:
            left = list(waiting.values())
            waiting.clear()
        for future in left:
            future.set_exception(self._gone())

    def _gone(self) -> ServerGone:
        return ServerGone(
            "the process that starts the cells has ended",
            where=str(self.log),
            remedy="run the same command again; its log says why",
        )
