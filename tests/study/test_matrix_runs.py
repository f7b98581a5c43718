"""Whole studies of a few steps: trained, killed, gone on with, kept elsewhere, run by Ray."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sage_bench.api.matrix import batch_files, matrix, one_cell, plan
from sage_bench.study.matrix.state import read_record
from sage_bench.training.checkpoint import digest
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import locked

SMALL = """\
name: small
models: [tiny-llama]
backends: [base, grpo, sage]
seeds: 1
data: tiny
set: {{train.steps: 2, train.prompts_per_step: 2, method.group_size: 2, validation.limit: 2,
       sampling.max_tokens: 32, log.kl_rows: 0}}
equal: {{tokens: [grpo], reference: sage}}
evaluation:
  tasks: tiny_short:1
  limit: 2
  set: {{sampler.threads: 1}}
"""
BROKEN_TOO = "grpo, sage, broken]\nbackend_files: [{folder}/broken.py]"
WITH_BROKEN = SMALL.replace("grpo, sage]", BROKEN_TOO)
BROKEN = '''\
"""A backend that fails in its first step."""
from sage_bench.backends.grpo import GRPO
from sage_bench.methods.registry import register_backend


@register_backend("broken")
class Broken(GRPO):
    """Fails."""

    def roll(self, problem):
        raise ValueError("the lights went out")
        yield
'''
ROW = "tiny-llama/grpo/seed_0"
EQUAL = "tiny-llama/grpo_equal_tokens/seed_0"


def small(folder: Path, text: str = SMALL) -> Path:
    file = folder / "small.yaml"
    file.write_text(text.format(folder=folder))
    return file


def weights(out: Path, cell: str) -> str:
    return digest(out / read_record(out, cell).result["checkpoint"] / "model.safetensors")


def test_a_second_matrix_on_one_folder_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with locked(out), pytest.raises(SageBenchError, match="another process"):
        matrix(small(tmp_path), out)


def test_a_cell_whose_needs_are_not_done_is_refused(tmp_path):
    with pytest.raises(SageBenchError, match=f"it needs select/{ROW}, which is not done"):
        one_cell(small(tmp_path), tmp_path / "out", f"eval/{ROW}")


# ---- one study, looked at from all sides --------------------------------------------------------
@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "broken.py").write_text(BROKEN)
    config = small(folder, WITH_BROKEN)
    result = matrix(config, folder / "out", store=f"file://{folder}/store")
    return config, folder / "out", result


@pytest.mark.slow
def test_a_failed_cell_stops_no_other_and_leaves_its_reason_in_the_table(study):
    _, out, result = study
    table = (out / "table.md").read_text()
    assert (result.done, result.cells) == (10, 13)
    assert result.partial is not None
    assert "| broken (failed) |" in table
    assert "the lights went out" in table
    record = read_record(out, "train/tiny-llama/broken/seed_0")
    assert record.state == "failed"
    assert "sage-bench train --backend broken" in record.commands[0]


@pytest.mark.slow
def test_a_row_at_an_equal_budget_sampled_as_much_as_its_reference(study):
    _, out, _ = study
    found = read_record(out, f"train/{EQUAL}").result
    reference = read_record(out, "train/tiny-llama/sage/seed_0").result
    assert found["target"] == reference["tokens"]
    assert found["tokens"] >= reference["tokens"]


@pytest.mark.slow
def test_the_command_of_a_cell_typed_by_hand_ends_in_the_same_weights(study, tmp_path):
    """The hardest case: a fork of a preloaded process that went on from another row's run."""
    _, out, _ = study
    words = shlex.split(read_record(out, f"train/{EQUAL}").commands[-1])
    words[words.index("--out") + 1] = str(tmp_path)
    assert words[:2] == ["OMP_NUM_THREADS=1", "sage-bench"]
    run = [sys.executable, "-m", "sage_bench", *words[2:]]
    typed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[-1]
    assert digest(Path(typed) / "model.safetensors") == weights(out, f"train/{EQUAL}")


@pytest.mark.slow
def test_the_same_call_again_does_nothing(study):
    config, out, _ = study
    before = {name: read_record(out, name) for name in plan(config, out).study.cells}
    matrix(config, out)
    assert {name: read_record(out, name) for name in before} == before


@pytest.mark.slow
def test_another_machine_takes_finished_cells_from_the_store(study, tmp_path):
    config, out, _ = study
    store = f"file://{out.parent}/store"
    result = matrix(config, tmp_path, store=store, only=[f"eval/{ROW}", "eval/*/base"])
    assert (result.done, result.cells) == (4, 4)
    assert not list((tmp_path / "logs").rglob("log"))  # no command was run
    assert weights(tmp_path, f"train/{ROW}") == weights(out, f"train/{ROW}")
    assert "| grpo |" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_a_cell_whose_inputs_changed_is_run_again_and_says_which(study):
    config, out, _ = study
    words = "{name: grpo, set: {train.steps: 1}}, sage,"
    config.write_text(config.read_text().replace("grpo, sage,", words))
    before = read_record(out, "train/tiny-llama/sage/seed_0")
    matrix(config, out, only=[f"eval/{ROW}", "train/*/sage/*"])
    record = read_record(out, f"train/{ROW}")
    assert record.changed == ["train.steps: 2 then, 1 now"]
    assert record.result["steps"] == 1
    assert "train.steps: 2 then, 1 now" in read_record(out, f"eval/{ROW}").changed
    assert read_record(out, "train/tiny-llama/sage/seed_0") == before
    assert len(list((out / "runs/tiny-llama/grpo/.trash").iterdir())) == 1


# ---- interruptions ------------------------------------------------------------------------------
LONG = SMALL.replace("[base, grpo, sage]", "[grpo]").replace(
    "equal: {{tokens: [grpo], reference: sage}}\n", ""
)


def begun(run: Path, deadline: float = 300.0) -> bool:
    """Wait until a training has done a step."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        file = run / "metrics.jsonl"
        if file.is_file() and file.read_text().count("\n") >= 1:
            return True
        time.sleep(0.1)
    return False


def nobody_writes(run: Path, deadline: float = 120.0) -> bool:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            with locked(run):
                return True
        except SageBenchError:
            time.sleep(0.5)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_matrix_goes_on_and_leaves_no_process(tmp_path, number):
    config = small(tmp_path, LONG.replace("train.steps: 2", "train.steps: 40"))
    out, run = tmp_path / "out", tmp_path / "out/runs/tiny-llama/grpo/seed_0"
    command = [sys.executable, "-m", "sage_bench", "matrix", str(config), "--out", str(out), "-q"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert begun(run)
    process.send_signal(number)
    assert process.wait() == (-9 if number == signal.SIGKILL else 143)
    assert nobody_writes(run)  # the training was asked to save and leave
    state = read_record(out, f"train/{ROW}").state
    assert state == ("running" if number == signal.SIGKILL else "interrupted")
    done = len((run / "metrics.jsonl").read_text().splitlines())
    assert 1 <= done < 40
    config.write_text(config.read_text().replace("name: small", "name: renamed"))  # no input
    result = matrix(config, out, only=[f"train/{ROW}"])
    assert (result.done, result.cells) == (1, 1)
    assert read_record(out, f"train/{ROW}").changed == []


# ---- SLURM ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_batch_file_run_by_bash_does_its_cell(tmp_path):
    program = tmp_path / "bin" / "sage-bench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -m sage_bench "$@"\n')
    program.chmod(0o755)
    files = {f.name: f for f in batch_files(small(tmp_path, LONG), tmp_path / "out")}
    env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    file = files["train_tiny-llama_grpo_seed_0.sbatch"]
    done = subprocess.run(["bash", file], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"train/{ROW}: done"
    assert read_record(tmp_path / "out", f"train/{ROW}").result["steps"] == 2


# ---- Ray ----------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ray_finishes_a_study_though_a_worker_is_killed_in_mid_cell(tmp_path, monkeypatch):
    """Two nodes on this machine; the worker under a training dies, Ray starts the cell again on
    another one, and it goes on from what was saved."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    from ray.cluster_utils import Cluster

    config = small(tmp_path, LONG.replace("train.steps: 2", "train.steps: 30, train.save_every: 5"))
    out = tmp_path / "out"
    run = out / "runs/tiny-llama/grpo/seed_0"
    killed: list[int] = []

    def kill_worker() -> None:
        if begun(run):
            (log,) = (out / f"logs/train/{ROW}").glob("server-*.log")
            killed.append(int(log.stem.partition("-")[2]))
            os.kill(killed[0], signal.SIGKILL)

    # Ray's workers are nice by 15, and starve on a machine where others work
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        watcher = threading.Thread(target=kill_worker)
        watcher.start()
        result = matrix(config, out, executor="ray", address=cluster.address)
        watcher.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed
    tries = list((out / f"logs/train/{ROW}").glob("server-*.log"))
    assert len(tries) == 2  # the one that died, and another
    assert (result.done, result.cells) == (3, 3)
    assert read_record(out, f"train/{ROW}").result["steps"] == 30
    assert (out / "table.md").is_file()
