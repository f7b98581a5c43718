"""The TRL engine in two processes (gloo, on a CPU), and what is injected into one of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from forked_ranks import Ranks
from rank_runs import distance, last, starter, words_of

from sage_bench.utils.files import read_jsonl

pytestmark = pytest.mark.slow
SUPPORT = Path(__file__).resolve().parents[1] / "support"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def needs_trl():
    if "CI_NEEDS_TRL" not in os.environ:
        pytest.importorskip("trl", reason="the extra `trl` is not installed")


@pytest.fixture(scope="module")
def ranks():
    with Ranks() as started:
        yield started


@pytest.fixture(scope="module")
def run(ranks):
    return starter(ranks)


def same(a: Path, b: Path) -> bool:
    files = ("model.safetensors", "optimizer.safetensors", "method.json")
    return all((last(a) / f).read_bytes() == (last(b) / f).read_bytes() for f in files)


def timeless(folder: Path) -> list[dict]:
    rows = read_jsonl(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory) -> Path:
    """Three steps in two processes without a fault."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    ended = run(folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_one_process_and_two_draw_the_same_groups(run, straight, tmp_path):
    alone = tmp_path / "alone"
    ended = run(alone, processes=1)
    assert ended.returncode == 0, ended.stderr
    one, two = (list(read_jsonl(f / "ledger.jsonl")) for f in (alone, straight))
    assert one == two
    # the same update: what is left is the order in which float32 gradients are summed
    assert distance(alone, straight) < 1e-5


def test_only_the_first_process_speaks_and_writes(straight):
    assert not list(straight.glob("status.rank*"))
    assert json.loads((straight / "status.json").read_text())["state"] == "done"


def test_torchrun_starts_the_command_of_the_documentation(tmp_path):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = words_of(tmp_path / "run", "train.steps=2", backend="sage")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [*start, "-m", "sage_bench", *words]
    ended = subprocess.run(line, env=env, capture_output=True, text=True, timeout=580)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(tmp_path / "run" / "checkpoints" / "step_000002")]


def test_gradients_are_those_of_the_local_engine_for_every_backend():
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(ROOT / "scripts" / "engine_conformance.py")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*start, script], env=env, capture_output=True, text=True, timeout=580)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" yes ") >= 20


@pytest.mark.parametrize(
    "fault",
    [
        "kill 1 roll 1",
        "kill all credit 1",
        "kill 1 backward 2",
        "kill 0 checkpoint 1",
    ],
)
def test_kill_nine_and_the_same_command_again(run, fault, straight, tmp_path):
    folder = tmp_path / "run"
    killed = run(folder, fault=fault)
    assert killed.returncode != 0
    assert list(tmp_path.glob("run.met.*")), "the fault was not met"
    ended = run(folder, fault=fault)
    assert ended.returncode == 0, ended.stderr
    assert same(folder, straight)
    assert timeless(folder) == timeless(straight)


DOING = {
    "roll": "the method begins with a batch",
    "answer": "round 1: 2 Slow",
    "backward": "updating the weights",
}


@pytest.mark.parametrize("stage", DOING)
def test_a_rank_that_hangs_is_named_with_what_it_was_doing(run, stage, tmp_path):
    ended = run(tmp_path / "run", "engine.rank_minutes=0.5", fault=f"hang 1 {stage} 1")
    assert ended.returncode != 0
    said = re.search(r"error: rank 0 waited 0.5 minutes.*", ended.stderr)
    assert said, ended.stderr
    assert re.search(rf"rank 1: {DOING[stage]}.* for \d+ s", said[0])
    assert "engine.rank_minutes" in said[0]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def test_a_rank_whose_method_hangs_stops_itself(run, tmp_path):
    ended = run(tmp_path / "run", "train.stall_minutes=0.3", fault="hang 1 credit 1")
    assert ended.returncode != 0
    assert "no sign of life of rank 1 for 0.3 minutes" in ended.stderr
    assert "no sign of life of rank 0" not in ended.stderr


def test_a_loss_that_is_not_finite_on_one_rank_is_left_out_on_both(run, tmp_path):
    folder = tmp_path / "run"
    words = ["optim.on_nonfinite=skip", "train.updates_per_step=1"]
    ended = run(folder, *words, "train.steps=6", fault="nan 1 backward 0,2,3,4")
    rows = timeless(folder)
    assert [row["learner/skipped_steps"] for row in rows][:2] == [1, 0]
    assert ended.returncode != 0
    assert "3 optimiser steps in a row could not be taken" in ended.stderr


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(run, straight, tmp_path):
    folder = tmp_path / "run"
    assert run(folder, fault="kill all roll 2").returncode != 0
    broken = folder / "checkpoints" / "step_000002" / "model.safetensors"
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    ended = run(folder)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("set aside as .damaged-step_000002") == 1
    assert same(folder, straight)


def test_a_full_disk_loses_nothing(run, straight, tmp_path):
    folder = tmp_path / "run"
    full = run(folder, file_bytes=100_000)  # the weights do not fit
    assert full.returncode != 0
    assert "cannot be written" in full.stderr
    ended = run(folder)
    assert ended.returncode == 0, ended.stderr
    assert same(folder, straight)


def test_both_ranks_halve_where_one_is_out_of_memory(run, tmp_path):
    """Two groups of two rows a rank, of about 50 tokens each: rank 1 has room for one group."""
    small, full = tmp_path / "small", tmp_path / "full"
    ended = run(small, "engine.micro_tokens=128")
    assert ended.returncode == 0, ended.stderr
    ended = run(full, "engine.micro_tokens=512", room="1:150")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("goes on with micro-batches of 128 tokens") == 1
    assert "rank 1: CUDA out of memory" in ended.stderr
    weights = [(last(folder) / "model.safetensors").read_bytes() for folder in (small, full)]
    assert weights[0] == weights[1]
    assert timeless(full)[0]["learner/out_of_memory"] == 2


def test_both_ranks_stop_where_a_row_does_not_fit_one(run, tmp_path):
    ended = run(tmp_path / "run", room="1:20")
    assert ended.returncode != 0
    assert "a single completion does not fit the device (rank 1: CUDA" in ended.stderr
    assert "engine.micro_tokens=" in ended.stderr


def test_ragged_rounds_on_weights_that_fsdp2_has_sharded(tmp_path):
    """torch's FSDP2, which accelerate calls."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [*start, str(SUPPORT / "sharded_rounds.py"), str(tmp_path / "moments.safetensors")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    for rank in json.loads(ended.stdout.splitlines()[-1]):
        assert rank["tokens"]
        assert rank["gap"] < 1e-4
        assert rank["far"] < 1e-3
        assert rank["state"]
        assert rank["restored"]
