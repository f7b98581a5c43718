"""A known body applied layer by layer computes what the model itself does, prompts kept once."""

import copy

import pytest
import torch
from conftest import ARCHITECTURES

from sage_bench.generation import adapters
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import prefill
from sage_bench.generation.local.token_step import TokenStep, WholeModel, applies, body_of
from sage_bench.types import Sample, Sampling

# three prompts of different lengths; the first has three rows, the second one, the third two
PROMPTS = [(5, 6, 7), (5, 6, 7), (8, 9, 10, 11, 12), (5, 6, 7), (20, 21), (20, 21)]


def with_key_heads(policy, count):
    """A policy of this architecture whose query heads share `count` heads of keys and values."""
    config = copy.deepcopy(policy.model.config)
    config.num_key_value_heads = count
    torch.manual_seed(0)
    model = type(policy.model)(config).to(torch.float64).eval()
    return Policy(model, policy.tokenizer, "random")


def walked(policy, kind):
    """Hidden states of five tokens a row; after the second, half of the rows are dropped."""
    start = prefill(policy, PROMPTS)
    body = kind(policy, start)
    position = start.after[start.rows] - 1
    states = []
    tokens = torch.arange(30, 30 + len(PROMPTS))
    for t in range(5):
        if t == 2:
            keep = torch.tensor([1, 2, 5])
            body.drop(keep)
            tokens, position = tokens[keep], position[keep]
        position = position + 1
        states.append(body.hidden(tokens + t, position))
    return torch.cat(states)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_states_are_those_of_the_model(name, key_heads, random_policy):
    policy = with_key_heads(random_policy(name), key_heads)
    ours = walked(policy, TokenStep)
    model = walked(policy, lambda policy, start: WholeModel(policy, start, 8))
    # transformers rounds every norm to float32
    assert torch.allclose(ours, model, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_completions_are_drawn(name, random_policy, monkeypatch):
    policy = random_policy(name)
    asked = [
        Sample(p, 1, Sampling(1.0, 0.9, 20), seed=10 * i + k)
        for i, p in enumerate(PROMPTS[2:5])
        for k in range(4)
    ]
    ours = Decoder(policy).draw(asked)
    monkeypatch.setattr("sage_bench.generation.local.token_step.applies", lambda policy: False)
    model = Decoder(policy).draw(asked)
    assert [c.tokens for c in ours] == [c.tokens for c in model]
    assert all(torch.allclose(a.logp, b.logp, atol=1e-6) for a, b in zip(ours, model, strict=True))


def test_prompts_without_rows_are_forgotten(random_policy):
    policy = random_policy()
    with torch.inference_mode():
        body = body_of(policy, prefill(policy, PROMPTS), 8)
        body.hidden(torch.arange(len(PROMPTS)), torch.full((len(PROMPTS), 1), 5))
        body.drop(torch.tensor([0, 3]))
    assert isinstance(body, TokenStep)
    assert [len(keys) for keys, _ in body.prompts] == [1, 1]
    assert body.rows.tolist() == [0, 0]
    assert body.slot.tolist() == [0, 1]


def test_what_may_compute_something_else_is_asked_itself(random_policy):
    policy = random_policy()
    assert applies(policy)
    assert not applies(random_policy(dtype=torch.bfloat16))
    body = policy.model.base_model
    plain = type(body)
    body.__class__ = type("Own", (plain,), {})
    assert not applies(policy)
    body.__class__ = plain
    body.layers[0].mlp.up_proj.__class__ = type("Own", (torch.nn.Linear,), {})
    assert not applies(policy)


def test_adapters_are_asked_through_the_model(random_policy):
    pytest.importorskip("peft")
    policy = random_policy()
    adapters.add(policy.model, rank=2, alpha=4.0, targets="all-linear", dropout=0.0, seed=0)
    assert not applies(policy)
