"""Processes over one queue, as `vllm` uses them. vLLM itself is in test_vllm.py."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from echo_worker import __file__ as ECHO
from evaluating import evaluate, rows

from sage_bench.generation.samplers.base import Sampler
from sage_bench.generation.samplers.vllm import group_by_question, split_gpus
from sage_bench.generation.workers import Pool
from sage_bench.types import Completion, Sample, Sampling
from sage_bench.utils.errors import SageBenchError, UsageError


class Echo(Sampler):
    """The pool that `vllm` uses, over workers without an engine."""

    def __init__(self, logs: Path, workers: int, **config):
        self.pool = Pool(
            [sys.executable, ECHO],
            [config] * workers,
            [{}] * workers,
            logs=logs,
            name="echo",
            window=8,
        )
        self.by: Counter[int] = Counter()

    def render(self, messages):
        return json.dumps(messages)

    def draw(self, asks):
        for m in self.pool.run(group_by_question(asks, lambda p: [len(p)], limit=8)):
            self.by[m["pid"]] += 1
            yield (
                m["id"],
                Completion(
                    text=m["text"], finish=m["finish"], prompt_tokens=1, counted=m["tokens"]
                ),
            )

    def fingerprint(self):
        return {"sampler": "echo"}

    def close(self):
        self.pool.close()


def test_s8_05_one_shard_or_four_draw_the_same_samples(tmp_path):
    """vllm #11953: replicas with equal seeds and clones dealt out round-robin give correlated and
    duplicate samples."""
    stored = {}
    for workers in (1, 4):
        sampler = Echo(tmp_path / f"logs{workers}", workers, delay=0.002)
        while (
            len(sampler.pool.about) < workers
        ):  # the first that is ready could draw all of so little alone
            list(sampler.draw([Sample("warm", 1, Sampling(), seed=0)]))
        sampler.by.clear()
        stored[workers] = rows(evaluate(sampler, tmp_path / str(workers), "tiny_short:8", limit=40))
        sampler.close()
        assert len(sampler.by) == workers and min(sampler.by.values()) > 0, (
            "every worker drew something"
        )
    assert len(stored[4]) == len({(r["doc_id"], r["sample"]) for r in stored[4]}) == 320
    assert sorted(stored[1], key=str) == sorted(stored[4], key=str)


def test_all_samples_of_a_question_go_to_one_worker():
    asks = [
        Sample(f"q{d}", 1, Sampling(0.6, 0.95, 9), seed=10 * d + s)
        for d in range(3)
        for s in range(4)
    ]
    groups = group_by_question(asks, lambda p: [ord(c) for c in p], limit=4)
    assert [[n for n, _ in g["asks"]] for g in groups] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]
    assert groups[1]["prompt"] == [ord("q"), ord("1")]
    assert [len(g["asks"]) for g in group_by_question(asks, lambda p: [1], limit=3)] == [3, 1] * 3
    mixed = [*asks, Sample("q0", 1, Sampling(0.6, 0.95, 10), seed=99)]
    assert len(group_by_question(mixed, lambda p: [1], limit=4)) == 4, (
        "another max_tokens is another request"
    )


def test_a_dead_worker_is_an_error_with_its_log_and_what_was_drawn_is_kept(tmp_path):
    sampler = Echo(tmp_path / "logs", 2, delay=0.01, die_after=20)
    with pytest.raises(
        SageBenchError,
        match=r"(?s)ended with code -9.*out of memory, says the engine.*run the same command again",
    ):
        evaluate(sampler, tmp_path / "run", "tiny_short:8")
    sampler.close()
    folder = next((tmp_path / "run").glob("*/*"))
    kept = rows(folder)
    assert 20 <= len(kept) <= 40
    sampler = Echo(tmp_path / "logs", 2)
    evaluate(sampler, tmp_path / "run", "tiny_short:8")
    assert sum(sampler.by.values()) == 96 - len(kept)
    assert rows(folder)[: len(kept)] == kept
    assert len(rows(folder)) == 96
    sampler.close()


def test_a_worker_that_does_not_start_says_why(tmp_path):
    sampler = Echo(tmp_path / "logs", 1, broken=True)
    with pytest.raises(SageBenchError, match="echo worker 0: no such weights"):
        evaluate(sampler, tmp_path / "run")
    sampler.close()


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
from sage_bench.generation.workers import Pool
from pathlib import Path
config = {{"delay": 0.05, "pids": {str(tmp_path / "pids")!r}}}
logs = Path({str(tmp_path)!r})
command = [sys.executable, {ECHO!r}]
pool = Pool(command, [config] * 2, [{{}}] * 2, logs=logs, name="echo", window=8)
for _ in pool.run([{{"asks": [[i, i]]}} for i in range(10000)]): pass
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    file = tmp_path / "pids"
    while not file.exists() or len(file.read_text().split()) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 20
    while alive := [p for p in file.read_text().split() if running(int(p))]:
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_gpus_are_dealt_out_and_nonsense_is_refused():
    assert split_gpus(["2", "5", "7"], 1, 2) == [["2"], ["5"]]
    assert split_gpus([], 1, None) == [[]]
    for gpus, tensor, workers in (
        (["0"], 2, None),
        (["0", "1"], 1, 3),
        (["0"], 1, 0),
        ([], 2, None),
        (["0"], 0, 1),
    ):
        with pytest.raises(UsageError, match="do not fit"):
            split_gpus(gpus, tensor, workers)
