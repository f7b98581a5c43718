"""Micro-batches that halve themselves: the update is that of the smaller ones from the start."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_local_learner import make_rows
from watching import FULL

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local import learner as module
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.forward import log_probs
from sage_bench.methods.objective import Objective
from sage_bench.types import Score
from sage_bench.utils.errors import TrainingError


def device_of(tokens: int, seen: list[int]) -> Callable[..., object]:
    """`log_probs` of a device that holds so many padded tokens; seen: what it was asked for."""

    def limited(policy, pairs, **how):
        prompts = {p for p, _ in pairs}
        padded = len(prompts) * max(map(len, prompts)) + len(pairs) * max(len(c) for _, c in pairs)
        seen.append(padded)
        if padded > tokens:
            raise torch.OutOfMemoryError(FULL)
        return log_probs(policy, pairs, **how)

    return limited


def weights(policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_the_update_is_that_of_the_smaller_micro_batch_bit_for_bit(
    random_policy, monkeypatch, capsys
):
    small, large, rows = random_policy(), random_policy(), make_rows()
    settings = OptimConfig(lr=1e-2)
    before = Learner(small, settings, updates=2, micro_tokens=64).update(rows, Objective())
    monkeypatch.setattr(module, "log_probs", device_of(70, []))
    learner = Learner(large, settings, updates=2, micro_tokens=256)
    after = learner.update(rows, Objective())
    assert learner.budget.tokens == 64
    assert torch.equal(weights(small), weights(large))
    assert after.pop("out_of_memory") == 2
    assert after.pop("micro_tokens") == 64
    assert after == before
    assert "goes on with micro-batches of 64 tokens" in capsys.readouterr().err


def test_a_smaller_micro_batch_stays(random_policy, monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(module, "log_probs", device_of(70, seen))
    learner = Learner(random_policy(), OptimConfig(), micro_tokens=256)
    learner.update(make_rows(), Objective())
    seen.clear()
    stats = learner.update(make_rows(seed=1), Objective())
    assert max(seen) <= 70
    assert "out_of_memory" not in stats


def test_one_completion_that_does_not_fit_is_an_error_with_weights_untouched(
    random_policy, monkeypatch
):
    policy = random_policy()
    before = weights(policy)
    monkeypatch.setattr(module, "log_probs", device_of(5, []))
    with pytest.raises(TrainingError, match=r"a single completion does not fit .*allocate"):
        Learner(policy, OptimConfig(), micro_tokens=256).update(make_rows(), Objective())
    assert torch.equal(before, weights(policy))
    assert all(p.grad is None for p in policy.model.parameters())


def test_other_errors_are_not_taken_for_a_full_device(random_policy, monkeypatch):
    def broken(*args, **how):
        raise RuntimeError("an assertion on the device")

    monkeypatch.setattr(module, "log_probs", broken)
    with pytest.raises(RuntimeError, match="an assertion on the device"):
        Learner(random_policy(), OptimConfig()).update(make_rows(), Objective())


def test_a_run_goes_on_with_the_smaller_micro_batch(random_policy, monkeypatch, tmp_path):
    engine = LocalEngine(random_policy(), OptimConfig(), micro_tokens=256)
    monkeypatch.setattr(module, "log_probs", device_of(70, []))
    engine.update(make_rows(), Objective())
    engine.save(tmp_path)
    other = LocalEngine(random_policy(), OptimConfig(), micro_tokens=256)
    other.load(tmp_path)
    assert other.learner.budget.tokens == 64


def test_scores_are_cut_too(random_policy, monkeypatch):
    from sage_bench.engines.local import engine as place

    engine = LocalEngine(random_policy(), OptimConfig(), micro_tokens=256)
    asks = [Score(row.prompt, row.tokens) for row in make_rows()]
    whole = engine.run(list(asks))
    monkeypatch.setattr(place, "log_probs", device_of(70, []))
    cut = engine.run(list(asks))
    assert engine.learner.budget.tokens < 256
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, cut, strict=True))
