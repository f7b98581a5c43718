"""Sampler and learner agree: bfloat16 heads, sliding windows, long ropes, prompts in parts."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)
from watching import watched

from sage_bench.generation.local import prefill
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.policy import Policy, head_logits
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError

SMALL = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    tie_word_embeddings=False,
    pad_token_id=0,
)
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [1.5, 3.0, 6.0, 12.0],
    "original_max_position_embeddings": 32,
}


def policy_of(kind, config, tokenizer, dtype=torch.float64) -> Policy:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)  # the default init is nearly uniform over tokens
    policy = Policy(model.to(dtype).eval(), tokenizer, kind.__name__)
    policy.eos_ids = frozenset()  # completions that pass the window
    return policy


def make(name: str, tokenizer, dtype=torch.float64) -> Policy:
    size = {**SMALL, "vocab_size": len(tokenizer)}
    if name == "mistral":
        return policy_of(MistralForCausalLM, MistralConfig(sliding_window=12, **size), tokenizer)
    if name == "phi3-window":
        return policy_of(Phi3ForCausalLM, Phi3Config(sliding_window=12, **size), tokenizer)
    if name == "phi3-longrope":
        config = Phi3Config(rope_parameters=LONG_ROPE, original_max_position_embeddings=32, **size)
        return policy_of(Phi3ForCausalLM, config, tokenizer)
    return policy_of(LlamaForCausalLM, LlamaConfig(**size), tokenizer, dtype)


PROMPTS = [tuple(range(5, 5 + n)) for n in (4, 9, 20)]


def draw(policy: Policy, tokens: int = 40) -> list:
    asked = [
        Sample(p, 1, Sampling(1.0, 1.0, tokens), seed=10 * i + k)
        for i, p in enumerate(PROMPTS)
        for k in range(2)
    ]
    return list(zip(asked, Decoder(policy).draw(asked), strict=True))


@pytest.mark.parametrize("prompt_once", [True, False])
@pytest.mark.parametrize("name", ["llama", "mistral", "phi3-window", "phi3-longrope"])
def test_w25_sampler_and_learner_agree_past_windows_and_rope_changes(name, prompt_once, tokenizer):
    policy = make(name, tokenizer)
    drawn = draw(policy)
    pairs = [(s.prompt, c.tokens) for s, c in drawn]
    with torch.no_grad():
        logp, _ = log_probs(policy, pairs, prompt_once=prompt_once)
    said = torch.cat([c.logp for _, c in drawn])
    assert torch.allclose(said.double(), logp.double(), atol=1e-5)


@pytest.mark.parametrize("name", ["mistral", "phi3-window"])
def test_w25_a_window_without_a_list_of_layers_is_seen(name, tokenizer):
    policy = make(name, tokenizer)
    assert policy.model.config.sliding_window == 12
    assert not policy.dense_masks
    assert make("llama", tokenizer).dense_masks


@pytest.mark.parametrize("name", ["mistral", "phi3-longrope"])
def test_w25_greedy_tokens_are_those_of_a_forward_without_a_cache(name, tokenizer):
    policy = make(name, tokenizer)
    prompt = PROMPTS[1]
    (ours,) = Decoder(policy).draw([Sample(prompt, 1, Sampling(0.0, 1.0, 30), seed=0)])
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(30):
            row = torch.tensor([ids])
            ids.append(int(policy.model(input_ids=row, use_cache=False).logits[0, -1].argmax()))
    assert list(ours.tokens) == ids[len(prompt) :]


def test_w24_a_bfloat16_head_sums_in_float32(tokenizer):
    policy = make("llama", tokenizer, torch.bfloat16)
    hidden = torch.randn(6, 32).to(torch.bfloat16)
    weight = policy.model.lm_head.weight
    exact = hidden.double() @ weight.double().T
    assert policy.logits(hidden).dtype == torch.float32
    ours = (policy.logits(hidden) - exact).abs().max()
    rounded = (policy.model.lm_head(hidden).float() - exact).abs().max()
    assert ours < 1e-5
    assert rounded > 100 * ours


def test_w24_a_float32_head_is_the_head_itself(tokenizer):
    policy = make("llama", tokenizer, torch.float32)
    hidden = torch.randn(6, 32)
    assert torch.equal(policy.logits(hidden), policy.model.lm_head(hidden))


def test_w24_gradients_flow_through_the_float32_head(tokenizer):
    policy = make("llama", tokenizer, torch.bfloat16)
    hidden = torch.randn(6, 32).to(torch.bfloat16).requires_grad_()
    head_logits(policy.model.lm_head, hidden).logsumexp(-1).sum().backward()
    assert hidden.grad is not None
    assert policy.model.lm_head.weight.grad.dtype == torch.bfloat16
    assert policy.model.lm_head.weight.grad.abs().sum() > 0


# ---- F10: prompts in parts -----------------------------------------------------------------------
@pytest.mark.parametrize("shared", [0, 16], ids=["apart", "common beginning"])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_f10_long_prompts_are_run_in_bounded_parts_with_the_same_result(
    name, shared, tokenizer, monkeypatch
):
    policy = make(name, tokenizer)
    prompts = [tuple(range(5, 5 + shared)) + tuple(range(30 + i, 60 + i)) for i in range(7)]
    prompts += prompts[:2]
    asked = [Sample(p, 1, Sampling(1.0, 1.0, 12), seed=i) for i, p in enumerate(prompts)]
    whole = Decoder(policy).draw(asked)
    monkeypatch.setattr(prefill, "FORWARD_TOKENS", 100)
    seen, _ = watched(policy, monkeypatch)
    parts = Decoder(policy).draw(asked)
    assert [c.tokens for c in parts] == [c.tokens for c in whole]
    assert all(torch.allclose(a.logp, b.logp, atol=1e-6) for a, b in zip(parts, whole, strict=True))
    assert max(seen) <= 100


def test_f10_few_short_prompts_are_one_forward(tokenizer, monkeypatch):
    policy = make("llama", tokenizer)
    seen, _ = watched(policy, monkeypatch)
    prefill.prefill(policy, PROMPTS)
    assert len(seen) == 1


def test_a_prompt_without_a_token_is_named(tokenizer):
    policy = make("llama", tokenizer)
    with pytest.raises(SageBenchError, match="has no tokens"):
        Decoder(policy).draw([Sample((), 1, Sampling(1.0, 1.0, 4), seed=0)])
