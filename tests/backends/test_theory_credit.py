"""Properties of every method's `credit`: what the advantage of a completion may depend on, and what
not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine, context, problem

from sage_bench.methods.base import Method
from sage_bench.methods.driver import collect
from sage_bench.methods.registry import BACKENDS
from sage_bench.types import Completion, Group, Kind, Row

TRACE = (90, 91, 92)
SAMPLING = sorted(
    name for name, method in BACKENDS.items() if method.needs
)  # those that roll out; SFT credits given tokens
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
groups = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(1, 9)), min_size=2, max_size=9
)  # (reward, tokens) of each


def method_of(name: str, renderer, **switches) -> Method:
    # a judge has no default
    named = {"judge": "reference"} if hasattr(BACKENDS.get(name), "judging") else {}
    return BACKENDS.get(name)(context(renderer), **named, **switches)


def group_of(
    method: Method, members: list[tuple[float, int]], ids: list[int] | None = None
) -> Group:
    """A group of these (reward, tokens), with everything a method keeps about its completions;
    token 10 + i marks completion i."""
    ids = list(range(len(members))) if ids is None else ids
    completions = [
        Completion((10 + i,) * n, torch.full((n,), -float(i)), "stop")
        for i, (_, n) in zip(ids, members, strict=True)
    ]
    group = Group(
        problem(), (1, 2), (1, 2), completions, torch.tensor([r for r, _ in members]), level=1
    )
    group.prompts = [(1, 2, 3 + i) for i in ids]
    if hasattr(method, "opened"):  # LUFFY: a trace in the group
        group.notes |= {"trace": TRACE, "trace_reward": 1.0}
        group.prompts = None
    if "policy" in method.needs:
        group.notes["weights"] = [
            1 + torch.arange(n) / (n + i) for i, (_, n) in zip(ids, members, strict=True)
        ]
    return group


def marked(rows: list[Row]) -> dict[int, Row]:
    """Rows by the completion they come from (the trace by its first token)."""
    found = {row.tokens[0]: row for row in rows}
    assert len(found) == len(rows)
    return found


def first(row: Row) -> float:
    return row.advantage[0].item()


def test_all_methods_are_looked_at():
    assert {
        "grpo",
        "sage",
        "sage_light",
        "sgpo",
        "hint",
        "oar_p",
        "oar_g",
        "luffy",
        "scaf_grpo",
        "dapo",
        "dr_grpo",
        "random_reward",
        "grpo_more",
    } <= set(SAMPLING)
    ours = {
        n for n in BACKENDS.names() if BACKENDS.get(n).__module__.startswith("sage_bench.backends.")
    }  # other tests register methods of their own
    assert ours - set(SAMPLING) == {"sft"}


@pytest.mark.parametrize("name", SAMPLING)
@shared
@given(groups, st.randoms())
def test_permuting_rollouts_permutes_rows(name, renderer, members, rng):
    method = method_of(name, renderer)
    order = list(range(len(members)))
    rng.shuffle(order)
    rows = marked(method.credit(group_of(method, members)))
    shuffled = method.credit(group_of(method, [members[i] for i in order], order))
    assert [r.tokens[0] for r in shuffled if r.tokens != TRACE] == [10 + i for i in order]
    for token, row in marked(shuffled).items():
        twin = rows[token]
        assert (row.prompt, row.tokens, row.group, row.kind) == (
            twin.prompt,
            twin.tokens,
            twin.group,
            twin.kind,
        )
        assert type(row) is type(twin)
        assert getattr(row, "affinity", None) == getattr(twin, "affinity", None)
        assert torch.allclose(row.advantage, twin.advantage, atol=1e-6)
        assert row.kind is Kind.OFF or torch.equal(row.sampler_logp, twin.sampler_logp)


@pytest.mark.parametrize("name", SAMPLING)
@shared
@given(groups, st.sampled_from([-2.0, -0.5, 0.25, 1.0, 3.0]))
def test_adding_a_constant_to_rewards_changes_nothing(name, renderer, members, shift):
    method = method_of(name, renderer)
    plain, moved = group_of(method, members), group_of(method, [(r + shift, n) for r, n in members])
    if "trace_reward" in moved.notes:
        moved.notes["trace_reward"] += shift
    for a, b in zip(method.credit(plain), method.credit(moved), strict=True):
        assert torch.equal(
            a.advantage, b.advantage
        )  # the values are binary fractions: not even rounding differs


@pytest.mark.parametrize("name", SAMPLING)
@shared
@given(groups, st.lists(st.integers(1, 9), min_size=9, max_size=9))
def test_length_has_no_influence_on_the_advantage(name, renderer, members, lengths):
    """The advantage of a completion's first token; OAR's weights are set aside, they are about
    tokens."""
    method = method_of(name, renderer)
    before, after = (
        group_of(method, members),
        group_of(method, [(r, n) for (r, _), n in zip(members, lengths, strict=False)]),
    )
    for group in (before, after):
        group.notes.pop("weights", None)
    rows, longer = method.credit(before), method.credit(after)
    assert [first(r) for r in rows] == [first(r) for r in longer]
    for row in longer:
        assert row.advantage.shape == (len(row.tokens),)
        assert (row.advantage == row.advantage[0]).all()


@pytest.mark.parametrize("name", SAMPLING)
@pytest.mark.parametrize("reward", [0.0, 0.3, 1.0])
def test_equal_rewards_give_exactly_zero(name, reward, renderer):
    method = method_of(name, renderer)
    for size in (1, 2, 5, 8):
        group = group_of(method, [(reward, 3)] * size)
        if "trace_reward" in group.notes:
            group.notes["trace_reward"] = group.rewards[0].item()
        assert all((r.advantage == 0).all() for r in method.credit(group))


@pytest.mark.parametrize("name", SAMPLING)
def test_a_group_of_one_teaches_exactly_nothing(name, renderer):
    """The whole way, rolled out and credited: right or wrong."""
    for said in ("42", "no way. no way."):
        engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k, said=said: said)
        (item,) = collect(method_of(name, renderer, group_size=1), [problem()], engine)
        assert len(item.rows) == 1
        assert (item.rows[0].advantage == 0).all()


@pytest.mark.parametrize("name", SAMPLING)
@shared
@given(groups)
def test_advantages_of_a_group_sum_to_zero(name, renderer, members):
    method = method_of(name, renderer)
    group = group_of(method, members)
    group.notes.pop("weights", None)
    assert sum(first(r) for r in method.credit(group)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", ["oar_g", "oar_p"])
@shared
@given(groups)
def test_reshaping_keeps_the_mass_of_every_completions_advantage(name, renderer, members):
    from sage_bench.backends.oar.weights import token_weights

    method = method_of(name, renderer)
    group = group_of(method, members)
    group.notes["weights"] = [token_weights(w) for w in group.notes["weights"]]
    rows = method.credit(group)
    group.notes.pop("weights")
    for row, plain in zip(rows, method.credit(group), strict=True):
        assert row.advantage.sum().item() == pytest.approx(plain.advantage.sum().item(), abs=1e-5)


def test_partial_credit_is_standardised_in_place_of_the_rewards(renderer):
    method = method_of("sgpo", renderer)
    group = group_of(method, [(0.0, 2), (0.0, 3), (0.0, 1)])
    group.scores = torch.tensor([0.1, 0.9, 0.5])
    advantage = [first(r) for r in method.credit(group)]
    group.scores = group.scores + 3
    assert [first(r) for r in method.credit(group)] == pytest.approx(advantage, abs=1e-5)
    assert advantage == pytest.approx([-1.2247, 1.2247, 0.0], abs=1e-4)
