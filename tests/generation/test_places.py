"""Rows that end make room for requests that wait: what is drawn does not change, and fewer steps
are needed."""

from __future__ import annotations

import pytest
import torch
from conftest import ARCHITECTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from watching import full_beyond

from sage_bench.generation.local import decode, token_step
from sage_bench.generation.local.decode import Decoder
from sage_bench.generation.local.places import COLUMNS, Places
from sage_bench.generation.local.prefill import prefill
from sage_bench.generation.local.token_step import TokenStep, WholeModel
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError, UsageError

SYSTEM = tuple(range(40, 52))  # long enough to be run once for all


def requests(count: int, most: int = 40, shared: tuple[int, ...] = ()) -> list[Sample]:
    """Four samples of each prompt; prompts of 1 to 6 tokens."""
    prompts = [shared + tuple(range(5, 6 + i % 6)) + (i,) for i in range(8, 8 + count // 4)]
    return [
        Sample(p, 1, Sampling(1.0, 0.9, most), seed=100 * i + k)
        for i, p in enumerate(prompts)
        for k in range(4)
    ]


def that_ends(policy, share: float = 0.06):
    """A policy whose completions end at random, after some 1 / share tokens."""
    policy.eos_ids = frozenset(range(int(share * policy.model.config.vocab_size)))
    return policy


@pytest.fixture(scope="module")
def small_policy(random_policy):
    return random_policy(dtype=torch.float64)


def of_steps(monkeypatch) -> list[int]:
    """Rows of every token that is run."""
    steps: list[int] = []
    for kind in (TokenStep, WholeModel, Places):
        step = kind.hidden

        def seen(self, tokens, position, step=step):
            steps.append(len(tokens))
            return step(self, tokens, position)

        monkeypatch.setattr(kind, "hidden", seen)
    return steps


@pytest.mark.parametrize("shared", [(), SYSTEM], ids=["", "system"])
@pytest.mark.parametrize("kind", [TokenStep, WholeModel, Places])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_drawn_does_not_change(name, kind, shared, random_policy, monkeypatch):
    """In float64, where the shape of a batch does not reach the drawn token."""
    policy = that_ends(random_policy(name, dtype=torch.float64))
    monkeypatch.setattr(token_step, "applies", lambda policy: kind is TokenStep)
    asked = requests(48, shared=shared)
    together = Decoder(policy).draw(asked)
    steps = of_steps(monkeypatch)
    room = 10 * (len(shared) + 47)
    few = Decoder(policy, wave_tokens=room, cuda_graphs=kind is Places).draw(asked)
    assert max(steps) <= 10
    assert [c.tokens for c in few] == [c.tokens for c in together]
    assert [c.finish for c in few] == [c.finish for c in together]
    for a, b in zip(few, together, strict=True):
        assert torch.allclose(a.logp, b.logp, rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    fixed=st.booleans(),
    rows=st.integers(1, 12),
    most=st.integers(1, 30),
    share=st.floats(0.02, 0.5),
    count=st.integers(1, 40),
)
def test_whatever_ends_when(small_policy, fixed, rows, most, share, count):
    policy = that_ends(small_policy, share)
    asked = requests(4 * count, most)
    together = Decoder(policy).draw(asked)
    few = Decoder(policy, wave_tokens=rows * (most + 7), cuda_graphs=fixed).draw(asked)
    assert [c.tokens for c in few] == [c.tokens for c in together]


def test_places_are_taken_while_others_are_drawn(random_policy, monkeypatch):
    """Batches one after the other would each last until their longest completion."""
    policy = that_ends(random_policy())
    asked = requests(160, most=60)
    steps = of_steps(monkeypatch)
    lengths = [len(c.tokens) for c in Decoder(policy, wave_tokens=16 * 67).draw(asked)]
    in_order = Decoder(policy).queues(asked)[0]
    batches = [in_order[i : i + 16] for i in range(0, len(in_order), 16)]
    one_after_the_other = sum(max(lengths[i] for i in batch) for batch in batches)
    assert len(steps) < 0.75 * one_after_the_other
    # while requests wait, most places are taken
    assert sum(steps[: len(steps) // 2]) > 0.85 * 16 * (len(steps) // 2)


def test_a_row_has_the_room_its_own_prompt_leaves(random_policy):
    """Not what the longest prompt beside it leaves."""
    policy = random_policy()
    policy.eos_ids = frozenset({-1})
    long, short = (5,) * (policy.context - 10), (5, 6, 7)
    params = Sampling(1.0, 1.0, 20)
    cut, whole = Decoder(policy).draw([Sample(p, 1, params, seed=1) for p in (long, short)])
    assert (len(cut.tokens), cut.finish) == (10, "length")
    assert len(whole.tokens) == 20


def test_windows_of_keys_are_drawn_in_batches(random_policy, monkeypatch):
    """Where keys are forgotten rows cannot be lined up with others."""
    policy = that_ends(random_policy(dtype=torch.float64))
    asked = requests(32)
    joined = Decoder(policy, wave_tokens=6 * 47).draw(asked)
    policy.dense_masks = False
    monkeypatch.setattr(WholeModel, "join", None)
    alone = Decoder(policy, wave_tokens=6 * 47).draw(asked)
    assert [c.tokens for c in joined] == [c.tokens for c in alone]


# ---- the cache -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [TokenStep, lambda policy, start: WholeModel(policy, start, 40)])
@torch.inference_mode()
def test_the_cache_does_not_grow_with_what_has_left(kind, random_policy):
    """Columns of rows that are gone are forgotten: the cache is as wide as its oldest row."""
    policy = random_policy()
    body = kind(policy, prefill(policy, [(5, 6), (7, 8)]))
    position = torch.full((2, 1), 1)
    for _ in range(12):
        for _ in range(5):
            position = position + 1
            body.hidden(torch.tensor([9, 10]), position)
        body.drop(torch.tensor([1]))
        body.join(prefill(policy, [(5, 6)]))
        position = torch.stack([position[1], torch.tensor([1])])
    layer = body.own[0] if isinstance(body, TokenStep) else body.cache.layers[0]
    assert layer.keys.shape[-2] <= 2 + 5 + 5


# ---- what a GPU records --------------------------------------------------------------------------
class AsksTheDevice(TorchDispatchMode):
    """Refuses what needs an answer of the device, or gives a tensor of a size that hangs on data:
    neither can be recorded."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "equal", "unique", "masked_select"}
        assert not (
            name == "index" and any(x is not None and x.dtype == torch.bool for x in args[1])
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_a_step_of_fixed_places_can_be_recorded(name, random_policy):
    """The same tensors every time, and no question on the way. That CUDA records it is not tested
    here: there is no GPU."""
    policy = random_policy(name)
    body = Places(policy, prefill(policy, [(5, 6), (7, 8, 9), (5, 6)]), 20)

    def storage() -> list[int]:
        layers = [b.data_ptr() for layer in body.cache.layers for b in (layer.keys, layer.values)]
        return [*layers, *(x.data_ptr() for x in (body.tokens, body.position, body.shared.length))]

    before = storage()
    with AsksTheDevice():
        for _ in range(3):
            body._step()
    body.drop(torch.tensor([0, 2]))
    body.join(prefill(policy, [(30, 31, 32)]))
    body.hidden(torch.tensor([9, 9, 9]), torch.tensor([[5], [5], [3]]))
    assert storage() == before
    assert sorted(body.place.tolist()) == [0, 1, 2]


def test_long_prompts_get_more_columns(random_policy, monkeypatch):
    policy = that_ends(random_policy(dtype=torch.float64), 0.02)
    texts = [3, COLUMNS - 30, COLUMNS + 10, 2 * COLUMNS + 100]
    asked = [
        Sample((6,) * n + (7 + k,), 1, Sampling(1.0, 1.0, 60), seed=1000 * n + k)
        for n in texts
        for k in range(4)
    ]
    straight = Decoder(policy).draw(asked)
    widths: list[int] = []
    step = Places._step

    def seen(self):
        widths.append(self.shared.columns)
        return step(self)

    monkeypatch.setattr(Places, "_step", seen)
    decoder = Decoder(policy, wave_tokens=3 * (texts[-1] + 61), cuda_graphs=True)
    assert [c.tokens for c in decoder.draw(asked)] == [c.tokens for c in straight]
    assert set(widths) >= {COLUMNS, 2 * COLUMNS, 3 * COLUMNS}


def test_a_few_last_rows_give_the_other_places_up(random_policy):
    policy = random_policy()
    prompts = [(5, 6)] * 8
    with torch.inference_mode():
        fixed = Places(policy, prefill(policy, prompts), 20)
        other = WholeModel(policy, prefill(policy, prompts), 20)
        for body in (fixed, other):
            body.hidden(torch.arange(8) + 9, torch.full((8, 1), 2))
            body.drop(torch.tensor([2, 5]))
        assert len(fixed.tokens) == 2
        ours, theirs = (
            b.hidden(torch.tensor([7, 8]), torch.full((2, 1), 3)) for b in (fixed, other)
        )
    assert torch.allclose(ours, theirs, atol=1e-5)


@torch.inference_mode()
def test_columns_of_long_rows_are_not_read_when_they_have_left(random_policy):
    policy = random_policy()
    body = Places(policy, prefill(policy, [(5, 6), (7,) * (COLUMNS + 10), (8, 9)]), 20)
    position = torch.tensor([[2], [COLUMNS + 10], [2]])
    body.hidden(torch.tensor([9, 9, 9]), position)
    assert body.shared.columns == 2 * COLUMNS
    stay = torch.tensor([0, 2])
    body.drop(stay)
    body.hidden(torch.tensor([9, 9]), position[stay] + 1)
    assert body.shared.columns == COLUMNS


def test_windows_of_keys_have_no_places(random_policy):
    policy = random_policy()
    policy.dense_masks = False
    with pytest.raises(UsageError, match="forgets keys"):
        Decoder(policy, cuda_graphs=True).draw(requests(4))


def test_a_full_device_goes_on_with_half_of_the_rows(random_policy, monkeypatch, capsys):
    policy = that_ends(random_policy(dtype=torch.float64))
    asked = requests(40)
    straight = Decoder(policy).draw(asked)
    tried = full_beyond(monkeypatch, 12)
    halved = Decoder(policy).draw(asked)
    assert tried[:3] == [40, 20, 10]
    assert max(tried[2:]) <= 10
    assert [c.tokens for c in halved] == [c.tokens for c in straight]
    assert "40 completions are drawn in halves" in capsys.readouterr().err


def test_a_device_that_fills_up_later_keeps_what_was_drawn(random_policy, monkeypatch, capsys):
    policy = that_ends(random_policy(dtype=torch.float64))
    asked = requests(48)
    straight = Decoder(policy).draw(asked)
    real, calls = decode.prefill, []

    def third_time(policy, prompts):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise torch.OutOfMemoryError("full")
        return real(policy, prompts)

    monkeypatch.setattr(decode, "prefill", third_time)
    drawn = Decoder(policy, wave_tokens=16 * 47).draw(asked)
    assert [c.tokens for c in drawn] == [c.tokens for c in straight]
    assert "full: 17 completions are drawn in halves" in capsys.readouterr().err
    # what was begun and had not ended is begun again, nothing else
    assert sum(calls) <= 48 + 17


def test_one_completion_that_does_not_fit_is_an_error(random_policy, monkeypatch):
    full_beyond(monkeypatch, 0)
    with pytest.raises(SageBenchError, match="a single completion does not fit the device"):
        Decoder(random_policy()).draw(requests(8))
