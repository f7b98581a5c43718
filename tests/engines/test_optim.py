"""The optimiser's ways to need less memory: gradients part by part, state on the host, 8 bits."""

from __future__ import annotations

import importlib.util
import weakref

import pytest
import torch

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local import moments, optim
from sage_bench.engines.local.optim import MasterAdamW
from sage_bench.utils.errors import SageBenchError, UsageError

SHAPES = [(30, 40), (7,), (300,), (80, 70), (3,)]
needs_8_bits = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def weights(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in SHAPES]


def take_steps(optimiser: MasterAdamW, first: int, count: int) -> list[float]:
    """Gradient norms of some steps with gradients that depend on the step alone."""
    norms = []
    for step in range(first, first + count):
        generator = torch.Generator().manual_seed(100 + step)
        for p in optimiser.model_parameters:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        norms.append(optimiser.step(1e-2)[0])
    return norms


def same(a: list[torch.nn.Parameter], b: list[torch.nn.Parameter]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offload", [False, True])
def test_parts_and_offload_change_no_digit(dtype, offload, monkeypatch):
    monkeypatch.setattr(optim.parts, "__defaults__", (700,))
    ours = weights(dtype)
    split = MasterAdamW(ours, OptimConfig(offload=offload))
    assert len(split.groups) > 2
    norms = take_steps(split, 0, 4)
    reference = [torch.nn.Parameter(p.detach().float()) for p in weights(dtype)]
    adam = torch.optim.AdamW(reference, lr=1e-2, weight_decay=0.01, eps=1e-8, foreach=True)
    for step in range(4):
        generator = torch.Generator().manual_seed(100 + step)
        for p in reference:
            p.grad = torch.randn(p.shape, generator=generator).to(dtype).float()
        assert float(torch.nn.utils.clip_grad_norm_(reference, 1.0)) == norms[step]
        adam.step()
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(ours, reference, strict=True))


def test_parameters_that_were_let_go_leave_the_memory():
    ours = weights()
    gone = weakref.ref(ours[0])
    optimiser = MasterAdamW(ours, OptimConfig(), {p: str(i) for i, p in enumerate(ours)})
    shards = weights()
    for group in optimiser.adam.param_groups:  # as accelerate replaces them
        group["params"] = [shards.pop(0) for _ in group["params"]]
    ours.clear()
    optimiser.let_go()
    assert gone() is None


def test_wide_gradients_exist_for_one_part_at_a_time(monkeypatch):
    monkeypatch.setattr(optim.parts, "__defaults__", (700,))
    ours = weights(torch.bfloat16)
    optimiser = MasterAdamW(ours, OptimConfig())
    held: list[int] = []
    real = optimiser._step_of

    def watched(masters: list[torch.nn.Parameter]) -> None:
        held.append(sum(m.numel() for m in optimiser.masters if m.grad is not None))
        real(masters)

    monkeypatch.setattr(optimiser, "_step_of", watched)
    take_steps(optimiser, 0, 1)
    assert held == [sum(m.numel() for m in part) for part in optimiser.groups]
    assert all(m.grad is None for m in [*optimiser.masters, *ours])


def test_offload_keeps_masters_apart_from_the_weights():
    ours = weights()
    optimiser = MasterAdamW(ours, OptimConfig(offload=True))
    assert not set(optimiser.masters) & set(ours)
    assert all(m.device.type == "cpu" for m in optimiser.masters)


@needs_8_bits
def test_moments_in_8_bits_are_an_eighth_and_learn_the_same_way():
    ours, exact = weights(), weights()
    eight = MasterAdamW(ours, OptimConfig(name="adamw8bit"))
    take_steps(eight, 0, 3)
    take_steps(MasterAdamW(exact, OptimConfig()), 0, 3)
    largest = eight.adam.state[ours[3]]  # small tensors keep 32 bits
    assert largest["state1"].dtype == torch.uint8
    # three steps of 1e-2 move a weight by 0.03 at most; 8 bits of the moments may change a tenth
    moved = torch.cat([(a - b).abs().flatten() for a, b in zip(ours, exact, strict=True)])
    assert moved.max() < 0.015
    assert moved.mean() < 0.001


@needs_8_bits
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_in_8_bits_go_on_bit_for_bit(dtype, offload, tmp_path):
    settings = OptimConfig(name="adamw8bit", offload=offload)
    straight = weights(dtype)
    first = MasterAdamW(straight, settings)
    take_steps(first, 0, 3)
    first.save(tmp_path / "optimizer.safetensors")
    resumed = [torch.nn.Parameter(p.detach().clone()) for p in straight]
    take_steps(first, 3, 3)
    second = MasterAdamW(resumed, settings)
    second.load(tmp_path / "optimizer.safetensors", 3)
    take_steps(second, 3, 3)
    assert same(straight, resumed)


@needs_8_bits
def test_state_of_another_optimiser_is_refused(tmp_path):
    first = MasterAdamW(weights(), OptimConfig())
    take_steps(first, 0, 1)
    first.save(tmp_path / "optimizer.safetensors")
    other = MasterAdamW(weights(), OptimConfig(name="adamw8bit"))
    with pytest.raises(SageBenchError, match=r"does not fit the model .*optim\.name"):
        other.load(tmp_path / "optimizer.safetensors", 1)


def test_a_missing_library_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr(moments, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"optim\.name: adamw8bit needs bitsandbytes.*Remedy"):
        MasterAdamW(weights(), OptimConfig(name="adamw8bit"))


@needs_8_bits
def test_paging_needs_a_gpu():
    with pytest.raises(UsageError, match=r"pages between a GPU.*optim\.name=adamw8bit"):
        MasterAdamW(weights(), OptimConfig(name="paged_adamw8bit"))


@needs_8_bits
def test_an_old_library_without_a_cpu_is_named(monkeypatch):
    monkeypatch.setattr(moments, "version", lambda name: "0.45.1")
    with pytest.raises(UsageError, match=r"0\.50 or newer"):
        MasterAdamW(weights(), OptimConfig(name="adamw8bit"))
