"""Engine trl on a device that is full: micro-batches halve themselves as on the local engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from small_runs import build
from watching import FULL

from sage_bench.engines.base import RolloutBatch
from sage_bench.engines.local.budget import TokenBudget
from sage_bench.engines.local.learner import PLAIN
from sage_bench.engines.ranks import Ranks
from sage_bench.engines.trl.packing import in_parts, schedule
from sage_bench.methods.objective import Objective
from sage_bench.types import Row
from sage_bench.utils.errors import TrainingError

WORDS = ("engine.name=trl", "train.steps=20", "train.updates_per_step=1", "optim.lr=1e-3")


def groups(count: int = 6) -> list[Row]:
    """Groups of three rows of at most ten tokens: 30 padded ones each."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(count):
        for length in (5, 3, 7):
            tokens = tuple(torch.randint(6, 50, (length,), generator=generator).tolist())
            advantage = torch.full((length,), 1.0 - 0.3 * number)
            rows.append(Row((7, 8, 9), tokens, advantage, f"g{number}"))
    return rows


# ---- what is agreed on, without a device ---------------------------------------------------------
class Two(Ranks):
    """This rank and another one, whose words are given. rank: this one's number."""

    size = 2

    def __init__(self, rank: int, *others: object):
        super().__init__()
        self.rank, self.others = rank, list(others)

    def gather(self, value):
        both = [value, self.others.pop(0)]
        return both if self.rank == 0 else both[::-1]


def test_a_rank_with_room_begins_anew_where_another_is_full(capsys):
    budget, begun, undone = TokenBudget(64), [], []
    ranks = Two(0, (FULL, True), ("", True))
    budget.run(
        lambda: begun.append(budget.tokens),
        undo=lambda: undone.append(True),
        smaller_helps=lambda: True,
        ranks=ranks,
    )
    assert begun == [64, 32]
    assert undone == [True]
    assert "rank 1: CUDA out of memory" in capsys.readouterr().err


def test_only_the_first_rank_warns(capsys):
    budget = TokenBudget(64)
    ranks = Two(1, (FULL, True), ("", True))
    budget.run(lambda: None, undo=lambda: None, smaller_helps=lambda: True, ranks=ranks)
    assert budget.tokens == 32
    assert capsys.readouterr().err == ""


def test_all_ranks_stop_where_one_row_does_not_fit_on_one_of_them():
    ranks = Two(0, (FULL, False))
    with pytest.raises(TrainingError, match=r"a single completion does not fit .*rank 1"):
        TokenBudget(64).run(
            lambda: None, undo=lambda: None, smaller_helps=lambda: True, ranks=ranks
        )


def test_the_smallest_budget_of_all_ranks_is_taken_and_counted():
    budget = TokenBudget(64)
    budget.agree(Two(0, 16))
    assert budget.tokens == 16
    assert budget.new_halvings() == 1


def test_groups_beyond_the_budget_go_in_parts():
    rows = groups(1)
    assert [[len(row.tokens) for row in part] for part in in_parts(rows, 20)] == [[5, 3], [7]]


@pytest.mark.parametrize("budget", [1, 20, 35, 10_000])
def test_cut_micro_batches_stay_within_the_budget(budget):
    rows = groups()
    for rank in schedule(rows, 2, budget, cut=True):
        for micro in rank:
            longest = max((3 + len(rows[i].tokens) for i in micro), default=0)
            assert len(micro) <= 1 or len(micro) * longest <= budget


@pytest.mark.parametrize("budget", [1, 20, 35])
def test_cut_groups_stay_on_one_rank(budget):
    rows = groups()
    found: dict[str, set[int]] = {}
    for rank, micro_batches in enumerate(schedule(rows, 2, budget, cut=True)):
        for i in (i for micro in micro_batches for i in micro):
            found.setdefault(rows[i].group, set()).add(rank)
    assert {len(ranks) for ranks in found.values()} == {1}


# ---- one process ---------------------------------------------------------------------------------
@pytest.fixture
def needs_trl():
    pytest.importorskip("trl", reason="the extra `trl` is not installed")


def engine_of(folder, *words: str):
    return build(folder, *WORDS, *words).engine


def updated(engine) -> tuple[torch.Tensor, dict]:
    """The weights after one update, and what the engine says of it."""
    stats = []

    def program():
        stats.append((yield RolloutBatch(groups(), Objective(), PLAIN)))

    engine.follow(program())
    parameters = engine.policy.model.parameters()
    return torch.cat([p.detach().flatten() for p in parameters]), stats[0]


def limit(engine, room: int) -> None:
    """A device that holds so many padded tokens."""
    forward = engine.learner.forward

    def limited(rows, entropy_gradient):
        if len(rows) * max(len(row.prompt) + len(row.tokens) for row in rows) > room:
            raise torch.OutOfMemoryError(FULL)
        return forward(rows, entropy_gradient)

    engine.learner.forward = limited


@pytest.fixture(scope="module")
def smaller(tmp_path_factory):
    """Weights and numbers of an update in micro-batches of 64 tokens from the start."""
    pytest.importorskip("trl", reason="the extra `trl` is not installed")
    folder = tmp_path_factory.mktemp("smaller")
    return updated(engine_of(folder, "engine.micro_tokens=64"))


@pytest.mark.slow
def test_the_update_is_that_of_the_smaller_micro_batch_bit_for_bit(smaller, tmp_path, capsys):
    engine = engine_of(tmp_path, "engine.micro_tokens=256")
    limit(engine, 70)
    weights, stats = updated(engine)
    assert torch.equal(weights, smaller[0])
    assert stats.pop("out_of_memory") == 2
    assert stats.pop("micro_tokens") == 64
    assert stats == smaller[1]
    assert "goes on with micro-batches of 64 tokens" in capsys.readouterr().err


@pytest.mark.slow
def test_also_where_the_backward_is_what_does_not_fit(smaller, tmp_path, monkeypatch):
    engine = engine_of(tmp_path, "engine.micro_tokens=128")
    accelerator, calls = engine.trainer.accelerator, []
    backward = accelerator.backward

    def second_fails(loss, **how):
        backward(loss, **how)
        calls.append(loss)
        if len(calls) == 2:  # with its gradients half added up
            raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(accelerator, "backward", second_fails)
    weights, stats = updated(engine)
    assert stats["out_of_memory"] == 1
    assert torch.equal(weights, smaller[0])


@pytest.mark.slow
def test_a_group_that_does_not_fit_is_cut(smaller, tmp_path):
    engine = engine_of(tmp_path, "engine.micro_tokens=64")
    limit(engine, 12)
    weights, stats = updated(engine)
    assert stats["micro_tokens"] < 30
    assert (weights - smaller[0]).norm() / smaller[0].norm() < 1e-6


@pytest.mark.slow
def test_one_completion_that_does_not_fit_is_an_error_with_weights_untouched(tmp_path):
    engine = engine_of(tmp_path)
    before = [p.detach().clone() for p in engine.policy.model.parameters()]
    limit(engine, 5)
    with pytest.raises(TrainingError, match=r"a single completion does not fit .*allocate"):
        updated(engine)
    after = engine.policy.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_sharded_weights_name_the_key_to_lower(tmp_path):
    engine = engine_of(tmp_path, "engine.micro_tokens=256")
    engine.learner.sharded = True
    limit(engine, 12)
    with pytest.raises(TrainingError, match=r"rank 0 is out of memory .*cannot begin anew") as met:
        updated(engine)
    assert met.value.where == "engine.micro_tokens=256"
    assert "engine.micro_tokens=128" in met.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("key", ["optim.name", "optim.offload"])
def test_sharded_weights_refuse_an_optimiser_that_cannot_be_spread(key, needs_trl):
    from sage_bench.engines.trl.engine import check_sharded
    from sage_bench.utils.errors import UsageError

    chosen = {"optim.name": ("adamw8bit", False), "optim.offload": ("adamw", True)}[key]
    with pytest.raises(UsageError, match="FSDP2 spreads the state") as met:
        check_sharded(SimpleNamespace(name=chosen[0], offload=chosen[1]), "FSDP2")
    assert met.value.where == key
