"""FSDP2 and DeepSpeed ZeRO-3 through accelerate: two processes with a half of the weights each, on
a CPU.

Processes get the variables that `accelerate launch` sets for `fsdp2-8gpu` and `zero3-8gpu`; with
FSDP2 accelerate is let shard where there is no GPU (`fsdp_on_cpu`). DeepSpeed is no extra of ours:
`scripts/zero3_cpu_env.sh` makes an environment with it.
"""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from forked_ranks import Ranks
from rank_runs import distance, last, starter

from sage_bench.api.launching import packaged
from sage_bench.generation import adapters
from sage_bench.utils.files import read_jsonl

pytestmark = pytest.mark.slow
NAMES = {"fsdp2": "FSDP", "zero3": "DEEPSPEED"}
LORA = ("engine.lora.rank=4", "optim.lr=1e-3")


@pytest.fixture(autouse=True, scope="module")
def needs_trl():
    if "CI_NEEDS_TRL" not in os.environ:
        pytest.importorskip("trl", reason="the extra `trl` is not installed")


@pytest.fixture(scope="module")
def run(needs_trl):
    with Ranks() as ranks:
        yield starter(ranks)


@pytest.fixture(scope="module", params=["fsdp2", "zero3"])
def kind(request) -> str:
    if request.param == "zero3" and find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed; scripts/zero3_cpu_env.sh makes an environment")
    return request.param


@pytest.fixture(scope="module")
def sharded(run, kind):
    """run(folder, *words) with the packaged configuration."""
    from accelerate_launch import environment

    env = environment(packaged()[f"{kind}-8gpu"]) | {"ACCELERATE_MIXED_PRECISION": "no"}

    def start(folder: Path, *words: str, shards: bool = True, **how):
        return run(folder, *words, env=env, shards=shards and kind == "fsdp2", **how)

    return start


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory) -> Path:
    """Three steps in one process, with whole weights."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    ended = run(folder, processes=1)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def straight(sharded, tmp_path_factory) -> Path:
    """Three steps in two processes, with sharded weights."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    ended = sharded(folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_the_weights_are_sharded(straight, kind):
    manifest = (straight / "manifest.json").read_text()
    assert f'"distributed": "{NAMES[kind]}"' in manifest


def test_sharded_weights_draw_the_same_groups(alone, straight):
    one, two = (list(read_jsonl(folder / "ledger.jsonl")) for folder in (alone, straight))
    assert one == two


def test_sharded_weights_take_the_same_update(alone, straight):
    assert distance(straight, alone) < 1e-5


def test_a_checkpoint_has_the_files_of_one_process(alone, straight):
    one, two = ({file.name for file in last(folder).iterdir()} for folder in (alone, straight))
    assert one == two


def test_the_optimiser_state_is_whole_in_it(alone, straight):
    assert distance(straight, alone, "optimizer.safetensors") < 1e-4


def test_a_killed_run_goes_on_from_it_bit_for_bit(sharded, straight, tmp_path):
    folder = tmp_path / "run"
    fault = "kill all credit 2"
    assert sharded(folder, fault=fault).returncode != 0
    assert list(tmp_path.glob("run.met.*")), "the fault was not met"
    ended = sharded(folder, fault=fault)
    assert ended.returncode == 0, ended.stderr
    files = ("model.safetensors", "optimizer.safetensors", "method.json")
    assert all((last(folder) / f).read_bytes() == (last(straight) / f).read_bytes() for f in files)


def test_one_process_goes_on_from_it(run, sharded, alone, tmp_path):
    folder = tmp_path / "run"
    assert sharded(folder, fault="kill all credit 2").returncode != 0
    ended = run(folder, processes=1)
    assert ended.returncode == 0, ended.stderr
    assert distance(folder, alone) < 1e-5


def test_sharded_adapters_take_the_same_update_and_go_on(run, sharded, tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    ended = run(alone, *LORA, processes=1)
    assert ended.returncode == 0, ended.stderr
    fault = "kill all credit 2"
    assert sharded(killed, *LORA, fault=fault).returncode != 0
    assert list(tmp_path.glob("killed.met.*")), "the fault was not met"
    ended = sharded(killed, *LORA, fault=fault)
    assert ended.returncode == 0, ended.stderr
    assert distance(killed, alone, adapters.WEIGHTS) < 1e-5


def test_a_rank_that_is_full_ends_the_run_with_the_key_to_lower(sharded, tmp_path):
    ended = sharded(tmp_path / "run", "engine.micro_tokens=1024", room="1:20")
    assert ended.returncode != 0
    assert "rank 1 is out of memory (CUDA out of memory" in ended.stderr
    assert "engine.micro_tokens=512" in ended.stderr


def test_several_updates_of_a_batch_are_those_of_one_process(run, sharded, tmp_path):
    """The ratios of all but the first are to log-probabilities by spread weights."""
    words = ("train.updates_per_step=2", "optim.grad_clip=0.01")
    for start, name in ((run, "alone"), (sharded, "both")):
        ended = start(tmp_path / name, *words, **({"processes": 1} if start is run else {}))
        assert ended.returncode == 0, ended.stderr
    assert distance(tmp_path / "both", tmp_path / "alone") < 1e-5


def refused(ended) -> bool:
    """A rank left with the exit code of a usage error; one that had not yet is taken down then."""
    return 2 in ended.codes and set(ended.codes) <= {2, 128 + signal.SIGTERM}


@pytest.mark.parametrize("word", ["optim.offload=true", "optim.name=adamw8bit"])
def test_an_optimiser_that_cannot_be_spread_is_refused(sharded, word, tmp_path):
    ended = sharded(tmp_path / "run", word)
    assert refused(ended)
    assert word.partition("=")[0] in ended.stderr


def test_where_accelerate_does_not_shard_the_run_does_not_begin(sharded, kind, tmp_path):
    """Without a word it would train by DDP."""
    if kind == "zero3":
        pytest.skip("DeepSpeed shards on CPUs, too")
    ended = sharded(tmp_path / "run", shards=False)
    assert refused(ended)
    assert "accelerate trains without it here (MULTI_CPU)" in ended.stderr
