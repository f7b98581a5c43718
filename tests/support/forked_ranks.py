"""Starts the processes of a run by forking one that has imported everything: `torchrun` without the
half minute that every process takes to import TRL.

As a program it reads JSON lines from stdin (`words` of sage-bench, `processes`, `env`,
`file_bytes`, `shards`: see `fsdp_on_cpu`)
and answers each with `codes`, by rank, and `stderr`. When a rank ends in an error, the others are
asked to stop and then killed, as `torchrun` does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GRACE = 10.0  # seconds between asking a rank to stop and killing it


class Ranks:
    """`with Ranks() as ranks: ranks.run([...])`."""

    def __enter__(self) -> Ranks:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=120)  # it unloads torch, on a machine that may be busy
        self.process.stdout.close()

    def run(self, words: list[str], **how: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"words": words, **how}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def child(rank: int, port: int, log: Path, job: dict[str, Any]) -> None:
    """One rank; it does not return."""
    size = job.get("processes", 2)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in numbers.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), **job.get("env", {}))
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    if job.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], resource.RLIM_INFINITY))
    if job.get("shards"):
        import fsdp_on_cpu

        fsdp_on_cpu.allow()
    from sage_bench.cli.main import main

    sys.argv = ["sage-bench", *job["words"]]
    code = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  # a bug's traceback belongs into the log
        import traceback

        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


def wait_for(pids: list[int]) -> list[int]:
    """Exit codes by rank."""
    codes: dict[int, int] = {}
    deadline = None
    while len(codes) < len(pids):
        for pid in pids:
            if pid not in codes:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
        left = [pid for pid in pids if pid not in codes]
        if deadline is None and left and any(codes.values()):
            deadline = time.monotonic() + GRACE
            for pid in left:
                os.kill(pid, signal.SIGTERM)
        elif deadline is not None and time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return [codes[pid] for pid in pids]


def serve() -> None:
    import sage_bench.cli.main
    import sage_bench.engines.trl.build
    import sage_bench.training.loop
    import sage_bench.training.setup  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            logs = [Path(folder) / f"{rank}.log" for rank in range(job.get("processes", 2))]
            pids = []
            for rank, log in enumerate(logs):
                pid = os.fork()
                if pid == 0:
                    child(rank, port, log, job)
                pids.append(pid)
            codes = wait_for(pids)
            text = "".join(log.read_text() for log in logs if log.exists())
        print(json.dumps({"codes": codes, "stderr": text}), flush=True)


if __name__ == "__main__":
    serve()
