"""Adapters that learn while real vLLM draws, here on a CPU: they alone go over, or all weights with
them merged in."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import distance
from vllm_serve import NEEDS_VLLM, TAKES_ADAPTERS, VllmServe, coins

from sage_bench.generation import adapters
from sage_bench.generation.live import adapter_sync, colocated
from sage_bench.utils.errors import TrainingError
from sage_bench.utils.files import read_jsonl

pytestmark = NEEDS_VLLM
# so that the adapters move far
FAR = ("engine.lora.rank=4", "optim.lr=3e-2")
ENDED = Path("checkpoints/step_000003")


def gaps(folder: Path) -> list[float]:
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    assert [row["weight_syncs"] for row in rows] == [1.0, 1.0, 1.0]
    return [row["probe_gap_max"] for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Three steps in which only adapters went to a vLLM in the learner's process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    coins(folder, "engine.rollouts=vllm", *FAR)
    return folder


@pytest.fixture(scope="module", autouse=True)
def memory_disk(tmp_path_factory):
    """In place of /dev/shm, where other tests put theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter_sync, "MEMORY_DISK", tmp_path_factory.mktemp("memory"))
        yield adapter_sync.MEMORY_DISK


def test_vllm_says_what_the_learner_says_after_every_update(alone, memory_disk):
    print("largest gap of each step, adapters alone:", gaps(alone))
    assert all(0 < gap < 1e-3 for gap in gaps(alone))
    assert not list(memory_disk.iterdir())


def test_merged_weights_draw_and_teach_the_same(alone, tmp_path):
    coins(tmp_path, "engine.rollouts=vllm", *FAR, "engine.vllm.sync=merged")
    print("largest gap of each step, merged:", gaps(tmp_path))
    assert all(0 < gap < 1e-3 for gap in gaps(tmp_path))
    one, two = (list(read_jsonl(folder / "ledger.jsonl")) for folder in (alone, tmp_path))
    assert one == two
    assert distance(tmp_path / ENDED / adapters.WEIGHTS, alone / ENDED / adapters.WEIGHTS) < 1e-3


def test_adapters_that_do_not_go_over_are_found_by_the_probe(tmp_path, monkeypatch):
    take = colocated.ColocatedVllm._take_adapters

    def only_once(engine, sync, llm):
        if not engine.taken:
            take(engine, sync, llm)

    monkeypatch.setattr(colocated.ColocatedVllm, "_take_adapters", only_once)
    with pytest.raises(TrainingError, match="after weight sync 2 the sampler's log-prob"):
        coins(tmp_path, "engine.rollouts=vllm", *FAR, "engine.max_logprob_gap=1e-3")


def test_a_server_takes_adapters_and_draws_what_a_vllm_in_the_process_draws(
    alone, memory_disk, tmp_path
):
    folder = tmp_path / "server"
    folder.mkdir()
    server = VllmServe(folder, *TAKES_ADAPTERS)
    server.start()
    try:
        server.wait()
        url = f"engine.vllm.url={server.url}"
        coins(tmp_path / "run", "engine.rollouts=vllm-server", *FAR, url)
    finally:
        server.kill()
    print("largest gap of each step, server:", gaps(tmp_path / "run"))
    assert all(0 < gap < 1e-3 for gap in gaps(tmp_path / "run"))
    one, two = (list(read_jsonl(f / "ledger.jsonl")) for f in (alone, tmp_path / "run"))
    assert one == two
    assert not list(memory_disk.iterdir())
