"""The TRL engine in one process: what it overrides, and the same run as on the local engine."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import build, distance, train, weights

from sage_bench.api.listing import listing
from sage_bench.engines.base import RolloutBatch
from sage_bench.engines.local.learner import PLAIN
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row
from sage_bench.utils.errors import TrainingError, UsageError
from sage_bench.utils.files import read_jsonl

ROOT = Path(__file__).resolve().parents[2]
TRL = "engine.name=trl"
# how TRL 1.16 and transformers 5.23 declare what is overridden and called
SIGNATURES = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_prepare_inputs": ["self", "generation_batch"],
    "_compute_loss": ["self", "model", "inputs"],
    "create_optimizer": ["self", "model"],
    "compute_loss": ["self", "model", "inputs", "return_outputs", "num_items_in_batch"],
    "training_step": ["self", "model", "inputs", "num_items_in_batch"],
    "_get_per_token_logps_and_entropies": [
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
        "compute_aux_loss",
        "pixel_values",
        "image_grid_thw",
        "num_images",
        "pixel_attention_mask",
        "spatial_shapes",
        "num_tiles",
        "image_sizes",
        "token_type_ids",
        "mm_token_type_ids",
        "image_position_ids",
    ],
}


def test_the_extra_is_installed():
    """CI runs what follows: without TRL it fails instead of skipping."""
    if "CI_NEEDS_TRL" not in os.environ:
        pytest.importorskip("trl", reason="the extra `trl` is not installed")
    import trl

    assert trl.__version__.startswith("1.16.")


def test_without_trl_the_list_of_engines_says_what_to_install(monkeypatch):
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'trl' else real(name, *a)\n"
        "from sage_bench.api.listing import listing\n"
        "print([r['about'] for r in listing('engines') if r['name'] == 'trl'][0])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'sage-bench[trl]'" in found.stdout


def test_with_trl_the_list_says_what_the_engine_is():
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    (about,) = [row["about"] for row in listing("engines") if row["name"] == "trl"]
    assert "Not installed" not in about


def test_float64_is_refused(tmp_path):
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    with pytest.raises(UsageError, match="float32 or bfloat16"):
        build(tmp_path, TRL, "model.dtype=float64")


def test_bfloat16_on_a_cpu_is_refused(tmp_path):
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    with pytest.raises(UsageError, match="computes in float32 on a CPU"):
        build(tmp_path, TRL, "model.dtype=bfloat16", "model.device=cpu")


@pytest.mark.slow
def test_a_precision_of_accelerate_that_is_not_the_models_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(UsageError, match="mixed_precision: bf16") as met:
        build(tmp_path, TRL, "model.dtype=float32")
    assert met.value.where == "model.dtype"


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNATURES)
def test_trl_has_the_signatures_we_build_on(name):
    from trl import GRPOTrainer

    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == SIGNATURES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["add_hooks", "remove_hooks"])
def test_trl_has_the_functions_zero3_builds_on(name):
    from trl.models import utils

    assert list(inspect.signature(getattr(utils, name)).parameters) == ["model"]


@pytest.mark.slow
def test_only_the_named_members_are_overridden():
    from trl import GRPOTrainer

    from sage_bench.engines.trl.trainer import RowTrainer

    replaced = {name for name in vars(RowTrainer) if hasattr(GRPOTrainer, name)}
    ours = {"__init__", "__module__", "__doc__", "__annotations__", "__firstlineno__"}
    assert replaced - ours - {"__static_attributes__"} == {
        "_generate_and_score_completions",
        "_prepare_inputs",
        "_compute_loss",
        "create_optimizer",
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Last checkpoints of the same run on both engines."""
    folder = tmp_path_factory.mktemp("pair")
    words = ["train.prompts_per_step=4", "sampling.max_tokens=48", "method.group_size=4"]
    return tuple(
        train(folder / name, *words, f"engine.name={name}", backend="sage")
        for name in ("local", "trl")
    )


@pytest.mark.slow
def test_both_engines_end_in_the_same_weights(pair):
    assert distance(*(last / "model.safetensors" for last in pair)) < 1e-5


@pytest.mark.slow
def test_and_in_the_same_optimiser_state(pair):
    assert distance(*(last / "optimizer.safetensors" for last in pair)) < 1e-4


@pytest.mark.slow
def test_their_ledgers_are_the_same(pair):
    local, trl = (list(read_jsonl(last.parents[1] / "ledger.jsonl")) for last in pair)
    assert local == trl


@pytest.mark.slow
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "engine.json"])
def test_checkpoints_have_the_same_descriptions(pair, file):
    local, trl = (json.loads((last / file).read_text()) for last in pair)
    assert local == trl


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_in_the_same_weights(tmp_path):
    straight = train(tmp_path / "a", TRL, "train.steps=3", backend="sage_light")
    train(tmp_path / "b", TRL, "train.steps=1", backend="sage_light")
    resumed = train(tmp_path / "b", TRL, "train.steps=3", backend="sage_light")
    assert weights(straight) == weights(resumed)


# ---- batches of rows, without a run -------------------------------------------------------------
def rows_of(advantage: float, seed: int = 0) -> list[Row]:
    generator = torch.Generator().manual_seed(seed)
    tokens = [tuple(torch.randint(6, 50, (n,), generator=generator).tolist()) for n in (5, 3, 7)]
    return [Row((7, 8, 9), own, torch.full((len(own),), advantage), "g") for own in tokens]


def followed(engine, batches) -> list[dict]:
    """What the engine says of each batch."""
    stats = []

    def program():
        for rows in batches:
            stats.append((yield RolloutBatch(rows, Objective(), PLAIN)))

    engine.follow(program())
    return stats


def flat(engine) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in engine.policy.model.parameters()])


@pytest.fixture
def engines(tmp_path):
    words = ["train.steps=20", "train.updates_per_step=1", "optim.lr=1e-3"]

    def make(*more: str):
        return [build(tmp_path / n, *words, f"engine.name={n}", *more).engine for n in LOCAL_TRL]

    return make


LOCAL_TRL = ("local", "trl")


@pytest.mark.slow
def test_a_batch_that_is_dead_moves_along_the_momentum_as_on_local(engines):
    local, trl = engines()
    for rows in (rows_of(1.0), rows_of(0.0)):
        local.update(rows, Objective())
    stats = followed(trl, [rows_of(1.0), rows_of(0.0)])
    assert stats[1]["trained_rows"] == 0
    assert stats[1]["grad_norm"] == 0.0
    assert (flat(local) - flat(trl)).norm() / flat(local).norm() < 1e-6


@pytest.mark.slow
def test_a_batch_without_rows_takes_no_step(engines):
    _, trl = engines()
    stats = followed(trl, [[], rows_of(1.0), []])
    assert [s.get("trained_rows") for s in stats] == [None, 3.0, None]
    assert trl.learner.step == 1


@pytest.mark.slow
def test_what_trl_calls_an_importance_ratio_has_no_part(engines):
    """Rows sampled under another prompt (HINT) are far off the policy; none of them is zeroed."""
    _, trl = engines()
    far = [
        Row(
            r.prompt,
            r.tokens,
            r.advantage,
            r.group,
            Kind.PG,
            sampler_logp=torch.full((len(r.tokens),), -30.0),
        )
        for r in rows_of(1.0)
    ]
    (stats,) = followed(trl, [far])
    assert stats["logp_gap"] > 10
    assert stats["grad_norm"] > 0
    assert stats["trained_tokens"] == 15


@pytest.mark.slow
def test_a_step_that_is_not_finite_is_left_out_and_counted(engines):
    _, trl = engines("optim.on_nonfinite=skip")
    before = flat(trl)
    stats = followed(trl, [rows_of(float("nan")), rows_of(1.0)])
    assert [s["skipped_steps"] for s in stats] == [1, 0]
    assert trl.learner.optim.taken == 1
    assert bool(flat(trl).isfinite().all())
    assert not torch.equal(before, flat(trl))


@pytest.mark.slow
def test_three_in_a_row_stop_the_run_with_the_weights_as_they_were(engines):
    _, trl = engines("optim.on_nonfinite=skip")
    before = flat(trl)
    with pytest.raises(TrainingError, match="3 optimiser steps in a row"):
        followed(trl, [rows_of(float("nan"))] * 4)
    assert torch.equal(before, flat(trl))


@pytest.mark.slow
def test_by_default_the_first_one_stops_it(engines):
    _, trl = engines()
    with pytest.raises(TrainingError, match="`advantage` is not finite"):
        followed(trl, [rows_of(float("nan"))])
