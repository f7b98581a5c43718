"""Loading models: what is missing, left over, not finite, not there or not to be run is an error
that names it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import load_policy, pick_device, pick_dtype
from sage_bench.generation.model_folders import check_folder, load_tokenizer
from sage_bench.generation.samplers.hf import Hf
from sage_bench.generation.weights import hash_weights
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import ModelError, UsageError


@pytest.fixture
def folder(packaged, tmp_path) -> Path:
    """A copy of the packaged policy that may be damaged."""
    copy = tmp_path / "model"
    shutil.copytree(packaged, copy)
    return copy


def change_weights(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    file.unlink()
    save_file(weights, file, metadata={"format": "pt"})


def change_json(file: Path, **values) -> None:
    saved = json.loads(file.read_text())
    file.write_text(json.dumps(saved | values))


# ---- weights -------------------------------------------------------------------------------------
def test_w1_a_missing_tensor_is_an_error_that_names_it(folder):
    name = "model.layers.1.input_layernorm.weight"
    change_weights(folder, lambda w: w.pop(name))
    with pytest.raises(ModelError, match=f"1 tensors are missing .{name}"):
        load_policy(str(folder))


def test_w1_all_mlp_tensors_gone_is_an_error(folder):
    def drop(weights):
        for name in [n for n in weights if ".mlp." in n]:
            del weights[name]

    change_weights(folder, drop)
    with pytest.raises(ModelError, match=r"9 tensors are missing .*mlp.* and 6 more"):
        load_policy(str(folder))


def test_w1_a_tensor_left_over_is_an_error_that_names_it(folder):
    change_weights(folder, lambda w: w.update({"model.extra.weight": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"1 are not the model's \(model.extra.weight\)"):
        load_policy(str(folder))


def test_w1_a_tied_head_is_not_missing(packaged):
    assert "lm_head.weight" not in load_file(Path(packaged) / "model.safetensors")
    policy = load_policy(packaged)
    assert policy.model.config.tie_word_embeddings
    assert policy.model.lm_head.weight is policy.model.model.embed_tokens.weight


def test_w1_an_engine_that_goes_on_wants_all_tensors_too(packaged, tmp_path):
    engine = LocalEngine(load_policy(packaged), OptimConfig())
    engine.save(tmp_path / "step")
    engine.load(tmp_path / "step")
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(tmp_path / "step", lambda w: w.pop(name))
    with pytest.raises(ModelError, match=name):
        engine.load(tmp_path / "step")


def test_an_engine_that_goes_on_has_the_saved_weights(packaged, tmp_path):
    engine = LocalEngine(load_policy(packaged), OptimConfig())
    engine.save(tmp_path / "step")
    before = {k: v.clone() for k, v in engine.policy.model.state_dict().items()}
    with torch.no_grad():
        for p in engine.policy.model.parameters():
            p.add_(1.0)
    engine.load(tmp_path / "step")
    after = engine.policy.model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_w2_weights_that_are_not_finite_are_an_error_at_load(folder, value):
    name = "model.layers.2.self_attn.q_proj.weight"
    change_weights(folder, lambda w: w[name][0].fill_(value))
    with pytest.raises(ModelError, match=rf"1 tensors hold numbers that are not finite \({name}\)"):
        load_policy(str(folder))


def draw(policy, n=3):
    prompt = tuple(policy.tokenizer("3*9+6", add_special_tokens=False)["input_ids"])
    asked = [Sample(prompt, 1, Sampling(1.0, 1.0, 12), seed=k) for k in range(n)]
    return Decoder(policy).draw(asked)


def test_w2_logits_that_are_not_finite_are_an_error_naming_token_and_tensor(packaged):
    policy = load_policy(packaged)
    name = "model.layers.0.mlp.up_proj.weight"
    with torch.no_grad():
        dict(policy.model.named_parameters())[name].fill_(float("nan"))
    with pytest.raises(ModelError, match=rf"token 0 are not finite in 3 of 3 .*`{name}`"):
        draw(policy)


def test_w2_an_overflow_of_sound_weights_says_so(packaged):
    policy = load_policy(packaged)
    sound = policy.logits
    policy.logits = lambda hidden: sound(hidden) * float("inf")
    with pytest.raises(ModelError, match=r"the weights are finite.*model.dtype=float32"):
        draw(policy)


def test_w2_an_impossible_token_is_not_an_error(packaged):
    policy = load_policy(packaged)
    sound = policy.logits

    def without_token_7(hidden):
        logits = sound(hidden)
        logits[..., 7] = float("-inf")
        return logits

    policy.logits = without_token_7
    assert all(7 not in c.tokens for c in draw(policy))


def test_w21_the_fingerprint_of_weights_sees_pickled_ones(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    safe = hash_weights(str(folder))
    (folder / "model.safetensors").unlink()
    pickled = hash_weights(str(folder))
    with (folder / "pytorch_model.bin").open("ab") as file:
        file.write(b"changed")
    assert len({safe, pickled, hash_weights(str(folder))}) == 3


def test_w21_what_a_trainer_puts_beside_weights_is_not_hashed(folder):
    (folder / "model.safetensors").rename(folder / "weights.pt")
    before = hash_weights(str(folder))
    (folder / "optimizer.pt").write_bytes(b"momenta")
    (folder / "training_args.bin").write_bytes(b"arguments")
    assert hash_weights(str(folder)) == before


def test_w21_safetensors_keep_their_fingerprint_beside_pickled_ones(folder):
    before = hash_weights(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"older weights")
    assert hash_weights(str(folder)) == before


# ---- devices, folders, code ----------------------------------------------------------------------
def test_f8_a_device_that_does_not_exist_is_a_usage_error():
    with pytest.raises(UsageError, match=r"model.device: `foo` is not a device.*cuda:1"):
        pick_device("foo")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_f8_a_gpu_that_is_not_there_is_a_usage_error(device):
    with pytest.raises(UsageError, match=rf"`{device}` cannot be used: .*(GPU|CUDA).*give cpu"):
        pick_device(device)


def test_f8_a_number_type_that_does_not_exist_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean `float32`"):
        pick_dtype("flaot32", torch.device("cpu"))


def test_f8_a_folder_without_tokenizer_files_says_which(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer files.*copy tokenizer.json"):
        load_tokenizer(str(folder))


def test_f8_a_run_folder_names_its_checkpoints(packaged, tmp_path):
    run = tmp_path / "runs" / "grpo"
    for step in (0, 20, 40):
        shutil.copytree(packaged, run / "checkpoints" / f"step_{step:06d}")
    (run / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"3 checkpoints are models.*step_000040.*step_000020"):
        check_folder(str(run))
    with pytest.raises(ModelError, match=r"give a checkpoint, e.g. .*step_000040"):
        check_folder(str(run / "checkpoints"))


@pytest.fixture
def with_code(folder, monkeypatch) -> Path:
    """A folder that brings Python; running it writes a file."""
    change_json(
        folder / "config.json",
        model_type="stranger",
        auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
    )
    (folder / "code.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        # classes of its own: transformers marks those it loads this way, for the whole process
        "class Config(LlamaConfig):\n    pass\n"
        "class Model(LlamaForCausalLM):\n    config_class = Config\n"
        f"Path({str(folder / 'ran')!r}).write_text('x')\n"
    )
    monkeypatch.setenv("HF_MODULES_CACHE", str(folder / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "mods"))
    return folder


def test_s1_code_of_a_model_folder_is_not_run(with_code, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    with pytest.raises(ModelError, match=r"Python code of its own, which is not run.*--trust-rem"):
        Hf(str(with_code))
    assert not (with_code / "ran").exists()


def test_s1_it_is_run_when_it_is_trusted(with_code):
    sampler = Hf(str(with_code), trust_remote_code=True)
    assert (with_code / "ran").exists()
    assert sampler.context == 1024
    assert os.path.isdir(with_code)
