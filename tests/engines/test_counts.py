"""What a step computes, counted exactly: tokens, padding, products, bytes of the cache, rows of the
LM head. Times are for `python -m benchmarks`; these numbers cannot get worse unseen."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from conftest import ARCHITECTURES
from torch.utils._python_dispatch import TorchDispatchMode
from watching import watched

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local import decode, forward
from sage_bench.generation.local.decode import Decoder
from sage_bench.methods.objective import Objective
from sage_bench.types import Row, Sample, Sampling

# under inference_mode a linear layer and a product of matrices are seen as what they are
PRODUCTS = {"mm", "addmm", "addmm_", "bmm", "linear", "matmul"}
# three groups of two: (prompt, completions); the last group is dead
GROUPS = [
    (tuple(range(10, 15)), [(20, 21, 22), (23,)], 1.0),
    (tuple(range(30, 38)), [(40, 41), (42, 43, 44, 45)], -1.0),
    (tuple(range(50, 53)), [(60, 61), (62, 63)], 0.0),
]


class Products(TorchDispatchMode):
    """Counts matrix products by name."""

    def __init__(self):
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


def make_rows() -> list[Row]:
    return [
        Row(prompt, tokens, torch.full((len(tokens),), advantage), str(i))
        for i, (prompt, completions, advantage) in enumerate(GROUPS)
        for tokens in completions
    ]


# ---- the learner ---------------------------------------------------------------------------------
def test_a_gradient_runs_prompts_once_and_no_dead_row(random_policy, monkeypatch):
    policy = random_policy()
    body, head = watched(policy, monkeypatch)
    Learner(policy, OptimConfig()).gradient(make_rows(), Objective())
    # two prompts, as wide as the longer; four completions without their last token, as wide as the
    # longest: 16 + 12 positions for 13 + 6 tokens
    assert body == [2 * 8, 4 * 3]
    # the head sees the ten completion tokens of live groups, no padding and no prompt
    assert head == [3 + 1 + 2 + 4]


def test_without_either_saving_it_runs_more(random_policy, monkeypatch):
    policy = random_policy()
    body, head = watched(policy, monkeypatch)
    learner = Learner(policy, OptimConfig(), prompt_once=False, skip_dead=False)
    learner.gradient(make_rows(), Objective())
    assert body == [6 * (8 + 3)]
    assert head == [14]


def test_shorter_groups_share_a_micro_batch_so_that_little_is_padded(random_policy, monkeypatch):
    policy = random_policy()
    body, _ = watched(policy, monkeypatch)
    rows = []
    for i, length in enumerate((40, 4, 40, 4)):
        prompt = tuple(range(100 + 4 * i, 103 + 4 * i))
        rows += [Row(prompt, tuple(range(10, 10 + length)), torch.ones(length), str(i))] * 2
    Learner(policy, OptimConfig(), micro_tokens=2 * 3 + 4 * 40).gradient(rows, Objective())
    # the short groups together, then the long ones: no position of padding at all
    assert body == [2 * 3, 4 * 3, 2 * 3, 4 * 39]


def test_the_first_update_of_a_batch_runs_each_row_once(random_policy, monkeypatch):
    """The denominator of the ratio is the same forward where nothing moved in between; a later
    update needs one more, of its live rows."""
    policy = random_policy()
    body, _ = watched(policy, monkeypatch)
    Learner(policy, OptimConfig(lr=1e-3), updates=1).update(make_rows(), Objective())
    assert len(body) == 2
    body.clear()
    Learner(policy, OptimConfig(lr=1e-3), updates=3).update(make_rows(), Objective())
    first, second = [5, 2 * 2], [8, 2 * 3]
    assert sorted(body) == sorted(first + second + second)


def test_made_again_logits_are_two_forwards_of_the_head_and_one_of_the_body(
    random_policy, monkeypatch
):
    policy = random_policy()
    learner = Learner(policy, OptimConfig())

    def products() -> Counter[str]:
        with Products() as counted:
            learner.gradient(make_rows(), Objective())
        return counted.calls

    kept = products()
    monkeypatch.setattr(forward, "KEPT_LOGITS", 0)
    again = products()
    # one more for the logits; the gradient of the weights is added to where it goes
    assert again.total() - kept.total() == 1


# ---- the sampler ---------------------------------------------------------------------------------
def drawn(policy, rows: int, tokens: int) -> list:
    policy.eos_ids = frozenset({-1})
    prompts = [(5, 6, 7, 8), (9, 10)]
    asked = [Sample(prompts[i % 2], 1, Sampling(1.0, 1.0, tokens), seed=i) for i in range(rows)]
    return Decoder(policy).draw(asked)


def rows_of_steps(monkeypatch, steps: list[int]) -> None:
    """Write down the number of rows of every token that is run."""
    made = decode.body_of

    def counted(*args):
        body = made(*args)
        step = body.hidden

        def seen(tokens, position):
            steps.append(len(tokens))
            return step(tokens, position)

        body.hidden = seen
        return body

    monkeypatch.setattr(decode, "body_of", counted)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_token_takes_seven_products_a_layer_and_one_of_the_head(name, random_policy):
    policy = random_policy(name)
    layers = policy.model.config.num_hidden_layers

    def products(tokens: int) -> Counter[str]:
        with Products() as counted:
            drawn(policy, 6, tokens)
        return counted.calls

    more = products(9) - products(4)  # five tokens
    # queries, keys, values, output, gate, up, down; then the head
    assert more["linear"] == 5 * (7 * layers + 1)
    # scores and mixtures, of the prompt and of the completion
    assert more["matmul"] == 5 * 4 * layers
    assert more.total() == more["linear"] + more["matmul"]


def test_prompts_are_run_once_and_every_token_once(random_policy, monkeypatch):
    policy = random_policy()
    body, head = watched(policy, monkeypatch)
    steps: list[int] = []
    rows_of_steps(monkeypatch, steps)
    drawn(policy, 6, 5)
    assert body == [2 * 4]  # two prompts, padded to the longer
    assert steps == [6] * 4  # the last token is not run
    assert head == [2, 6, 6, 6, 6]  # the first logits of a prompt serve all its rows


def test_the_cache_holds_prompts_once_and_grows_by_a_token_a_row(random_policy, monkeypatch):
    policy = random_policy()
    bodies = []
    made = decode.body_of
    monkeypatch.setattr(
        decode, "body_of", lambda *args: (bodies.append(made(*args)), bodies[-1])[1]
    )
    drawn(policy, 6, 5)
    (body,) = bodies
    config = policy.model.config
    of_a_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    prompts = sum(part.numel() for pair in body.prompts for part in pair)
    own = sum(layer.keys.numel() + layer.values.numel() for layer in body.own)
    assert prompts == 2 * 4 * of_a_token
    assert own == 6 * 4 * of_a_token


def test_finished_rows_leave_the_cache(random_policy, monkeypatch):
    """Rows that end early are not run to the end of the longest."""
    policy = random_policy()
    steps: list[int] = []
    rows_of_steps(monkeypatch, steps)
    policy.eos_ids = frozenset(range(policy.model.config.vocab_size // 4))
    asked = [Sample((5, 6), 1, Sampling(1.0, 1.0, 200), seed=i) for i in range(64)]
    completions = Decoder(policy).draw(asked)
    needed = sum(len(c.tokens) - 1 for c in completions)
    # rows leave when a quarter of them has ended
    assert needed <= sum(steps) <= needed / (1 - decode.DROP_AT) + 64
    assert len(steps) == max(len(c.tokens) for c in completions) - 1
