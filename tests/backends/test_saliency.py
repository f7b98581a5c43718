"""OAR's two estimators on real models: parameter gradients stay as they were, prefix reuse changes
time only."""

from __future__ import annotations

import pytest
import torch
from conftest import ARCHITECTURES
from test_local_learner import gradient, make_rows

from sage_bench.backends.oar import saliency
from sage_bench.backends.oar.saliency import Saliency, gradient_saliency, perturbation_saliency
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.types import Sample, Sampling, Score
from sage_bench.utils.seeds import derive_seed

OUTCOMES = ("last", "answer_mean", "answer_joint")
PROMPT, SPAN, BRIDGE, TARGET = (
    (6, 50, 51, 7, 20),
    (30, 31, 90, 32, 33, 34, 91, 30),
    (40, 41),
    (60, 61, 62),
)


def ask(how: str, outcome: str, **changes) -> Saliency:
    return Saliency(
        **{
            "prompt": PROMPT,
            "tokens": SPAN,
            "bridge": BRIDGE,
            "target": TARGET,
            "how": how,
            "outcome": outcome,
            "mask": 3,
            "key": (1, "p", 0),
            **changes,
        }
    )


def outcome_of(logits: torch.Tensor, a: Saliency) -> torch.Tensor:
    """What is read of the logits (positions, V) of prompt + span + bridge + target, by the
    definition (docs/design/oar.md 2)."""
    answer = logits[-len(a.target) - 1 : -1]  # the positions that predict the target
    if a.outcome == "last":
        return answer[0].log_softmax(-1)
    if a.outcome == "answer_mean":
        return answer.mean(0).log_softmax(-1)
    return torch.stack(
        [row.log_softmax(-1)[t] for row, t in zip(answer, a.target, strict=True)]
    ).mean()


def difference(clean: torch.Tensor, other: torch.Tensor, a: Saliency) -> torch.Tensor:
    return clean - other if a.outcome == "answer_joint" else (clean.exp() * (clean - other)).sum()


def one_by_one(policy, a: Saliency) -> torch.Tensor:
    """The definition of OAR-P: one whole forward for every position, no cache, no batch."""

    def read(span: tuple[int, ...]) -> torch.Tensor:
        ids = torch.tensor([a.prompt + span + a.bridge + a.target])
        return outcome_of(policy.model(ids, use_cache=False).logits[0].double(), a)

    with torch.no_grad():
        clean = read(a.tokens)
        return torch.stack(
            [
                difference(clean, read((*a.tokens[:t], a.mask, *a.tokens[t + 1 :])), a)
                for t in range(len(a.tokens))
            ]
        )


def by_definition(policy, a: Saliency, seed: int) -> torch.Tensor:
    """The definition of OAR-G: gradient of J with respect to the embeddings of the whole sequence,
    the engine's noise on the span."""
    ids = torch.tensor([a.prompt + a.tokens + a.bridge + a.target])
    start, size = len(a.prompt), len(a.tokens)
    e = policy.model.get_input_embeddings()(ids).detach()
    noise = torch.zeros_like(e)
    drawn = torch.randn(
        size, e.shape[-1], generator=torch.Generator().manual_seed(derive_seed(seed, *a.key))
    )
    noise[0, start : start + size] = (a.noise * drawn).to(e)
    clean = outcome_of(policy.model(inputs_embeds=e, use_cache=False).logits[0], a).detach()
    noisy = (e + noise).requires_grad_(True)
    (g,) = torch.autograd.grad(
        difference(
            clean, outcome_of(policy.model(inputs_embeds=noisy, use_cache=False).logits[0], a), a
        ),
        [noisy],
    )
    return (g * e).sum(-1).abs()[0, start : start + size]


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    """Equal to a millionth of the largest: RoPE is float32 inside, and answers are."""
    assert want.abs().max() > 0
    torch.testing.assert_close(
        got.double(), want.double(), rtol=1e-4, atol=1e-5 * want.abs().max().item()
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradient_saliency_leaves_the_parameters_gradients_alone(name, outcome, random_policy):
    policy = random_policy(name)
    parameters = list(policy.model.parameters())
    for i, p in enumerate(
        parameters
    ):  # gradients of an update under way on some, none yet on others, one not trained at all
        p.grad = torch.randn_like(p) if i % 2 else None
    parameters[-1].requires_grad_(False)
    before = [
        (p.detach().clone(), None if p.grad is None else p.grad.clone(), p.requires_grad)
        for p in parameters
    ]
    kept = [p.grad for p in parameters]
    (scores,) = gradient_saliency(policy, [ask("gradient", outcome)], seed=0)
    assert scores.shape == (len(SPAN),)
    assert (scores > 0).all()
    assert not scores.requires_grad
    for p, held, (value, grad, flag) in zip(parameters, kept, before, strict=True):
        assert p.grad is held
        assert torch.equal(p, value)
        assert p.requires_grad is flag
        assert grad is None or torch.equal(p.grad, grad)


@pytest.mark.parametrize("how", ["gradient", "perturb"])
def test_an_update_is_bitwise_the_same_after_saliency(how, random_policy):
    policy, rows = random_policy(), make_rows()
    without = gradient(policy, rows)
    LocalEngine(policy, OptimConfig()).run([ask(how, outcome) for outcome in OUTCOMES])
    assert torch.equal(gradient(policy, rows), without)
    held = [p.grad.clone() for p in policy.model.parameters()]
    LocalEngine(policy, OptimConfig()).run([ask(how, outcome) for outcome in OUTCOMES])
    assert all(torch.equal(p.grad, g) for p, g in zip(policy.model.parameters(), held, strict=True))


def test_flags_come_back_when_the_forward_fails(random_policy, monkeypatch):
    policy = random_policy()
    calls, real = [], policy.hidden

    def hidden(*args, **kwargs):
        calls.append(None)
        if len(calls) == 3:  # after the prompt and the clean run: the noisy one
            raise MemoryError
        return real(*args, **kwargs)

    monkeypatch.setattr(policy, "hidden", hidden)
    with pytest.raises(MemoryError):
        gradient_saliency(policy, [ask("gradient", "last")], seed=0)
    assert all(p.requires_grad for p in policy.model.parameters())


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradient_saliency_is_what_its_definition_says(name, outcome, random_policy):
    policy, a = random_policy(name, torch.float64), ask("gradient", outcome)
    close(gradient_saliency(policy, [a], seed=5)[0], by_definition(policy, a, seed=5))


def test_gradient_saliency_of_a_request_does_not_depend_on_the_others(random_policy):
    policy = random_policy(dtype=torch.float64)
    asks = [
        ask("gradient", "answer_mean"),
        ask(
            "gradient",
            "answer_joint",
            prompt=(9, 8),
            tokens=(70,),
            bridge=(),
            target=(12,),
            key=(1, "q", 0),
        ),
        ask("gradient", "last", tokens=SPAN[:3], key=(1, "p", 1)),
    ]
    for alone, together in zip(
        (gradient_saliency(policy, [a], seed=0)[0] for a in asks),
        gradient_saliency(policy, asks, seed=0),
        strict=True,
    ):
        close(together, alone)


def test_gradient_saliency_draws_its_noise_from_seed_and_key(random_policy):
    policy, a = random_policy(), ask("gradient", "answer_mean")
    same, again, seed, key = (
        gradient_saliency(policy, [b], seed=s)[0]
        for b, s in ((a, 0), (a, 0), (a, 1), (ask("gradient", "answer_mean", key=(2, "p", 0)), 0))
    )
    assert torch.equal(same, again)
    assert not torch.equal(same, seed)
    assert not torch.equal(same, key)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_perturbation_with_a_reused_prefix_equals_one_copy_at_a_time(
    name, outcome, rows, random_policy, monkeypatch
):
    monkeypatch.setattr(saliency, "ROWS", rows)  # copies that run together
    policy, a = random_policy(name, torch.float64), ask("perturb", outcome)
    close(perturbation_saliency(policy, a), one_by_one(policy, a))


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(("bridge", "target"), [((), (60,)), ((), TARGET), ((40,), (60,))])
def test_perturbation_with_and_without_a_bridge(outcome, bridge, target, random_policy):
    policy, a = (
        random_policy(dtype=torch.float64),
        ask("perturb", outcome, bridge=bridge, target=target),
    )
    close(perturbation_saliency(policy, a), one_by_one(policy, a))


def test_a_token_that_is_the_mask_already_changes_nothing(random_policy):
    found = perturbation_saliency(
        random_policy(dtype=torch.float64), ask("perturb", "last", mask=SPAN[2])
    )
    assert abs(found[2].item()) < 1e-9 < found[[0, 1, 3]].abs().min().item()


@pytest.mark.parametrize("positions", [1, 3, 8, 100])
def test_a_cap_on_positions_gives_the_others_their_nearest_ones_value(positions, random_policy):
    policy = random_policy(dtype=torch.float64)
    whole, capped = (
        perturbation_saliency(policy, ask("perturb", "last", positions=n))
        for n in (None, positions)
    )
    places = saliency.probed(len(SPAN), positions)
    assert len(places) == min(positions, len(SPAN))
    assert torch.allclose(capped[places], whole[places], rtol=1e-4)
    nearest = [min(places, key=lambda p: abs(p - t)) for t in range(len(SPAN))]
    assert torch.equal(capped, capped[nearest])


@pytest.mark.parametrize("most", [1, 2, 7, 12, 40])
def test_coarse_to_fine_stays_within_its_budget_and_covers_every_token(most):
    asked = []

    def changes(blocks):
        asked.extend(blocks)
        return torch.tensor([1.0 + sum(b) for b in blocks])

    values = saliency.coarse_to_fine(50, most, changes)
    assert len(asked) <= most
    assert (values > 0).all()
    starts = [b.start for b in asked[: max(1, most // 2)]]
    assert starts == sorted(starts)


def test_coarse_to_fine_finds_single_tokens_that_even_distances_miss():
    spikes = {17: 3.0, 62: 2.0}

    def changes(blocks):
        return torch.tensor([sum(v for t, v in spikes.items() if t in b) for b in blocks])

    values = saliency.coarse_to_fine(100, 40, changes)
    assert {t: values[t].item() for t in values.nonzero().flatten().tolist()} == spikes
    even = saliency.probed(100, 40)
    assert not spikes.keys() & set(even)


def test_with_as_many_copies_as_tokens_the_search_is_exact(random_policy):
    policy = random_policy(dtype=torch.float64)
    whole = perturbation_saliency(policy, ask("perturb", "last"))
    found = perturbation_saliency(
        policy, ask("perturb", "last", positions=len(SPAN), search="fine")
    )
    assert torch.allclose(found, whole)


@pytest.mark.parametrize("how", ["gradient", "perturb"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_logits_are_taken_where_the_outcome_is_read_only(how, outcome, random_policy, monkeypatch):
    """Never a tensor of (copies, length, vocabulary)."""
    policy, seen = random_policy(), []
    real = policy.logits
    monkeypatch.setattr(
        policy, "logits", lambda hidden: (seen.append(hidden.shape[-2]), real(hidden))[1]
    )
    LocalEngine(policy, OptimConfig()).run([ask(how, outcome)])
    assert seen
    assert set(seen) == {1 if outcome == "last" else len(TARGET)}


def test_the_prompt_is_run_once(random_policy, monkeypatch):
    policy, seen = random_policy(), []
    real = policy.hidden

    def hidden(ids, **rest):
        seen.append((ids if ids is not None else rest["embeddings"]).shape[:2])
        return real(ids, **rest)

    monkeypatch.setattr(policy, "hidden", hidden)
    perturbation_saliency(policy, ask("perturb", "last"))
    n = len(SPAN) + len(BRIDGE)
    assert seen == [(1, len(PROMPT)), (1, n), (len(SPAN), n)]
    seen.clear()
    gradient_saliency(policy, [ask("gradient", "last"), ask("gradient", "last", key=(2,))], seed=0)
    assert seen == [(1, len(PROMPT)), (2, n), (2, n)]


def test_the_engine_answers_saliency_beside_other_requests_in_order(random_policy):
    policy = random_policy()
    engine = LocalEngine(policy, OptimConfig(), seed=4, micro_tokens=16)
    asks = [
        ask("perturb", "last"),
        Sample(PROMPT, 2, Sampling(1.0, 1.0, 4), key=(0,)),
        ask("gradient", "last"),
        Score(PROMPT, TARGET),
        ask("gradient", "last", tokens=()),
    ]
    first, drawn, second, score, empty = engine.run(asks)
    assert torch.equal(first, perturbation_saliency(policy, asks[0]))
    assert torch.equal(second, gradient_saliency(policy, [asks[2]], 4)[0])
    assert len(drawn) == 2
    assert score.shape == (3,)
    assert empty.shape == (0,)
