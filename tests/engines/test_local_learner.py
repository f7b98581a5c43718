"""The learner: the same gradient whichever way the rows are run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from conftest import ARCHITECTURES

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import Learner, micro_batches, split_updates
from sage_bench.engines.local.optim import MasterAdamW, learning_rate
from sage_bench.generation.local import forward
from sage_bench.generation.local.forward import log_probs
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row
from sage_bench.utils.errors import TrainingError


def make_rows(
    seed: int = 0, groups: int = 4, size: int = 3, kinds: Sequence[Kind] = (Kind.PG,)
) -> list[Row]:
    """Random rows: groups share a prompt, lengths are ragged, one group is dead."""
    g = torch.Generator().manual_seed(seed)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(6, 200, (n,), generator=g).tolist())

    rows = []
    for i in range(groups):
        prompt = ids(5 + 4 * i)
        for k in range(size):
            n = int(torch.randint(1, 14, (1,), generator=g))
            advantage = torch.zeros(n) if i == groups - 1 else torch.randn(n, generator=g)
            kind = kinds[(i + k) % len(kinds)]
            old = None if kind != Kind.PG or k == 0 else -torch.rand(n, generator=g) * 6
            rows.append(Row(prompt, ids(n), advantage, f"g{i}", kind, old_logp=old))
    return rows


def gradient(policy, rows, objective: Objective | None = None, **learner) -> torch.Tensor:
    policy.model.zero_grad()
    Learner(policy, OptimConfig(), **learner).gradient(rows, objective or Objective())
    return torch.cat(
        [
            p.grad.flatten() if p.grad is not None else torch.zeros(p.numel(), dtype=p.dtype)
            for p in policy.model.parameters()
        ]
    )


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_prompt_once_and_separate_rows_have_the_same_gradient(name, random_policy):
    policy, rows = random_policy(name, torch.float64), make_rows()
    assert (
        relative(
            gradient(policy, rows, prompt_once=True), gradient(policy, rows, prompt_once=False)
        )
        < 1e-6
    )


@pytest.mark.parametrize(
    "kinds", [(Kind.PG,), (Kind.OFF,), (Kind.CE,), (Kind.PG, Kind.OFF, Kind.CE)]
)
@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean", "micro-batch token-mean"])
def test_gradient_equals_a_direct_computation(kinds, aggregation, random_policy):
    policy, rows, objective = (
        random_policy(dtype=torch.float64),
        make_rows(kinds=kinds),
        Objective(aggregation=aggregation),
    )
    ours = gradient(policy, rows, objective)
    policy.model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for row, weight in zip(
        rows,
        row_weights(
            [len(r.tokens) for r in rows], aggregation, objective.recipe_micro_batch
        ).tolist(),
        strict=True,
    ):
        logits = policy.model(torch.tensor([row.prompt + row.tokens])).logits[
            0, len(row.prompt) - 1 : -1
        ]
        logp = logits.log_softmax(-1).gather(-1, torch.tensor(row.tokens)[:, None])[:, 0]
        old = logp.detach() if row.old_logp is None else row.old_logp.double()
        total = (
            total
            + weight
            * token_loss(
                logp,
                old,
                row.advantage.double(),
                torch.full((len(row.tokens),), int(row.kind)),
                objective,
            )[0].sum()
        )
    total.backward()
    direct = torch.cat([p.grad.flatten() for p in policy.model.parameters()])
    assert relative(ours, direct) < 1e-6


@pytest.mark.parametrize("budget", [1, 60, 200, 10**6])
def test_micro_batches_change_memory_only(budget, random_policy):
    policy, rows = random_policy(dtype=torch.float64), make_rows()
    assert (
        relative(
            gradient(policy, rows, micro_tokens=budget), gradient(policy, rows, micro_tokens=10**9)
        )
        < 1e-6
    )  # RoPE is float32 inside


def test_dead_rows_are_skipped_and_change_nothing(random_policy):
    policy, rows = random_policy(dtype=torch.float64), make_rows()
    assert (
        relative(gradient(policy, rows, skip_dead=True), gradient(policy, rows, skip_dead=False))
        < 1e-12
    )
    alive = [r for r in rows if r.group != "g3"]
    assert (
        relative(gradient(policy, alive), gradient(policy, rows)) > 0.05
    )  # yet they count in the denominator


def test_dead_rows_cost_no_forward(random_policy, monkeypatch):
    policy, rows = random_policy(), make_rows()
    seen: list[int] = []
    real = log_probs
    monkeypatch.setattr(
        "sage_bench.engines.local.learner.log_probs",
        lambda p, pairs, **k: (seen.append(len(pairs)), real(p, pairs, **k))[1],
    )
    Learner(policy, OptimConfig()).update(rows, Objective())
    assert sum(seen) == 9  # of 12


def test_chunks_of_the_head_change_memory_only(random_policy, monkeypatch):
    policy, rows = random_policy(dtype=torch.float64), make_rows()
    whole = gradient(policy, rows)
    monkeypatch.setattr(forward, "HEAD_LOGITS", 3 * policy.model.config.vocab_size)
    assert relative(gradient(policy, rows), whole) < 1e-12


def test_gradient_checkpointing_changes_memory_only(random_policy):
    policy, rows = random_policy(dtype=torch.float64), make_rows()
    plain = gradient(policy, rows, prompt_once=False)
    policy.model.gradient_checkpointing_enable()
    assert (
        relative(gradient(policy, rows, prompt_once=False, gradient_checkpointing=True), plain)
        < 1e-12
    )
    assert not policy.model.training


def test_order_of_rows_within_an_update_does_not_matter(random_policy):
    policy, rows = random_policy(dtype=torch.float64), make_rows()
    assert relative(gradient(policy, rows[::-1]), gradient(policy, rows)) < 1e-9


def test_entropy_and_log_probabilities_match_the_definition(random_policy):
    policy = random_policy(dtype=torch.float64)
    row = make_rows()[0]
    with torch.no_grad():
        logp, entropy = log_probs(policy, [(row.prompt, row.tokens)], temperature=0.8)
        logits = (
            policy.model(torch.tensor([row.prompt + row.tokens])).logits[
                0, len(row.prompt) - 1 : -1
            ]
            / 0.8
        )
    assert torch.allclose(
        logp, logits.log_softmax(-1).gather(-1, torch.tensor(row.tokens)[:, None])[:, 0]
    )
    assert torch.allclose(entropy, torch.distributions.Categorical(logits=logits).entropy())


def test_a_model_whose_logits_are_more_than_its_head_is_noticed(random_policy, monkeypatch):
    policy = random_policy(dtype=torch.float64)
    assert policy.split
    rows = make_rows()
    want = gradient(policy, rows)
    policy.split = False
    assert relative(gradient(policy, rows), want) < 1e-12  # the slow way gives the same numbers
    original = policy.model.forward
    monkeypatch.setattr(policy.model, "forward", lambda *a, **k: _softcap(original(*a, **k)))
    assert not policy._head_is_all()


def _softcap(out):
    out.logits = 5 * torch.tanh(out.logits / 5)
    return out


def test_updates_are_cut_between_groups():
    rows = make_rows(groups=5)
    parts = split_updates(rows, 2)
    assert [sorted({r.group for r in p}) for p in parts] == [
        ["g0", "g1"],
        ["g2", "g3", "g4"],
    ]
    assert sum(map(len, parts)) == len(rows)
    assert split_updates(rows[:3], 4) == [rows[:3]]


def test_the_second_update_clips_against_the_weights_before_the_first(random_policy):
    policy, rows = random_policy(), [r for r in make_rows() if r.old_logp is None]
    stats = Learner(policy, OptimConfig(lr=1e-2), updates=2).update(rows, Objective())
    assert stats["ratio"] != pytest.approx(1.0, abs=1e-4)  # the policy moved between the two
    stats = Learner(random_policy(), OptimConfig(lr=1e-2), updates=1).update(rows, Objective())
    assert stats["ratio"] == pytest.approx(1.0, abs=1e-6)
    assert stats["clip_fraction"] == 0


def test_micro_batches_stay_within_the_budget_and_lose_nothing():
    rows = make_rows(groups=6)
    batches = list(micro_batches([(r, 1.0) for r in rows], 80))
    assert sorted(id(r) for b in batches for r, _ in b) == sorted(map(id, rows))
    assert len(batches) > 1
    for batch in batches:
        prompts = {r.prompt for r, _ in batch}
        assert (
            len(batch) == 1
            or len(prompts) * max(map(len, prompts))
            + len(batch) * max(len(r.tokens) for r, _ in batch)
            <= 80
        )


def test_nonfinite_loss_is_an_error_before_any_weight_moves(random_policy):
    policy = random_policy()
    before = [p.clone() for p in policy.model.parameters()]
    rows = [Row((6, 7, 8), (9, 10), torch.tensor([1.0, float("nan")]), "bad")]
    with pytest.raises(TrainingError, match=r"groups bad.*Remedy"):
        Learner(policy, OptimConfig()).update(rows, Objective())
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))


@pytest.mark.parametrize("what", ["error", "skip"])
def test_nonfinite_gradients_stop_or_skip_the_step(what, random_policy):
    policy = random_policy()
    optimiser = MasterAdamW(policy.model.parameters(), OptimConfig(on_nonfinite=what))
    before = policy.model.get_input_embeddings().weight.clone()
    next(policy.model.parameters()).grad = torch.full_like(
        next(policy.model.parameters()), float("inf")
    )
    _, taken = optimiser.step(1e-3)
    assert not taken
    assert torch.equal(before, policy.model.get_input_embeddings().weight)


def test_bf16_weights_follow_float32_masters(random_policy):
    """A thousand steps of 1e-5 move a weight near 1 by 0.01; bf16 alone (spacing 0.0078) would
    round every one away."""
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimiser = MasterAdamW([weight], OptimConfig(lr=1e-5, weight_decay=0.0))
    for _ in range(1000):
        weight.grad = torch.ones_like(weight)
        optimiser.step(1e-5)
    assert optimiser.masters[0].dtype == torch.float32
    assert optimiser.masters[0][0].item() == pytest.approx(0.99, abs=1e-4)
    assert weight[0].item() == pytest.approx(0.99, abs=0.004)


def test_a_linear_schedule_falls_to_its_floor():
    assert [
        learning_rate(OptimConfig(lr=1.0, schedule="linear", min_lr_ratio=0.2), step, 10)
        for step in (0, 5, 10)
    ] == pytest.approx([1.0, 0.6, 0.2])


def test_the_engine_measures_kl_to_its_start(random_policy):
    policy = random_policy()
    engine = LocalEngine(policy, OptimConfig(lr=1e-2), kl_rows=4)
    rows = [
        Row(r.prompt, r.tokens, r.advantage, r.group, sampler_logp=torch.zeros(len(r.tokens)))
        for r in make_rows()
    ]
    assert engine.update(rows, Objective())["kl_start"] == pytest.approx(0.0, abs=1e-6)
    assert engine.update(rows, Objective())["kl_start"] > 1e-4


def broken_row(field: str) -> Row:
    values = {"advantage": torch.ones(2), "old_logp": torch.zeros(2)}
    values[field] = torch.tensor([0.0, float("inf")])
    return Row((6, 7, 8), (9, 10), group="bad", **values)


@pytest.mark.parametrize("field", ["advantage", "old_logp"])
def test_what_is_not_finite_is_named_with_its_step_and_group(field, random_policy):
    fine = Row((6, 7, 8), (9, 10), torch.ones(2), "fine")
    with pytest.raises(TrainingError, match=f"`{field}` is not finite at optimiser step 0") as e:
        Learner(random_policy(), OptimConfig()).update([fine, broken_row(field)], Objective())
    assert "(groups bad)" in str(e.value)


def test_log_probabilities_of_broken_weights_are_named(random_policy):
    policy = random_policy()
    with torch.no_grad():
        policy.model.get_input_embeddings().weight[7, 0] = float("nan")
    with pytest.raises(TrainingError, match="`log-probabilities` is not finite"):
        Learner(policy, OptimConfig()).update(
            [Row((6, 7, 8), (9, 10), torch.ones(2), "a")], Objective()
        )


def test_a_loss_that_is_not_finite_is_skipped_and_counted(random_policy):
    policy = random_policy()
    learner = Learner(policy, OptimConfig(on_nonfinite="skip"))
    fine = Row((6, 7, 8), (9, 10), torch.ones(2), "fine")
    before = [p.clone() for p in policy.model.parameters()]
    stats = learner.update([fine, broken_row("advantage")], Objective())
    assert stats["skipped_steps"] == 1
    assert stats["loss"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True))
    assert all(p.grad is None for p in policy.model.parameters())
    stats = learner.update([fine], Objective())
    assert stats["skipped_steps"] == 0
    assert stats["trained_rows"] == 1
    assert not torch.equal(before[0], next(policy.model.parameters()))


def test_three_skipped_steps_in_a_row_stop_the_run(random_policy):
    learner = Learner(random_policy(), OptimConfig(on_nonfinite="skip"))
    fine = Row((6, 7, 8), (9, 10), torch.ones(2), "fine")
    for rows in ([broken_row("advantage")], [broken_row("advantage")], [fine]):
        learner.update(rows, Objective())
    learner.update([broken_row("advantage")], Objective())
    learner.update([broken_row("advantage")], Objective())
    with pytest.raises(TrainingError, match="3 optimiser steps in a row could not be taken"):
        learner.update([broken_row("advantage")], Objective())
