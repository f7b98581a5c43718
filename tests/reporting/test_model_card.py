"""The exported model folder: transformers and vLLM load it, and its card has the scores."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import small_runs
import torch
from program import run as program
from safetensors.torch import load_file

from sage_bench.generation.samplers.hf import Hf
from sage_bench.reporting.exchange.kinds import export
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import UsageError

OURS = ("optimizer.safetensors", "engine.json", "method.json", "run.json", "files.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "run"
    small_runs.train(folder, "train.steps=2", "train.save_every=2")
    return folder


@pytest.fixture(scope="module")
def evaluated(trained) -> Path:
    """An evaluation of the checkpoint, as the command line makes it."""
    checkpoint = trained / "checkpoints" / "step_000002"
    out = trained.parent / "eval"
    words = ("-t", "tiny_short:2", "-L", "4", "--out", out, "-q", "--sampler", "hf")
    done = program("eval", "-m", checkpoint, *words)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().splitlines()[-1])


def test_the_newest_checkpoint_is_exported_without_the_state_of_the_run(trained, tmp_path):
    export(trained, "model-card", tmp_path / "model", name="my-org/sft")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names.isdisjoint(OURS)
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names


def test_transformers_loads_it_with_the_same_weights(trained, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export(trained, "model-card", tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.decode(tokenizer("1+2*3").input_ids) == "1+2*3"
    own = load_file(trained / "checkpoints" / "step_000002" / "model.safetensors")
    loaded = model.state_dict()
    assert all(torch.equal(loaded[key], weight) for key, weight in own.items())


def test_the_card_says_what_was_trained_and_how_it_scored(evaluated, tmp_path):
    from huggingface_hub import ModelCard

    export(evaluated, "model-card", tmp_path / "model", name="my-org/sft")
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.library_name == "transformers"
    assert set(card.data.tags) == {"sage-bench", "sft"}
    assert "by the method `sft`" in card.text
    assert "| method | sft |" in card.text
    assert "| tiny_short | avg@2 |" in card.text
    assert "LIMITED to the first 4 questions" in card.text


def test_a_folder_with_other_things_is_left_alone(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="the folder holds other things"):
        export(trained, "model-card", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_model_gets_its_card_where_it_lies(trained, tmp_path):
    folder = tmp_path / "model"
    export(trained, "model-card", folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "README.md").unlink()
    files = export(folder, "model-card", folder, name="me/mine")
    assert files == [folder / "README.md"]
    assert "# me/mine" in files[0].read_text()
    assert (folder / "model.safetensors").read_bytes() == weights


def test_adapters_are_to_be_merged_first(trained, tmp_path):
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{trained}"}}')
    with pytest.raises(UsageError, match="these are adapters") as error:
        export(adapters, "model-card", tmp_path / "out")
    assert f"sage-bench export {adapters} --merge --out MODEL" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.timeout(900)
def test_vllm_loads_it_and_answers_as_transformers_does(trained, tmp_path):
    from sage_bench.generation.samplers.vllm import Vllm

    export(trained, "model-card", tmp_path / "model")
    model = str(tmp_path / "model")
    answers = []
    for make in (Hf, Vllm):
        sampler = make(model, device="cpu")
        prompt = sampler.render([{"role": "user", "content": "1+2*3"}])
        greedy = Sample(prompt, 1, Sampling(0.0, 1.0, 16), seed=1)
        ((_, completion),) = sampler.draw([greedy])
        answers.append(completion.text)
        sampler.close()
    assert answers[0]
    assert answers[0] == answers[1]
