"""Several processes and one server of rollouts: here threads, and our decoder on a copy of the
model. Real processes and a real vLLM server run in tests/generation/test_vllm_ranks.py."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from copy_engine import CopyEngine

from sage_bench.engines.ranks import Ranks
from sage_bench.engines.rollouts.shared import SharedRollouts
from sage_bench.generation.live.engines import EngineLostError
from sage_bench.generation.local.forward import score
from sage_bench.generation.local.policy import load_policy
from sage_bench.generation.samplers.hf import Hf
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError

SIZE = 3


class ThreadRanks(Ranks):
    """Ranks that are threads of one process."""

    def __init__(self, rank: int, meeting: threading.Barrier, board: list):
        super().__init__()
        self.rank, self.size = rank, SIZE
        self.meeting, self.board = meeting, board

    def gather(self, value):
        self.board[self.rank] = value
        self.meeting.wait(20)
        found = list(self.board)
        self.meeting.wait(20)
        return found


class Server(CopyEngine):
    """One for all: asked by one thread at a time. `follow` is what a `VllmServer` has."""

    def __init__(self, policy, **what):
        super().__init__(policy, **what)
        self.lock = threading.Lock()
        self.followed: list[str] = []

    def draw(self, units):
        with self.lock:
            return super().draw(units)

    def take(self, weights, version):
        with self.lock:
            super().take(weights, version)

    def follow(self, version):
        self.followed.append(version)


@pytest.fixture
def policy(packaged):
    return load_policy(packaged)


def ask(rank: int, number: int) -> Sample:
    return Sample((8 + rank, 9, 10 + number), 1, Sampling(1.0, 1.0, 6), seed=10 * rank + number)


def together(policy, server, rounds: int, change=lambda number: None) -> list[list]:
    """What each rank draws in some rounds; the last one has nothing to ask in odd rounds."""
    meeting, board = threading.Barrier(SIZE), [None] * SIZE
    own = Hf.of(policy)

    def work(rank: int) -> list:
        def push():
            return policy.model.named_parameters()

        def judged(pairs, temperature):
            with server.lock:
                return score(policy, pairs, temperature)

        ranks = ThreadRanks(rank, meeting, board)
        sampler = SharedRollouts(
            server, own.renderer, weights=push, score=judged, max_gap=1e-3, ranks=ranks
        )
        drawn = []
        for number in range(rounds):
            if ranks.first:
                change(number)
            meeting.wait(20)
            if number % 2 == 0:  # an update every second round
                sampler.weights_changed()
            asks = [] if rank == SIZE - 1 and number % 2 else [ask(rank, number)]
            drawn.append(sampler.round(lambda asks=asks: sampler.complete(asks)))
        drawn.append(sampler.measured())
        return drawn

    with ThreadPoolExecutor(SIZE) as pool:
        return list(pool.map(work, range(SIZE)))


def tokens(found: list[list]) -> list:
    return [[[c.tokens for c in drawn] for drawn in rank[:-1]] for rank in found]


def test_one_rank_pushes_once_an_update_and_all_draw_from_it(policy):
    server = Server(policy)

    def change(number: int) -> None:
        with torch.no_grad():
            policy.model.lm_head.weight.add_(0.01 * (number % 2 == 0))

    found = together(policy, server, 4, change)
    assert server.count()["take"] == 2
    assert len(server.followed) == 2 * (SIZE - 1)
    assert len(set(server.followed)) == 2, "all ranks name versions alike"
    numbers = [rank[-1] for rank in found]
    assert all(n["weight_syncs"] == 2 for n in numbers)
    # each rank compared the server's log-probabilities with its own after a push
    assert all(0 <= n["probe_gap"] < 1e-5 for n in numbers)


@pytest.mark.parametrize("dies", [[1], [4], [2, 5]])
def test_a_server_lost_to_one_rank_gets_the_weights_again_and_all_draw_anew(policy, dies):
    straight = tokens(together(policy, Server(policy), 3))
    server = Server(policy, dies=dies)
    found = together(policy, server, 3)
    assert tokens(found) == straight
    assert server.count()["restart"] == SIZE * len(dies)
    assert {rank[-1]["sampler_restarts"] for rank in found} == {len(dies)}


def test_a_server_that_keeps_dying_ends_all_ranks(policy):
    with pytest.raises(EngineLostError):
        together(policy, Server(policy, dies=range(1, 99)), 1)


def test_nobody_draws_outside_of_a_round(policy):
    meeting, board = threading.Barrier(1), [None] * SIZE
    ranks = ThreadRanks(0, meeting, board)
    sampler = SharedRollouts(
        Server(policy), Hf.of(policy).renderer, weights=list, score=list, ranks=ranks
    )
    with pytest.raises(SageBenchError, match="belong to a round"):
        sampler.complete([ask(0, 0)])
