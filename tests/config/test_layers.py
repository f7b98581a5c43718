"""Layers of a configuration: what is wrong with a value is said where it was written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sage_bench.api.settings import training_config, warnings_of
from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.files import parse_yaml, read_yaml
from sage_bench.config.layers import (
    Layer,
    env_layer,
    known_keys,
    override_layer,
    resolve,
)
from sage_bench.config.nesting import flatten, nest
from sage_bench.config.schema import OptimConfig, RunConfig
from sage_bench.utils.errors import ModelError, UsageError

TINY = {"model": "tiny-llama", "data": "tiny", "backend": "grpo"}


def train(*words: str, **more):
    return training_config(**{**TINY, **more}, overrides=list(words))


# ---- values -------------------------------------------------------------------------------------
@pytest.mark.parametrize("word", ["train.steps=yes", "train.steps=on", "optim.lr=true"])
def test_yes_is_not_a_number(word):
    with pytest.raises(UsageError, match="is true or false") as caught:
        train(word)
    assert caught.value.where == f"command line: {word.partition('=')[0]}"


@pytest.mark.parametrize("word", ["log.tensorboard=1", "engine.prompt_once='yes'", "train.steps=x"])
def test_a_value_of_another_kind_is_refused(word):
    with pytest.raises(UsageError):
        train(word)


@pytest.mark.parametrize("key", ["optim.lr", "sampling.temperature", "objective.clip_high"])
@pytest.mark.parametrize("value", ["inf", "nan", ".inf", "-.inf", ".NaN", "Infinity"])
def test_numbers_are_finite(key, value):
    with pytest.raises(UsageError, match="is not a finite number"):
        train(f"{key}={value}")


def test_numbers_of_lists_and_of_python_are_finite_too():
    with pytest.raises(UsageError, match="is not a finite number"):
        train("optim.betas=[0.9, .nan]")
    with pytest.raises(ValidationError):
        OptimConfig(lr=math.inf)


@pytest.mark.parametrize("word", ["method.group_size=yes", "method.std_eps=.inf"])
def test_switches_of_a_method_are_as_strict(word):
    with pytest.raises(UsageError, match=r"command line: method\."):
        train(word)


@pytest.mark.parametrize("section", ["", "train: "])
def test_a_key_that_stands_twice_is_an_error(section, tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("train:\n  steps: 1\n  steps: 2\n" if section else "backend: a\nbackend: b\n")
    with pytest.raises(UsageError, match="stands in line"):
        read_yaml(file, "twice.yaml")


def test_deep_brackets_are_one_paragraph():
    with pytest.raises(UsageError, match="is not YAML"):
        override_layer(["train.steps=" + "[" * 50_000])


# ---- steps and epochs ---------------------------------------------------------------------------
def test_the_later_of_steps_and_epochs_counts():
    paper = {"model": "qwen2.5-7b-instruct", "backend": "sft"}
    assert train(**paper).config.train.epochs == 3
    chosen = train("train.steps=7", **paper)
    assert chosen.config.train.epochs is None
    assert chosen.config.train.steps == 7
    assert chosen.origins["train.epochs"] == "command line (train.steps)"
    assert train("train.epochs=2", **paper).config.train.epochs == 2


def test_steps_and_epochs_in_one_layer_are_an_error():
    with pytest.raises(UsageError, match=r"train\.steps and train\.epochs are both given"):
        train("train.steps=7", "train.epochs=2")


# ---- names and lengths --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "tiny-lama"}, "did you mean `tiny-llama`"),
        ({"configs": ["qwen2.5-7b-instrct"]}, "did you mean `qwen2.5-7b-instruct`"),
        ({"words": ["validation.source=nope"]}, "unknown dataset `nope`"),
        ({"words": ["validation.source=nope.jsonl"]}, "no such data file"),
        ({"words": ["sampling.max_tokens=4096"]}, "do not fit the model's context of 1024"),
        ({"words": ["sampling.max_prompt_tokens=1024"]}, "do not fit the model's context of 1024"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(given, said):
    words = given.pop("words", [])
    with pytest.raises(UsageError, match=said):
        train(*words, **given)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        train(model=str(tmp_path))


def test_a_group_of_one_is_warned_of():
    (warning,) = warnings_of(train("method.group_size=1"))
    assert "nothing is learned" in warning
    assert warnings_of(train()) == []


def test_lengths_that_only_together_are_too_long_are_warned_of():
    (warning,) = warnings_of(train("sampling.max_tokens=1000"))
    assert "1256 is more than the model's context of 1024" in warning


# ---- any input ----------------------------------------------------------------------------------
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("schema", [RunConfig, EvalConfig])
@given(data=st.data())
def test_any_value_for_any_key_is_taken_or_named(schema, data):
    key = data.draw(st.sampled_from(known_keys(schema)) | st.text(min_size=1, max_size=12))
    value = data.draw(VALUES)
    try:
        found = resolve([Layer("a.yaml", nest({key: value}))], schema)
    except UsageError as error:
        assert "a.yaml" in str(error) or "configuration" in str(error)
    else:
        numbers = [v for _, v in flatten(found.config.model_dump()) if isinstance(v, float)]
        assert all(map(math.isfinite, numbers))


@given(st.text(max_size=60))
def test_any_word_of_the_command_line_is_taken_or_named(word):
    try:
        layer = override_layer([word])
    except UsageError as error:
        assert error.where == "command line"
    else:
        assert layer.values or "=" in word


@given(st.text(max_size=40))
def test_any_environment_is_taken_or_named(text):
    try:
        found = env_layer({"SAGE_BENCH_OPTIM__LR": text})
    except UsageError as error:
        assert "SAGE_BENCH_OPTIM__LR" in str(error)
    else:
        assert set(found.values) == {"optim"}


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(), min_size=1))
def test_yaml_reads_what_it_wrote(values):
    text = "\n".join(f"{key}: {value}" for key, value in values.items())
    assert parse_yaml(text) == values


def test_a_remedy_names_keys_that_exist():
    """`limits.max_prompt_tokens` was told to people for months, and there is no such key."""
    import ast
    import re
    from pathlib import Path

    import sage_bench

    known = {*known_keys(RunConfig), *known_keys(EvalConfig)}
    sections = {key.partition(".")[0] for key in known} | {"limits"}
    known |= {key.rpartition(".")[0] for key in known}  # sections inside sections: engine.lora
    root = Path(sage_bench.__file__).parent
    named = set()
    for file in [*root.rglob("*.py"), *(root / "backends").resolve().rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                parts = [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
                found = re.findall(r"\b([a-z]+(?:\.[a-z_]+)+)\b", " ".join(map(str, parts)))
                named |= {key for key in found if key.partition(".")[0] in sections}
    named = {key for key in named if not key.endswith((".json", ".jsonl", ".yaml", ".safetensors"))}
    assert {"sampling.max_prompt_tokens"} <= named
    assert not {key for key in named if key not in known and not key.startswith("method.")}
