"""The tiny policies: rebuilt smaller from scratch, and what the packaged ones are."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ARCHITECTURES
from transformers import AutoModelForCausalLM, AutoTokenizer

from sage_bench.backends.sage.hints import hint_prompt, leaks_answer, parse_hints
from sage_bench.data.tiny_world import BENCHMARKS, chain, problems
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.model_folders import model_path, preset_of
from sage_bench.generation.prompts import Renderer
from sage_bench.study import tiny_policies as builder
from sage_bench.types import Sample, Sampling

ASSETS = {
    name: model_path(f"package:data/tiny_policies/{name.removeprefix('tiny-')}")
    for name in ARCHITECTURES
}


@pytest.mark.slow
def test_a_smaller_policy_is_built_from_scratch_and_learns(tmp_path):
    recipe = replace(
        builder.RECIPES["tiny-qwen2"], hidden=32, layers=1, competence_steps=60, doubt_steps=3
    )
    losses: list[float] = []
    builder.build(recipe, tmp_path, lambda stage, step, steps, loss: losses.append(loss))
    assert len(losses) == 63
    assert losses[59] < 0.7 * losses[0]
    again = load_policy(str(tmp_path))
    assert preset_of(str(tmp_path)) == "tiny-qwen2"
    assert (tmp_path / "competent/model.safetensors").exists()
    assert again.tokenizer.chat_template == builder.TEMPLATE


def test_building_twice_gives_the_same_policy(tmp_path):
    recipe = replace(
        builder.RECIPES["tiny-llama"], hidden=16, layers=1, competence_steps=2, doubt_steps=1
    )
    for name in "ab":
        builder.build(recipe, tmp_path / name)
    for file in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_auto_tokenizer_keeps_the_tokens(name, tokenizer):
    """transformers rebuilds the pipeline of some model types; the tokens must not change with the
    class it picks."""
    loaded = AutoTokenizer.from_pretrained(ASSETS[name])
    full = builder.make_tokenizer()
    rng = random.Random(0)
    for _ in range(50):
        c = chain(rng, rng.randint(1, 8), 0.5, rng.choice(["plain", "spaced", "lines"]))
        text = (
            Renderer(full).text(*Renderer(full).answer_user(c.question, c.hints[1]))
            + c.solution
            + "<|end|>"
            + builder.hint_json(c)
        )
        assert loaded(text)["input_ids"] == full(text)["input_ids"]
        assert loaded.decode(loaded(text)["input_ids"]) == text
    assert loaded.eos_token == "<|end|>"
    assert loaded.pad_token == "<|pad|>"
    assert len(loaded) == len(full)


@pytest.mark.parametrize(
    ("name", "kind"),
    zip(ARCHITECTURES, ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"), strict=True),
)
def test_three_architectures_of_transformers_under_a_million_and_a_half(name, kind):
    model = AutoModelForCausalLM.from_pretrained(ASSETS[name])
    assert type(model).__name__ == kind
    assert sum(p.numel() for p in model.parameters()) < 1.5e6
    assert Path(ASSETS[name], "model.safetensors").stat().st_size < 2 * 2**20


def success(policy, questions, golds, *, hints=None, temperature=0.6, samples=4) -> float:
    renderer = Renderer(policy.tokenizer)
    prompts = [
        renderer.answer(q, h)
        for q, h in zip(questions, hints or [None] * len(questions), strict=True)
    ]
    params = Sampling(temperature, 0.95 if temperature < 1 else 1.0, 96)
    out = Decoder(policy).draw(
        [
            Sample(p, 1, params, seed=i * 100 + k)
            for i, p in enumerate(prompts)
            for k in range(samples)
        ]
    )
    texts = [policy.tokenizer.decode(list(c.tokens), skip_special_tokens=True) for c in out]
    return sum(t.endswith(f"\\boxed{{{golds[i // samples]}}}") for i, t in enumerate(texts)) / len(
        texts
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_benchmarks_grade_from_about_half_down_to_under_one_per_cent(name):
    policy = load_policy(ASSETS[name])
    rate = {
        b: success(policy, [p.question for p in problems(b)], [p.answer for p in problems(b)])
        for b in BENCHMARKS
    }
    assert 0.3 < rate["tiny_short"] < 0.75
    assert rate["tiny_long"] < 0.02
    assert rate["tiny_short"] > rate["tiny_mixed"] > rate["tiny_chain"] > rate["tiny_long"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_hard_half_of_training_is_practically_unsolved_in_eight_samples(name):
    policy = load_policy(ASSETS[name])
    hard = [p for p in problems("tiny") if len(p.extra["steps"]) > 5][:64]
    assert (
        success(
            policy, [p.question for p in hard], [p.answer for p in hard], temperature=1.0, samples=8
        )
        < 0.02
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_policies_write_the_hint_json_from_solutions(name):
    policy = load_policy(ASSETS[name])
    renderer, chosen = Renderer(policy.tokenizer), problems("tiny")[:24]
    params = Sampling(1.0, 1.0, 256)
    out = Decoder(policy).draw(
        [
            Sample(hint_prompt(renderer, p.question, p.solution), 1, params, seed=i)
            for i, p in enumerate(chosen)
        ]
    )
    texts = [policy.tokenizer.decode(list(c.tokens), skip_special_tokens=True) for c in out]
    parsed = [parse_hints(t) for t in texts]
    assert sum(h.status == "ok" for h in parsed) >= 22
    assert (
        sum(h.levels == tuple(p.extra["hints"]) for h, p in zip(parsed, chosen, strict=True)) >= 20
    )
    assert not any(
        leaks_answer(h, p.answer, p.question)
        for hint, p in zip(parsed, chosen, strict=True)
        for h in hint.levels
        if h
    )


def test_noise_makes_results_random_only_for_stars():
    rng = random.Random(0)
    steps = [s for _ in range(400) for s in chain(rng, 4, 0.5, noise=1.0).steps]
    wrong = {
        op: (
            sum(eval(s.split("=")[0]) % 10 != int(s[-1]) for s in steps if s[1] == op)
            / sum(s[1] == op for s in steps)
        )
        for op in "+-*"
    }
    assert wrong["+"] == wrong["-"] == 0
    assert 0.8 < wrong["*"] < 0.95


def test_torch_threads_are_left_alone_by_loading():
    before = torch.get_num_threads()
    load_policy(ASSETS["tiny-llama"])
    assert torch.get_num_threads() == before
