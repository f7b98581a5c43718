"""Plans: sizes against transformers, kept activations against autograd, advice against itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from program import run
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from sage_bench.api.planning import plan
from sage_bench.api.settings import training_config
from sage_bench.generation import adapters
from sage_bench.generation.local.forward import hidden_states
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.model_folders import model_path
from sage_bench.training.architectures import (
    ARCHITECTURES,
    FAMILIES,
    Architecture,
    architecture_of,
    from_config,
)
from sage_bench.training.gpus import parse
from sage_bench.training.memory import (
    Batch,
    Settings,
    cache_bytes,
    gradients,
    layer_activations,
    optimizer,
    train_step,
    weights,
)
from sage_bench.utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
PAPER = ("llama-3.2-3b-instruct", "qwen2.5-7b-instruct", "qwen3-4b-instruct-2507")
ONE_GPU = ("llama-3.2-3b@1gpu", "qwen2.5-7b-instruct@1gpu", "qwen3-4b@1gpu")
QWEN = ARCHITECTURES["Qwen/Qwen2.5-7B-Instruct"]


class Tokens:
    eos_token_id = 1
    pad_token_id = 0


def transformers_config(arch: Architecture) -> Any:
    sizes: dict[str, Any] = dict(
        vocab_size=arch.vocabulary,
        hidden_size=arch.hidden,
        intermediate_size=arch.intermediate,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.kv_heads,
        tie_word_embeddings=arch.tied,
        eos_token_id=1,
    )
    if arch.family != "qwen2":
        sizes["head_dim"] = arch.head_dim
    return CONFIGS[arch.family](**sizes)


# ---- sizes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.family)
def test_parameters_are_those_transformers_builds(arch):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(transformers_config(arch))
    assert arch.parameters == sum(p.numel() for p in model.parameters())
    layer = sum(p.numel() for p in model.model.layers[0].parameters())
    assert arch.layer_parameters == layer


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.family)
def test_adapters_are_those_peft_makes(arch, targets):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(transformers_config(replace(arch, layers=2)))
        adapters.add(model, rank=4, alpha=8.0, targets=targets, dropout=0.0, seed=0)
    found = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert replace(arch, layers=2).adapter_parameters(4, targets) == found


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.family)
def test_sizes_are_read_from_a_configuration(arch):
    config = {**transformers_config(arch).to_dict(), "max_position_embeddings": arch.context}
    assert from_config(config, "here") == arch


def test_another_family_is_refused():
    with pytest.raises(UsageError, match="no plan can be made of the architecture `mamba`"):
        from_config({"model_type": "mamba"}, "config.json")


def test_an_unknown_model_is_named():
    with pytest.raises(UsageError, match=r"some/model: the sizes of this model are not known"):
        architecture_of("some/model")


# ---- what autograd keeps -------------------------------------------------------------------------
def small(family: str, layers: int) -> Architecture:
    own = next(arch for arch in ARCHITECTURES.values() if arch.family == family)
    return replace(
        own, layers=layers, hidden=128, heads=4, kv_heads=2, head_dim=32, intermediate=320,
        vocabulary=512,
    )  # fmt: skip


def kept(arch: Architecture, dtype: torch.dtype, rank: int, once: bool) -> int:
    """Bytes autograd keeps of ragged rows, beside weights and buffers."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(transformers_config(arch), dtype=dtype).eval()
    policy = Policy(model, Tokens(), "random")
    if rank:
        adapters.add(model, rank=rank, alpha=8.0, targets="all-linear", dropout=0.0, seed=0)
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 500, (count,), generator=generator).tolist())

    pairs = [(ids(16 - i), ids(33 - i)) for i in range(4)]
    fixed = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden_states(policy, pairs, prompt_once=once)
    return sum(sizes.values())


@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_keeps_what_the_formula_says(family, dtype, rank):
    settings = Settings(number=dtype.itemsize, rank=rank, prompt_once=False, checkpointing=False)
    measured = kept(small(family, 2), dtype, rank, False) - kept(
        small(family, 1), dtype, rank, False
    )
    planned = layer_activations(small(family, 2), Batch(4, 16, 4, 32), settings)
    assert planned == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_prompts_once_the_formula_is_close(family):
    settings = Settings(number=4, prompt_once=True, checkpointing=False)
    found = [kept(small(family, n), torch.float32, 0, True) for n in (1, 2)]
    planned = layer_activations(small(family, 2), Batch(4, 16, 4, 32), settings)
    assert planned == pytest.approx(found[1] - found[0], rel=0.1)


# ---- arithmetic that can be checked by hand ------------------------------------------------------
def test_sixteen_bytes_a_parameter_and_not_twenty():
    """bf16 weights and gradients, a float32 master and two moments: 2 + 2 + 4 + 8."""
    settings = Settings(number=2, master=4)
    total = sum(part(QWEN, settings) for part in (weights, gradients, optimizer))
    assert total == 16 * QWEN.parameters


def test_moments_in_8_bits_take_two_bytes_and_a_scale():
    eight = optimizer(QWEN, Settings(optimizer="adamw8bit"))
    assert eight == pytest.approx((4 + 2 + 8 / 256) * QWEN.parameters)


def test_state_on_the_host_is_not_on_the_gpu():
    batch = Batch(1, 64, 1, 64)
    here, there = (train_step(QWEN, batch, Settings(offload=off)) for off in (False, True))
    assert there.host > 12 * QWEN.parameters
    assert here.peak - there.peak == pytest.approx(12 * QWEN.parameters, rel=0.05)


def test_spread_weights_are_a_share_of_the_whole():
    settings = Settings(number=2, master=0, shards=8)
    total = sum(part(QWEN, settings) for part in (weights, gradients, optimizer))
    assert total == 16 * QWEN.parameters / 8


def test_a_token_of_the_cache_in_bytes():
    assert cache_bytes(QWEN, 2) == 28 * 2 * 4 * 128 * 2


# ---- plans ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("gpus", ["1xH100-80G", "1xH200-141G"])
@pytest.mark.parametrize("preset", ONE_GPU)
def test_presets_for_one_gpu_fit_it(preset, gpus):
    made = plan(preset, gpus=gpus)
    assert made.fits
    assert made.advice == []
    assert made.outlook.engine == "local"


@pytest.mark.parametrize("preset", PAPER)
def test_presets_of_the_paper_fit_a_node_of_eight(preset):
    made = plan(preset, gpus="8xH100-80G")
    assert made.fits
    assert made.outlook.engine == "trl"
    assert made.hours is not None
    assert any("engine.name was not set" in line for line in made.outlook.assumptions)


@pytest.mark.parametrize("gpus", ["1xH100-80G", "1xA100-40G"])
@pytest.mark.parametrize("preset", PAPER)
def test_advice_makes_it_fit_and_none_of_it_is_idle(preset, gpus):
    made = plan(preset, gpus=gpus)
    if made.fits:
        return
    assert all("=" in word for word in made.advice), made.advice
    assert plan(preset, gpus=gpus, overrides=made.advice).fits
    for left_out in made.advice:
        fewer = [word for word in made.advice if word != left_out]
        assert not plan(preset, gpus=gpus, overrides=fewer).fits


def test_the_seven_billion_do_not_fit_80_gib_as_they_are():
    made = plan("qwen2.5-7b-instruct", gpus="1xH100-80G")
    assert not made.fits
    assert made.outlook.phases["optimizer"] > 16 * QWEN.parameters / (1 << 30)


def test_where_no_setting_helps_the_number_of_gpus_is_named():
    made = plan("qwen2.5-7b-instruct", gpus="2xA100-40G")
    (sentence,) = made.advice
    match = re.search(r"fit; engine.name=trl on (\d+) x A100 40 GiB does", sentence)
    assert match
    assert plan(
        "qwen2.5-7b-instruct",
        gpus=f"{match[1]}xA100-40G",
        overrides=["engine.wave_tokens=16384", "engine.micro_tokens=16384"],
    ).fits


def test_on_one_gpu_engine_trl_holds_float32_weights_and_local_a_copy():
    words = ["engine.rollouts=local", "optim.offload=true"]
    gib = QWEN.parameters / (1 << 30)
    for engine, on_device, on_host in (("local", 2 + 2, 4 + 8), ("trl", 4 + 4, 4 + 8)):
        made = plan(
            "qwen2.5-7b-instruct",
            gpus="1xH200-141G",
            overrides=[*words, f"engine.name={engine}"],
        )
        found = made.outlook.memory["weights"] + made.outlook.memory["gradients"]
        assert found == pytest.approx(on_device * gib)
        assert made.outlook.host == pytest.approx(on_host * gib, rel=0.1)


def test_adapters_on_several_gpus_lie_on_narrow_weights():
    made = plan("qwen2.5-7b-instruct", gpus="8xH100-80G", overrides=["engine.lora.rank=32"])
    share = 2 * QWEN.parameters / 8
    whole = 2 * (2 * QWEN.layer_parameters + QWEN.embedding)
    adapters_ = 4 * QWEN.adapter_parameters(32, "all-linear") / 8
    assert made.outlook.engine == "trl"
    assert made.outlook.memory["weights"] == pytest.approx((share + whole + adapters_) / (1 << 30))


def test_where_nothing_helps_that_is_said():
    made = plan("qwen2.5-7b-instruct", gpus="1x8G")
    (sentence,) = made.advice
    assert "take GPUs with more memory" in sentence


def test_unknown_speed_gives_a_plan_without_hours():
    made = plan("qwen3-4b@1gpu", gpus="1x80G")
    assert made.hours is None
    assert made.fits
    assert any("speed of these GPUs is not known" in line for line in made.outlook.assumptions)


def test_longer_completions_take_longer():
    short, long = (plan(ONE_GPU[0], gpus="H100-80G", mean_tokens=n).hours for n in (500, 4000))
    assert short < long


def test_the_share_of_vllm_is_a_part():
    made = plan("qwen3-4b@1gpu", gpus="1xH100-80G", overrides=["engine.vllm.memory=0.5"])
    assert made.outlook.memory["vllm"] == pytest.approx(40.0)
    assert "kv_cache" not in made.outlook.memory


def test_disk_counts_every_checkpoint_and_two_states():
    made = plan("qwen2.5-7b-instruct", gpus="1xH200-141G", overrides=["train.keep=3"])
    gib = QWEN.parameters / (1 << 30)
    assert made.outlook.disk["total"] == pytest.approx(3 * 2 * gib + 2 * 12 * gib)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eight", "does not say which GPUs"),
        ("0xH100-80G", "does not say which GPUs"),
        ("8xH10-80G", "did you mean `H100`"),
    ],
)
def test_gpus_that_are_none_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse(text)


def test_a_file_is_planned_like_a_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {path: tiny-llama}\ndata: {source: tiny}\nbackend: grpo\n")
    made = plan(str(file), gpus="1xL40S-48G")
    folder = model_path("package:data/tiny_policies/llama")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    assert made.outlook.parameters == sum(p.numel() for p in model.parameters())
    assert made.fits


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_prints_what_others_read():
    done = run("plan", "qwen2.5-7b-instruct@1gpu", "--gpus", "1xH200-141G", "--json")
    found = json.loads(done.stdout)
    assert found["fits"] is True
    assert found["hours"] > 0
    assert {"weights", "gradients", "optimizer", "activations", "logits"} <= set(found["memory"])
    assert found["advice"] == []


def test_the_text_says_whether_it_fits_and_what_would_help():
    done = run("plan", "qwen2.5-7b-instruct", "--gpus", "1xH100-80G")
    assert done.returncode == 0
    assert "does NOT fit" in done.stdout
    assert "to make it fit: engine." in done.stdout or "to make it fit: optim." in done.stdout


def test_a_dry_run_has_the_short_form():
    done = run("train", "--model", "tiny-llama", "--backend", "grpo", "--data", "tiny", "--dry-run")
    line = next(x for x in done.stdout.splitlines() if x.startswith("memory "))
    assert "GiB at its peak on one device (weights " in line
    assert "checkpoints" in line


def test_a_preset_for_one_gpu_has_the_papers_settings():
    whole = training_config(model="qwen2.5-7b-instruct").config
    one = training_config(model="qwen2.5-7b-instruct@1gpu").config
    assert one.engine.lora.rank == 32
    assert one.model.path == whole.model.path
    same = ("sampling", "method", "objective", "train", "data", "backend")
    assert all(getattr(one, name) == getattr(whole, name) for name in same)


# ---- scripts -------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_planned_memory_is_within_15_percent_of_what_a_step_takes(family):
    command = [sys.executable, str(SCRIPTS / "plan_check.py"), "--only", family, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert not [row for row in found if abs(row["ratio"] - 1) > 0.15]


NOT_ON_A_GPU_MACHINE = ("pydantic", "pydantic_core", "datasets", "lm_eval", "math_verify", "typer")


@pytest.mark.slow
def test_the_gpu_kit_runs_at_tiny_width_without_what_a_bare_machine_lacks(tmp_path):
    code = f"""
import runpy, sys
for name in {NOT_ON_A_GPU_MACHINE!r}:
    sys.modules[name] = None
sys.path.insert(0, {str(SCRIPTS)!r})
sys.argv = ["gpu_check.py", "--tiny", "--out", {str(tmp_path)!r}]
runpy.run_path({str(SCRIPTS / "gpu_check.py")!r}, run_name="__main__")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert "pydantic" in report["environment"]["missing"]
    measured = {row["what"] for row in report["results"]}
    assert {"sampling", "agreement", "shares of a gradient", "train step, adapters"} <= measured
    for row in report["results"]:
        if row["what"] == "agreement":
            assert row["same_gradient_twice"]
            assert row["prompt_once_relative_difference"] < 0.05
        if row["what"] == "sampling":
            assert row["same_tokens"]
            assert row["same_tokens_recorded"]
    assert (tmp_path / "gpu.md").read_text().startswith("# GPU check")
