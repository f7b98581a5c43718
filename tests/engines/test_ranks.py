"""What several processes agree on without talking: shares, schedules, merged state."""

from __future__ import annotations

import pytest
import torch

from sage_bench.engines.ranks import ALONE, Ranks, dealt_back
from sage_bench.engines.trl.packing import pack, schedule
from sage_bench.training.sharing import merged
from sage_bench.types import Row
from sage_bench.utils.errors import TrainingError


class Second(Ranks):
    rank, size = 1, 3


def rows_of(*lengths: tuple[int, ...]) -> list[Row]:
    """One group for each tuple of completion lengths, prompts of four tokens."""
    return [
        Row((1, 2, 3, 4), tuple(range(10, 10 + n)), torch.ones(n), f"g{i}")
        for i, group in enumerate(lengths)
        for n in group
    ]


def test_one_process_has_everything():
    assert ALONE.share("abcde") == list("abcde")
    assert ALONE.joined("abcde") == list("abcde")


def test_a_rank_takes_every_third_problem():
    assert Second().share("abcdefg") == ["b", "e"]


def test_parts_go_back_into_their_order():
    values = list(range(11))
    assert dealt_back([values[rank::4] for rank in range(4)]) == values


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_every_row_is_run_once(ranks, budget):
    rows = rows_of((3, 9), (1,), (5, 5, 5), (2, 8), (7,))
    planned = schedule(rows, ranks, budget)
    assert sorted(i for rank in planned for micro in rank for i in micro) == list(range(len(rows)))


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_ranks_make_the_same_number_of_forwards(ranks):
    planned = schedule(rows_of((3, 9), (1,), (5, 5, 5), (2, 8), (7,)), ranks, 30)
    assert len({len(rank) for rank in planned}) == 1


@pytest.mark.parametrize("budget", [1, 30, 10_000])
def test_a_group_stays_in_one_micro_batch(budget):
    rows = rows_of((3, 9), (1,), (5, 5, 5), (2, 8), (7,))
    places: dict[str, set] = {}
    for rank, micro_batches in enumerate(schedule(rows, 2, budget)):
        for number, micro in enumerate(micro_batches):
            for i in micro:
                places.setdefault(rows[i].group, set()).add((rank, number))
    assert {group: len(found) for group, found in places.items()} == dict.fromkeys(places, 1)


def test_a_batch_without_a_live_row_still_has_one_forward_a_rank():
    assert schedule([], 3, 100) == [[[]], [[]], [[]]]


def test_work_is_shared_by_length():
    rows = rows_of((90,), (30,), (30,), (30,))
    shares = schedule(rows, 2, 10_000)
    assert [sorted(i for micro in rank for i in micro) for rank in shares] == [[0], [1, 2, 3]]


def test_prompts_are_padded_on_the_left_and_completions_on_the_right():
    rows = [
        Row((1, 2, 3), (4,), torch.ones(1), "a"),
        Row((5,), (6, 7), torch.ones(2), "b"),
    ]
    batch = pack(rows, 0, torch.device("cpu"))
    assert batch["prompt_ids"].tolist() == [[1, 2, 3], [0, 0, 5]]
    assert batch["prompt_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["completion_ids"].tolist() == [[4, 0], [6, 7]]
    assert batch["completion_mask"].tolist() == [[1, 0], [1, 1]]


# ---- a method's state on several ranks ----------------------------------------------------------
def test_state_by_problem_is_brought_together():
    before = {"level": {"a": 0, "b": 0}}
    states = [{"level": {"a": 1, "b": 0}}, {"level": {"a": 0, "b": 2, "c": 0}}]
    assert merged(before, states) == {"level": {"a": 1, "b": 2, "c": 0}}


def test_counters_are_added_up_also_where_ranks_counted_alike():
    assert merged({"seen": 2}, [{"seen": 3}, {"seen": 3}]) == {"seen": 4}


def test_lists_hold_what_all_ranks_appended():
    assert merged({"log": ["x"]}, [{"log": ["x", "y"]}, {"log": ["x", "z"]}]) == {
        "log": ["x", "y", "z"]
    }


def test_what_one_rank_removed_is_gone():
    assert merged({"open": {"a": 1, "b": 2}}, [{"open": {"b": 2}}, {"open": {"a": 1, "b": 2}}]) == {
        "open": {"b": 2}
    }


def test_ranks_that_disagree_are_an_error_that_names_the_key():
    with pytest.raises(TrainingError, match="phase"):
        merged({"phase": {"name": "x"}}, [{"phase": {"name": "y"}}, {"phase": {"name": "z"}}])
