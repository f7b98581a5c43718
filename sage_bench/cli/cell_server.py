"""Runs `sage-bench` commands one beside the other for a matrix, and says how each ended.

`python -m sage_bench.cli.cell_server [--preload]`. Requests and replies are JSON lines on standard
input and output. With `--preload` the libraries are imported once, and every command is a fork of
this process: it starts in a fraction of a second and has everything else of its own (signals, log,
exit code, crash). Without, every command is a new Python. At the end of its input, also when the
matrix was killed, it asks the commands to stop, so that they save what they have.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

TICK = 0.05  # seconds between looks for commands that ended
GRACE = 120.0  # seconds that commands have to finish their step and save it
REAPED = -(10**6)  # an exit status that somebody else took


# what training and evaluation import one by one as they come to it
MODULES = (
    "sage_bench.api.evaluation",
    "sage_bench.api.training",
    "sage_bench.cli.main",
    "sage_bench.evaluation.runner",
    "sage_bench.generation.samplers.hf",
    "sage_bench.reporting.export",
    "sage_bench.training.loop",
    "sage_bench.training.setup",
    "datasets",
    "lm_eval.tasks",
    "torch.utils.tensorboard",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen3.modeling_qwen3",
)


def preload() -> None:
    """Import what training and evaluation need. Starts no thread and touches no accelerator."""
    from sage_bench.cli.common import quiet_libraries

    quiet_libraries()  # before the libraries it silences are imported
    for name in MODULES:
        importlib.import_module(name)
    from sage_bench.data.registry import DATASETS
    from sage_bench.engines.registry import ENGINES
    from sage_bench.generation.registry import SAMPLERS
    from sage_bench.grading.registry import GRADERS
    from sage_bench.judges.registry import JUDGES
    from sage_bench.methods.registry import BACKENDS

    for registry in (BACKENDS, DATASETS, ENGINES, GRADERS, JUDGES, SAMPLERS):
        registry.names()  # loads its entries


@dataclass
class Command:
    """A running command. process: None for a fork."""

    id: int
    pid: int
    process: subprocess.Popen[bytes] | None = None

    def ended(self) -> int | None:
        """Its exit code, minus the signal's number where one ended it; None while it runs."""
        if self.process is not None:
            return self.process.poll()
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return REAPED
        return os.waitstatus_to_exitcode(status) if pid else None

    def ask_to_stop(self, number: int) -> None:
        """Send a signal. Only to a command that was not yet seen to end, so its pid is its own."""
        os.kill(self.pid, number)


class Server:
    """The commands of one matrix."""

    def __init__(self, forks: bool) -> None:
        self.forks = forks
        self.commands: dict[int, Command] = {}
        self.buffer = b""
        self.open = True

    def serve(self) -> dict[str, Any] | None:
        """Until the input ends and all commands have. Returns a request in the process that is to
        be the command, None in the server itself."""
        deadline: float | None = None
        while self.open or self.commands:
            for request in self._requests():
                become = self._handle(request)
                if become is not None:
                    return become
            self._report()
            if not self.open:
                deadline = deadline or self._close()
                if time.monotonic() > deadline:
                    self._signal_all(signal.SIGKILL)
        return None

    def leave(self, number: int, frame: FrameType | None) -> None:
        """Asked to stop by a signal: as at the end of the input."""
        self.open = False

    def _requests(self) -> list[dict[str, Any]]:
        """Whole lines that have come in, after waiting a moment for some."""
        if not self.open:
            time.sleep(TICK)
            return []
        ready, _, _ = select.select([0], [], [], TICK)
        if not ready:
            return []
        chunk = os.read(0, 1 << 16)
        if not chunk:
            self.open = False
            return []
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines if line.strip()]

    def _handle(self, request: dict[str, Any]) -> dict[str, Any] | None:
        number = int(request["id"])
        if "signal" in request:
            if number in self.commands:
                self.commands[number].ask_to_stop(int(request["signal"]))
            return None
        if self.forks:
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                return request
            self.commands[number] = Command(number, pid)
        else:
            process = _spawn(request)
            self.commands[number] = Command(number, process.pid, process)
        _say({"id": number, "pid": self.commands[number].pid})
        return None

    def _report(self) -> None:
        for command in list(self.commands.values()):
            code = command.ended()
            if code is not None:
                del self.commands[command.id]
                _say({"id": command.id, "code": code})

    def _close(self) -> float:
        self._signal_all(signal.SIGTERM)
        return time.monotonic() + GRACE

    def _signal_all(self, number: int) -> None:
        for command in self.commands.values():
            command.ask_to_stop(number)


def _say(reply: dict[str, Any]) -> None:
    try:
        os.write(1, json.dumps(reply).encode() + b"\n")
    except BrokenPipeError:
        return  # the matrix is gone: the end of the input says so too


def _spawn(request: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sage_bench", *request["words"]]
    with Path(request["out"]).open("wb") as out, Path(request["log"]).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env={**os.environ, **request["env"]},
        )


def become(request: dict[str, Any]) -> None:
    """Turn this fork into the command: its streams, environment and words."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for there, here in ((nothing, 0), (out, 1), (log, 2)):
        os.dup2(there, here)
        os.close(there)
    os.environ.update(request["env"])
    sys.argv = ["sage-bench", *request["words"]]


def main() -> None:
    """Serve; in a fork, be the command and leave as it leaves."""
    forks = "--preload" in sys.argv[1:]
    server = Server(forks)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, server.leave)
    if forks:
        preload()
    _say({"ready": True})
    request = server.serve()
    if request is None:
        return
    become(request)
    from sage_bench.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
