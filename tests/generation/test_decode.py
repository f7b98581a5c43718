"""Our own decoder against transformers' own generation and against the learner's forward."""

from __future__ import annotations

import pytest
import torch
from conftest import ARCHITECTURES

from sage_bench.generation.local import choosing
from sage_bench.generation.local.cache import GrowingLayer
from sage_bench.generation.local.choosing import choose, inverse
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.rng import uniform
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError

PROMPTS = ["3*9+6", "1-2", "7*7*7-5+2-1", "4 + 4"]


def draws(renderer, params: Sampling, samples: int = 3, seed: int = 0) -> list[Sample]:
    return [
        Sample(renderer.answer(q), 1, params, seed=seed + 1000 * i + k)
        for i, q in enumerate(PROMPTS)
        for k in range(samples)
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_equals_generate(name, random_policy, renderer):
    policy = random_policy(name)
    ours = Decoder(policy).draw(
        [Sample(renderer.answer(q), 1, Sampling(0.0, 1.0, 24), seed=0) for q in PROMPTS]
    )
    for question, completion in zip(PROMPTS, ours, strict=True):
        prompt = torch.tensor([renderer.answer(question)])
        theirs = policy.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=sorted(policy.eos_ids),
        )
        assert completion.tokens == tuple(theirs[0, prompt.shape[1] :].tolist())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_reported_log_probabilities_are_those_of_the_forward(
    name, temperature, random_policy, renderer
):
    policy = random_policy(name)
    asked = draws(renderer, Sampling(temperature, 1.0, 20))
    out = Decoder(policy).draw(asked)
    with torch.no_grad():
        logp, _ = log_probs(
            policy,
            [(d.prompt, c.tokens) for d, c in zip(asked, out, strict=True)],
            temperature=temperature,
        )
    assert torch.allclose(torch.cat([c.logp for c in out]), logp, atol=2e-4)


def test_the_same_call_repeats_bit_for_bit_and_seeds_matter(random_policy, renderer):
    sampler = Decoder(random_policy())
    first, again = (sampler.draw(draws(renderer, Sampling(1.0, 1.0, 20))) for _ in range(2))
    assert [c.tokens for c in first] == [c.tokens for c in again]
    assert all(torch.equal(a.logp, b.logp) for a, b in zip(first, again, strict=True))
    assert [c.tokens for c in sampler.draw(draws(renderer, Sampling(1.0, 1.0, 20), seed=7))] != [
        c.tokens for c in first
    ]
    assert len({c.tokens for c in first[:3]}) > 1  # samples of one prompt differ


def test_a_stop_text_ends_a_completion_where_it_has_appeared(random_policy, renderer):
    policy = random_policy(dtype=torch.float64)
    whole = Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 24)))

    def text(tokens):
        return policy.tokenizer.decode(list(tokens))

    stop = text(whole[0].tokens[9:11])
    for cut, full in zip(
        Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 24, (stop,)))), whole, strict=True
    ):
        n = len(cut.tokens)
        assert cut.tokens == full.tokens[:n]
        assert torch.allclose(cut.logp, full.logp[:n])
        assert (stop in text(cut.tokens)) == (stop in text(full.tokens))
        assert stop not in text(cut.tokens[:-1])
        assert cut.finish == ("stop" if stop in text(cut.tokens) else full.finish)
    assert (
        len(Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 24, (stop,))))[0].tokens) <= 11
    )


def test_a_completion_does_not_depend_on_its_neighbours(random_policy, renderer):
    """In float64, where the shape of a batch does not reach the drawn token."""
    policy = random_policy(dtype=torch.float64)
    asked = draws(renderer, Sampling(1.0, 0.9, 20))
    together = Decoder(policy).draw(asked)
    alone = [Decoder(policy).draw([d])[0] for d in asked]
    small_waves = Decoder(policy, wave_tokens=300).draw(asked)
    assert (
        [c.tokens for c in together] == [c.tokens for c in alone] == [c.tokens for c in small_waves]
    )


def test_every_declared_end_token_ends_a_completion(random_policy, renderer):
    policy = random_policy()
    plain = Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 30)))
    token = next(t for c in plain for t in c.tokens[2:-1] if t not in policy.eos_ids)
    policy.eos_ids = policy.eos_ids | {token}
    for completion in Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 30))):
        assert token not in completion.tokens[:-1]
        assert (completion.tokens[-1] in policy.eos_ids) == (completion.finish == "stop")


def test_a_completion_cut_at_max_tokens_says_so(random_policy, renderer):
    policy = random_policy()
    policy.eos_ids = frozenset({policy.pad_id})
    out = Decoder(policy).draw(draws(renderer, Sampling(1.0, 1.0, 1)))
    assert all(len(c.tokens) == 1 == len(c.logp) for c in out)
    assert {c.finish for c in out if c.tokens[0] != policy.pad_id} == {"length"}


def test_mixed_parameters_wait_in_queues_of_their_own(random_policy, renderer):
    sampler = Decoder(random_policy())
    mixed = draws(renderer, Sampling(0.0, 1.0, 8), 1) + draws(renderer, Sampling(1.0, 1.0, 12), 1)
    queues = sampler.queues(mixed)
    assert len(queues) == 2
    assert sorted(i for queue in queues for i in queue) == list(range(8))
    assert [c.tokens for c in sampler.draw(mixed)[:4]] == [
        c.tokens for c in sampler.draw(mixed[:4])
    ]


def test_a_prompt_longer_than_the_context_is_an_error(random_policy):
    with pytest.raises(SageBenchError, match="context"):
        Decoder(random_policy()).draw([Sample((5,) * 1024, 1, Sampling(1.0, 1.0, 4), seed=0)])


def test_top_p_keeps_the_smallest_head_that_reaches_it():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(4000, 1)
    u = uniform(torch.arange(4000), 0)
    counts = torch.bincount(choose(logits, 1.0, 0.7, u)[0], minlength=4) / 4000
    assert counts[2:].sum() == 0
    assert counts[0].item() == pytest.approx(0.5 / 0.8, abs=0.03)
    tokens, logp = choose(logits, 1.0, 0.7, u)
    assert torch.allclose(
        logp, logits.gather(-1, tokens[:, None])[:, 0]
    )  # of the whole distribution, not of the head


@pytest.mark.parametrize("size", [4097, 4224, 9000])  # with and without a block that is not full
def test_blocks_of_a_vocabulary_give_the_token_that_adding_all_of_it_up_gives(size, monkeypatch):
    generator = torch.Generator().manual_seed(size)
    logits = 3 * torch.randn(500, size, generator=generator)
    logits[:100, 50:-50] = -torch.inf  # blocks without any probability
    logits[100:200, :-3] = -torch.inf  # all of it in the last block
    u = torch.rand(500, generator=generator, dtype=torch.float64)
    u[::50] = 0.0
    u[1::50] = 1 - 2**-53
    p = logits.softmax(-1)
    found = inverse(p, u)
    monkeypatch.setattr(choosing, "BLOCKS_FROM", size)
    assert torch.equal(found, inverse(p, u))
    assert bool((p.gather(-1, found) > 0).all())


@pytest.mark.parametrize("sharp", [0.0, 1.0, 2.0, 4.0, 8.0])  # flat: no head holds the set
@pytest.mark.parametrize("top_p", [0.5, 0.95, 0.999])
def test_the_head_of_a_vocabulary_gives_what_sorting_all_of_it_gives(sharp, top_p, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = sharp * torch.randn(16, 9000, generator=generator)
    logits[::2, 100:] -= 20  # some rows are peaked, whatever the others are
    u = torch.rand(16, generator=generator, dtype=torch.float64)
    found = choose(logits, 0.6, top_p, u)
    monkeypatch.setattr(choosing, "HEADS", ())
    expected = choose(logits, 0.6, top_p, u)
    if sharp:  # equal probabilities have no order
        assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_frequencies_follow_the_distribution_at_a_temperature():
    logits = torch.tensor([0.0, 1.0, 2.0]).repeat(20000, 1)
    counts = (
        torch.bincount(choose(logits, 0.5, 1.0, uniform(torch.arange(20000), 3))[0], minlength=3)
        / 20000
    )
    assert torch.allclose(counts, torch.tensor([0.0, 2.0, 4.0]).softmax(0), atol=0.015)


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]]).repeat(5000, 1)
    assert set(choose(logits, 1.0, 1.0, uniform(torch.arange(5000), 0))[0].tolist()) == {1, 3}
    edge = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert set(choose(logits[:2], 1.0, 1.0, edge)[0].tolist()) == {1, 3}


def test_draws_of_neighbouring_seeds_and_tokens_are_uncorrelated():
    seeds = torch.arange(20000)
    a, b, c = uniform(seeds, 0), uniform(seeds + 1, 0), uniform(seeds, 1)
    for x, y in ((a, b), (a, c)):
        assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1].item()) < 0.03


def test_growing_cache_holds_what_was_appended():
    keys, values = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4)
    layer = GrowingLayer(keys, values, block=4)
    want = [keys]
    for _ in range(40):
        new = torch.randn(2, 1, 1, 4)
        want.append(new)
        got, _ = layer.update(new, new)
    assert torch.equal(got, torch.cat(want, 2))
    assert layer.get_seq_length() == 43
    layer.batch_select_indices(torch.tensor([1]))
    assert torch.equal(layer.keys, torch.cat(want, 2)[1:])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("top_p", [1.0, 0.95])
def test_large_vocabularies_are_drawn_from_like_small_ones(temperature, top_p, monkeypatch):
    """One copy instead of four: the same tokens, log-probabilities to rounding."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(200, 5000, generator=generator)
    u = torch.rand(200, generator=generator, dtype=torch.float64)
    before = logits.clone()
    large = choose(logits, temperature, top_p, u)
    assert torch.equal(logits, before)
    monkeypatch.setattr(choosing, "BLOCKS_FROM", 1 << 20)
    small = choose(logits, temperature, top_p, u)
    assert torch.equal(large[0], small[0])
    assert torch.allclose(large[1], small[1], rtol=0, atol=2e-6)


def test_a_broken_logit_of_a_large_vocabulary_shows_in_the_log_probability():
    logits = torch.zeros(2, 5000)
    logits[0, 7] = torch.inf
    logits[1, 7] = torch.nan
    _, logp = choose(logits, 1.0, 1.0, torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert not torch.isfinite(logp).any()
