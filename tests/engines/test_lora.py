"""Low-rank adapters on the local engine: what they compute, keep, merge and refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import small_runs
import torch
from conftest import ARCHITECTURES
from program import run
from test_local_learner import make_rows

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import Learner
from sage_bench.generation import adapters
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.weights import hash_weights
from sage_bench.methods.objective import Objective
from sage_bench.types import Row, Sample, Sampling
from sage_bench.utils.errors import ModelError, UsageError

pytest.importorskip("peft", reason="peft is not installed")
LORA = ("engine.lora.rank=4", "optim.lr=1e-3")
PROMPT = (7, 8, 9, 10, 11)


def adapted(policy, *, rank: int = 4, targets="all-linear", dropout: float = 0.0, seed: int = 0):
    adapters.add(policy.model, rank=rank, alpha=8.0, targets=targets, dropout=dropout, seed=seed)
    return policy


def moved(policy, scale: float = 0.05):
    """Adapters as if they had learned something."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data.copy_(noise * scale)
    return policy


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(torch.tensor([PROMPT])).logits


def learning(policy) -> dict[str, torch.nn.Parameter]:
    return {n: p for n, p in policy.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fresh_adapters_draw_what_the_policy_drew(name, random_policy):
    ask = Sample(PROMPT, 6, Sampling(1.0, 1.0, 12), key=("a",))
    plain = LocalEngine(random_policy(name), OptimConfig(), seed=3).run([ask])[0]
    own = LocalEngine(adapted(random_policy(name)), OptimConfig(), seed=3).run([ask])[0]
    assert [c.tokens for c in own] == [c.tokens for c in plain]
    # a policy without adapters is applied layer by layer: the same sums in another order
    assert all(torch.allclose(a.logp, b.logp, atol=1e-6) for a, b in zip(own, plain, strict=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_adapters_learn_and_not_those_of_the_head(name, random_policy):
    policy = adapted(random_policy(name))
    assert all(".lora_" in n for n in learning(policy))
    assert len(learning(policy)) == 2 * 7 * 2  # two layers, seven projections, A and B
    assert not any("lm_head" in n for n in learning(policy))


def test_the_gradient_is_that_of_the_product(random_policy):
    """With B = 0: dL/dB = alpha / rank * dL/dW A^T, and dL/dA = 0."""
    rows, full = make_rows(), random_policy(dtype=torch.float64)
    Learner(full, OptimConfig()).gradient(rows, Objective())
    of_weights = {n: p.grad for n, p in full.model.named_parameters()}
    policy = adapted(random_policy(dtype=torch.float64))
    Learner(policy, OptimConfig()).gradient(rows, Objective())
    for name, layer in adapters.layers(policy.model):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        wanted = 8.0 / 4 * of_weights[f"{name}.weight"] @ a.detach().T
        assert torch.allclose(b.grad, wanted, rtol=1e-6, atol=1e-12)
        assert not bool(a.grad.any())


def test_gradient_checkpointing_has_the_same_gradient(random_policy):
    found = []
    for checkpointing in (False, True):
        policy = moved(adapted(random_policy(dtype=torch.float64)))
        if checkpointing:
            policy.model.gradient_checkpointing_enable()
        Learner(
            policy, OptimConfig(), prompt_once=False, gradient_checkpointing=checkpointing
        ).gradient(make_rows(), Objective())
        found.append(torch.cat([p.grad.flatten() for p in learning(policy).values()]))
    assert torch.allclose(found[0], found[1], rtol=1e-9, atol=1e-15)
    assert bool(found[0].any())


def test_adapters_of_bfloat16_models_are_float32(random_policy):
    policy = adapted(random_policy(dtype=torch.bfloat16))
    assert {p.dtype for p in learning(policy).values()} == {torch.float32}
    assert policy.dtype == torch.bfloat16
    engine = LocalEngine(policy, OptimConfig(lr=1e-3))
    assert engine.learner.optim.masters[0] is engine.learner.optim.model_parameters[0]
    assert engine.update(make_rows(), Objective())["grad_norm"] > 0


def test_kl_to_the_start_needs_no_second_copy(random_policy):
    policy = adapted(random_policy())
    engine = LocalEngine(policy, OptimConfig(lr=1e-2), kl_rows=4)
    assert engine.start is not None
    assert engine.start.model is policy.model
    rows = [
        Row(r.prompt, r.tokens, r.advantage, r.group, sampler_logp=torch.zeros(len(r.tokens)))
        for r in make_rows()
    ]
    assert engine.update(rows, Objective())["kl_start"] == pytest.approx(0.0, abs=1e-6)
    assert engine.update(rows, Objective())["kl_start"] > 1e-4


def test_the_base_below_the_adapters_is_what_it_was(random_policy):
    before = logits(random_policy().model)
    policy = moved(adapted(random_policy()))
    assert not torch.allclose(logits(policy.model), before, atol=1e-3)
    with adapters.without_adapters(policy.model):
        assert torch.equal(logits(policy.model), before)
    assert not torch.allclose(logits(policy.model), before, atol=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_merged_weights_compute_what_the_adapters_do(name, random_policy):
    policy = moved(adapted(random_policy(name)))
    live = logits(policy.model)
    tensors = dict(adapters.merged_tensors(policy.model))
    plain = random_policy(name).model
    assert tensors.keys() == dict(plain.named_parameters()).keys()
    plain.load_state_dict(tensors, strict=False)
    assert torch.allclose(logits(plain), live, atol=1e-5)
    adapters.merge(policy.model)
    assert torch.equal(logits(policy.model), logits(plain))
    assert all(p.requires_grad for p in policy.model.parameters())


def test_dropout_is_a_function_of_seed_and_step(random_policy):
    policy = moved(adapted(random_policy(), dropout=0.5))
    learner = Learner(policy, OptimConfig(), dropout_seed=1)

    def gradient(step: int) -> torch.Tensor:
        learner.step = step
        policy.model.zero_grad()
        learner.gradient(make_rows(), Objective())
        return torch.cat([p.grad.flatten() for p in learning(policy).values()])

    first = gradient(0)
    assert torch.equal(gradient(0), first)
    assert not torch.equal(gradient(1), first)
    assert not policy.model.training


def test_a_target_the_model_does_not_have_is_named(random_policy):
    with pytest.raises(UsageError, match=r"no linear layer `q_prj`.*`q_proj`.*all-linear"):
        adapted(random_policy(), targets=["q_prj"])


def test_chosen_targets_alone_get_adapters(random_policy):
    policy = adapted(random_policy(), targets=["q_proj", "v_proj"])
    names = {name.rsplit(".", 1)[-1] for name, _ in adapters.layers(policy.model)}
    assert names == {"q_proj", "v_proj"}


def test_without_peft_the_remedy_is_named(random_policy, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"adapters need peft.*sage-bench\[lora\]"):
        adapted(random_policy())


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("engine.lora.rank=-1", "greater than or equal to 0"),
        ("engine.lora.dropout=1", "less than 1"),
        ("engine.lora.rnk=4", "did you mean `engine.lora.rank`"),
    ],
)
def test_wrong_settings_are_refused(word, reason):
    with pytest.raises(UsageError, match=reason):
        small_runs.config(word)


# ---- runs ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """The last checkpoint of a run of four steps with adapters."""
    return small_runs.train(tmp_path_factory.mktemp("lora") / "run", *LORA)


def files_of(checkpoint: Path) -> dict[str, bytes]:
    names = (adapters.WEIGHTS, adapters.CONFIG, "optimizer.safetensors", "engine.json")
    return {name: (checkpoint / name).read_bytes() for name in names}


def test_a_checkpoint_holds_adapters_and_no_weights(straight):
    assert not (straight / "model.safetensors").exists()
    base = json.loads((straight / adapters.CONFIG).read_text())["base_model_name_or_path"]
    whole = (Path(base) / "model.safetensors").stat().st_size
    assert (straight / adapters.WEIGHTS).stat().st_size < whole / 4


def test_a_run_in_two_parts_ends_in_the_same_adapters(straight, tmp_path):
    small_runs.train(tmp_path / "run", *LORA, "train.steps=2")
    last = small_runs.train(tmp_path / "run", *LORA)
    assert files_of(last) == files_of(straight)


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_adapters(straight, tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen(small_runs.command(folder, *LORA)) as process:
        while not (folder / "checkpoints" / "step_000002").is_dir():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    last = small_runs.train(folder, *LORA)
    assert files_of(last) == files_of(straight)


def test_adapters_of_another_rank_are_refused(straight, random_policy):
    policy = load_policy(adapters.base_of(straight))
    engine = LocalEngine(adapted(policy, rank=8), OptimConfig())
    with pytest.raises(ModelError, match="do not fit the model"):
        engine.load(straight)


def test_rank_is_part_of_what_a_run_is(straight):
    with pytest.raises(UsageError, match=r"engine\.lora\.rank: 4 then, 8 now"):
        small_runs.build(straight.parents[1], "engine.lora.rank=8", "optim.lr=1e-3")


def test_peft_loads_the_folder_beside_its_base(straight):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ours = load_policy(str(straight)).model
    base = AutoModelForCausalLM.from_pretrained(adapters.base_of(straight), dtype=torch.float32)
    before = logits(base)
    theirs = PeftModel.from_pretrained(base, str(straight)).eval()
    assert torch.allclose(logits(theirs), logits(ours), atol=1e-5)
    assert not torch.allclose(before, logits(ours), atol=1e-5)


def test_adapters_are_other_weights_than_their_base(straight):
    assert hash_weights(str(straight)) != hash_weights(adapters.base_of(straight))


def test_export_makes_an_ordinary_model(straight, tmp_path):
    out = tmp_path / "whole"
    done = run("export", str(straight.parents[1]), "--merge", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    assert not (out / adapters.CONFIG).exists()
    merged = load_policy(str(out)).model
    assert torch.equal(logits(merged), logits(load_policy(str(straight)).model))
    again = run("export", str(straight), "--merge", "--out", str(out))
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{base}", "--merge", "--out", "x"), "no adapters to merge"),
        (("{run}", "--out", "x"), "or --merge"),
        (("{run}", "--merge"), "--out"),
        (("nowhere", "--merge", "--out", "x"), "there is no checkpoint here"),
    ],
)
def test_export_says_what_is_missing(words, said, straight, tmp_path):
    base = adapters.base_of(straight)
    done = run("export", *(w.format(base=base, run=straight) for w in words), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.slow
def test_adapters_and_their_merged_model_answer_alike(straight, tmp_path):
    out = tmp_path / "whole"
    assert run("export", str(straight), "--merge", "--out", str(out)).returncode == 0
    texts = []
    for model in (straight, out):
        folder = tmp_path / f"eval-{model.name}"
        words = ("eval", "-m", str(model), "-t", "tiny_short:2", "--out", str(folder), "-q")
        done = run(*words, "--max-tokens", "24")
        assert done.returncode == 0, done.stderr
        (file,) = folder.rglob("samples/tiny_short.jsonl")
        lines = sorted(file.read_text().splitlines())
        texts.append([json.loads(line)["text"] for line in lines])
    assert len(texts[0]) > 10
    assert texts[0] == texts[1]
