"""For tests with a real vLLM on a CPU: what they need, a short run, and `vllm serve`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from server import free_port
from small_runs import train

from sage_bench.generation.model_folders import model_path

NEEDS_VLLM = [
    pytest.mark.skipif(
        find_spec("vllm") is None,
        reason="vLLM is not installed; scripts/vllm_cpu_env.sh makes an environment with it",
    ),
    pytest.mark.timeout(1800),
]
METHODS = str(Path(__file__).with_name("rounds_method.py"))
# what a server is started with to take all weights, or adapters
TAKES_WEIGHTS = ("--weight-transfer-config", '{"backend": "sage_bench_files"}')
TAKES_ADAPTERS = ("--enable-lora", "--max-lora-rank", "8")


def coins(folder: Path, *words: str) -> Path:
    """A run of three rounds a step whose every group has a signal; its last checkpoint."""
    more = (
        "train.steps=3",
        "method.group_size=4",
        "optim.lr=1e-3",
        "optim.warmup_steps=0",
        "engine.vllm.max_num_seqs=32",
    )
    return train(folder, *more, *words, backend="three_rounds", backend_files=[METHODS])


class VllmServe:
    """`vllm serve` of a tiny policy as the error messages say it is started, on a port that stays.
    words: further ones of its command line."""

    def __init__(self, folder: Path, *words: str, model: str = "llama"):
        self.folder = folder
        self.model = model
        self.words = words
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        words = [
            *("vllm.entrypoints.openai.api_server", "--model"),
            model_path(f"package:data/tiny_policies/{self.model}"),
            *("--port", str(self.port), "--dtype", "float32", "--enforce-eager"),
            *("--max-num-seqs", "32", "--gpu-memory-utilization", "0.3"),
            *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"),
            *self.words,
        ]
        env = {
            **os.environ,
            "SAGE_BENCH_TRAINS": "1",
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_LOGGING_LEVEL": "WARNING",
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )

    def kill(self) -> None:
        # a session of its own: the engine's process goes too
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> None:
        end = time.monotonic() + 600
        while True:
            log = (self.folder / "server.log").read_text(errors="replace")
            assert self.process.poll() is None, log[-3000:]
            assert time.monotonic() < end, log[-3000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
