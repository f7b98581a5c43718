"""Real vLLM and two processes of engine `trl`, on a CPU: one in each of them, with weights whole
on every rank or spread over both by FSDP2, and a server that both share."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from vllm_serve import NEEDS_VLLM, TAKES_ADAPTERS, TAKES_WEIGHTS, VllmServe

pytestmark = [
    *NEEDS_VLLM,
    pytest.mark.skipif(find_spec("trl") is None, reason="the extra `trl` is not installed"),
]
VLLM = ("engine.rollouts=vllm", "engine.vllm.max_num_seqs=32")
LORA = ("engine.lora.rank=4", "optim.lr=1e-2")


@pytest.fixture(scope="module")
def run():
    from forked_ranks import Ranks
    from rank_runs import starter

    with Ranks() as ranks:
        yield starter(ranks)


def fsdp2() -> dict:
    """What tells `run` to spread the weights."""
    from accelerate_launch import environment

    from sage_bench.api.launching import packaged

    env = environment(packaged()["fsdp2-8gpu"]) | {"ACCELERATE_MIXED_PRECISION": "no"}
    return {"env": env, "shards": True}


@pytest.mark.parametrize(
    ("words", "spread"), [(LORA, False), ((), True)], ids=["adapters, whole", "all weights, fsdp2"]
)
def test_two_processes_draw_and_learn_what_one_does(run, words, spread, tmp_path):
    from rank_runs import distance

    from sage_bench.generation import adapters
    from sage_bench.utils.files import read_jsonl

    def ended(name: str, **how) -> Path:
        done = run(tmp_path / name, *VLLM, *words, **how)
        assert done.returncode == 0, done.stderr[-3000:]
        return tmp_path / name

    one = ended("one", processes=1)
    two = ended("two", **(fsdp2() if spread else {}))
    rows = list(read_jsonl(two / "metrics.jsonl"))
    assert [row["weight_syncs"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(0 < row["probe_gap_max"] < 1e-3 for row in rows)
    assert list(read_jsonl(one / "ledger.jsonl")) == list(read_jsonl(two / "ledger.jsonl"))
    weights = adapters.WEIGHTS if words else "model.safetensors"
    assert distance(two, one, weights) < 1e-4


@pytest.fixture
def server(tmp_path):
    """Starts a server with further words of its command line."""
    started: list[VllmServe] = []

    def start(*words: str) -> VllmServe:
        folder = tmp_path / "server"
        folder.mkdir()
        started.append(VllmServe(folder, *words, model="qwen2"))
        started[0].start()
        started[0].wait()
        return started[0]

    yield start
    started[0].kill()


def kill_after_a_step(server, run: Path) -> None:
    """kill -9 of the server once a run has taken its first step; it is started again at once."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n")):
        assert time.monotonic() < deadline, "the run takes no step"
        time.sleep(0.01)
    server.kill()
    server.start()


@pytest.mark.parametrize(
    ("words", "served"),
    [((), TAKES_WEIGHTS), (LORA, TAKES_ADAPTERS)],
    ids=["all weights", "adapters"],
)
def test_two_processes_share_a_server_that_dies_and_comes_back(
    run, server, words, served, tmp_path
):
    from rank_runs import distance

    from sage_bench.generation import adapters
    from sage_bench.utils.files import read_jsonl

    found = server(*served)

    def ended(name: str, **how) -> Path:
        url = f"engine.vllm.url={found.url}"
        done = run(tmp_path / name, "engine.rollouts=vllm-server", url, *words, **how)
        assert done.returncode == 0, done.stderr[-3000:]
        return tmp_path / name

    one, two = ended("one", processes=1), ended("two")
    rows = list(read_jsonl(two / "metrics.jsonl"))
    assert [row["weight_syncs"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(0 < row["probe_gap_max"] < 1e-3 for row in rows)
    assert list(read_jsonl(one / "ledger.jsonl")) == list(read_jsonl(two / "ledger.jsonl"))

    killer = threading.Thread(target=kill_after_a_step, args=(found, tmp_path / "killed"))
    killer.start()
    killed = ended("killed")
    killer.join()
    rows = list(read_jsonl(killed / "metrics.jsonl"))
    assert sum(row["sampler_restarts"] for row in rows) >= 1
    assert list(read_jsonl(killed / "ledger.jsonl")) == list(read_jsonl(two / "ledger.jsonl"))
    weights = adapters.WEIGHTS if words else "model.safetensors"
    assert distance(killed, two, weights) == 0
