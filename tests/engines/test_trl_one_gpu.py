"""What one GPU asks for on engine trl: adapters, 8-bit moments, optimiser state on the host."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from program import run
from safetensors.torch import load_file
from small_runs import build, distance, train
from test_lora import logits

from sage_bench.engines.base import RolloutBatch
from sage_bench.engines.local.learner import PLAIN
from sage_bench.generation import adapters
from sage_bench.generation.local.policy import load_policy
from sage_bench.methods.objective import Objective
from sage_bench.types import Row
from sage_bench.utils.files import read_jsonl

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TRL = "engine.name=trl"
RUN = ("train.prompts_per_step=4", "sampling.max_tokens=32", "method.group_size=4")
LORA = ("engine.lora.rank=4", "optim.lr=1e-3", *RUN)
FILES = (adapters.WEIGHTS, adapters.CONFIG, "optimizer.safetensors", "engine.json")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(autouse=True)
def needs_extras():
    for part in ("trl", "peft"):
        if "CI_NEEDS_TRL" not in os.environ:
            pytest.importorskip(part, reason=f"{part} is not installed")


# ---- adapters ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Last checkpoints of the same run with adapters on both engines."""
    folder = tmp_path_factory.mktemp("adapters")
    names = ("local", "trl")
    return tuple(
        train(folder / name, *LORA, f"engine.name={name}", backend="sage") for name in names
    )


def test_both_engines_draw_the_same_groups_with_adapters(pair):
    local, trl = (list(read_jsonl(last.parents[1] / "ledger.jsonl")) for last in pair)
    assert local == trl


def test_both_engines_end_in_the_same_adapters(pair):
    # four steps of Adam, which makes small gradients as large as others
    assert distance(pair[1] / adapters.WEIGHTS, pair[0] / adapters.WEIGHTS) < 1e-3


def test_a_checkpoint_of_adapters_has_the_files_and_names_of_local(pair):
    local, trl = ({f.name for f in last.iterdir()} for last in pair)
    assert local == trl
    assert not (pair[1] / "model.safetensors").exists()
    described = [json.loads((last / adapters.CONFIG).read_text()) for last in pair]
    assert described[0] == described[1]


def test_adapters_go_on_from_a_checkpoint_bit_for_bit(pair, tmp_path):
    train(tmp_path / "run", *LORA, TRL, "train.steps=2", backend="sage")
    last = train(tmp_path / "run", *LORA, TRL, backend="sage")
    assert all((last / f).read_bytes() == (pair[1] / f).read_bytes() for f in FILES)


def test_adapters_are_merged_by_export(pair, tmp_path):
    out = tmp_path / "whole"
    done = run("export", str(pair[1].parents[1]), "--merge", "--out", str(out))
    assert done.returncode == 0, done.stderr
    merged, read = load_policy(str(out)), load_policy(str(pair[1]))
    assert torch.equal(logits(merged.model), logits(read.model))


def test_gradients_of_adapters_are_those_of_the_local_engine_for_every_backend():
    script = str(ROOT / "scripts" / "engine_conformance.py")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [*start, script, "engine.lora.rank=4"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(line, env=env, capture_output=True, text=True, timeout=580)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" yes ") >= 20


def rows() -> list[Row]:
    tokens = ((11, 12, 13), (14, 15), (16, 17, 18, 19))
    return [
        Row((7, 8, 9), own, torch.full((len(own),), 1.0 - i), "g") for i, own in enumerate(tokens)
    ]


def updated(folder: Path, *words: str, updates: int = 1) -> torch.Tensor:
    """What learns, after updates without a run."""
    words = ("train.steps=9", "train.updates_per_step=1", "optim.lr=1e-2", *words)
    engine = build(folder, TRL, *words).engine

    def program():
        for _ in range(updates):
            yield RolloutBatch(rows(), Objective(), PLAIN)

    engine.follow(program())
    own = [p for p in engine.policy.model.parameters() if p.requires_grad]
    return torch.cat([p.detach().flatten() for p in own])


def test_dropout_of_adapters_is_not_switched_off(tmp_path):
    words = ("engine.lora.rank=4", "engine.lora.dropout=0.5")
    # the first update has no gradient on A, and what B gets hangs on what A let through
    first, again = (updated(tmp_path / name, *words, updates=2) for name in "ab")
    plain = updated(tmp_path / "c", words[0], updates=2)
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)


# ---- the optimiser -------------------------------------------------------------------------------
OPTIMISERS = {
    "8 bits": ("optim.name=adamw8bit",),
    "host": ("optim.offload=true",),
    "8 bits on the host": ("optim.name=adamw8bit", "optim.offload=true"),
}


@needs_bitsandbytes
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_takes_the_steps_of_the_local_engine(name, tmp_path):
    words = (*OPTIMISERS[name], "train.steps=2", "optim.lr=1e-4")
    local = train(tmp_path / "local", *words)
    trl = train(tmp_path / "trl", *words, TRL)
    assert distance(trl / "model.safetensors", local / "model.safetensors") < 1e-5
    file = "optimizer.safetensors"
    assert load_file(trl / file).keys() == load_file(local / file).keys()


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["8 bits", "host"])
def test_its_state_goes_on_from_a_checkpoint_bit_for_bit(name, tmp_path):
    words = (*OPTIMISERS[name], TRL)
    straight = train(tmp_path / "a", *words, "train.steps=2")
    train(tmp_path / "b", *words, "train.steps=1")
    resumed = train(tmp_path / "b", *words, "train.steps=2")
    files = ("model.safetensors", "optimizer.safetensors")
    assert all((straight / f).read_bytes() == (resumed / f).read_bytes() for f in files)


def test_state_on_the_host_leaves_the_weights_as_they_would_be(tmp_path):
    plain = updated(tmp_path / "a", updates=3)
    assert torch.equal(updated(tmp_path / "b", "optim.offload=true", updates=3), plain)


def test_a_step_that_is_left_out_leaves_the_host_alone(tmp_path):
    words = ("train.steps=9", "optim.offload=true", "optim.on_nonfinite=skip")
    engine = build(tmp_path, TRL, *words).engine
    before = [master.detach().clone() for master in engine.learner.optim.masters]
    broken = [Row(r.prompt, r.tokens, r.advantage * float("nan"), r.group) for r in rows()]

    def program():
        yield RolloutBatch(broken, Objective(), PLAIN)

    engine.follow(program())
    after = engine.learner.optim.masters
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
