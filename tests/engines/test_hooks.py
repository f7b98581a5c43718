"""What a method may bring to the engine and the update: requests of its own, weights, numbers, a
loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from scripted import context

from sage_bench.backends.grpo import GRPO
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.engine import LocalEngine
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.forward import log_probs
from sage_bench.methods.guard import MethodError
from sage_bench.methods.hooks import RowTokens, UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Consult, PolicyAccess, Request, Row, Score, Scored
from sage_bench.utils.errors import SageBenchError


def rows_of(lengths: Sequence[int] = (3, 5, 2, 4)) -> list[Row]:
    """Two groups of two rows whose old policy is not the present one."""
    g = torch.Generator().manual_seed(3)
    rows = []
    for i, n in enumerate(lengths):
        tokens = tuple(torch.randint(6, 200, (n,), generator=g).tolist())
        old = -torch.rand(n, generator=g, dtype=torch.float64) * 6
        advantage = torch.full((n,), 1.0 if i % 2 else -0.7)
        rows.append(Row((6, 7, 8 + i // 2), tokens, advantage, f"g{i // 2}", old_logp=old))
    return rows


# ---- a loss of its own ---------------------------------------------------------------------------
class GSPO(UpdateHooks):
    """Group sequence policy optimisation (arXiv 2507.18071 eqs. 5-7): one ratio a sequence,
    s = exp(mean_t(logp - old_logp)), clipped as a whole."""

    def token_loss(
        self, tokens: RowTokens, objective: Objective
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        parts = []
        logs = tokens.split(tokens.logp - tokens.old_logp)
        for log, advantage in zip(logs, tokens.split(tokens.advantage), strict=True):
            ratio = log.mean().exp()
            clipped = ratio.clamp(1 - objective.clip_low, 1 + objective.clip_high)
            parts.append(torch.maximum(-advantage * ratio, -advantage * clipped))
        loss = torch.cat(parts)
        return loss, {"pg_tokens": torch.tensor(float(len(loss)))}


WIDE = Objective(aggregation="seq-mean", clip_low=0.999, clip_high=1e9, dual_clip=None)


def sequence_loss(policy: Any, rows: list[Row]) -> float:
    """The mean over sequences of -A s, straight from its definition, in float64."""
    total = 0.0
    with torch.no_grad():
        for row in rows:
            logp, _ = log_probs(policy, [(row.prompt, row.tokens)], prompt_once=False)
            ratio = (logp - row.old_logp).mean().exp()
            total += float(-row.advantage[0] * ratio) / len(rows)
    return total


def test_a_loss_with_a_ratio_a_sequence_has_the_gradient_of_its_definition(random_policy):
    """Against finite differences along random directions of the weights."""
    policy, rows = random_policy(dtype=torch.float64), rows_of()
    policy.model.zero_grad()
    loss = Learner(policy, OptimConfig()).gradient(rows, WIDE, hooks=GSPO())
    assert loss == pytest.approx(sequence_loss(policy, rows), rel=1e-6)
    parameters = [p for p in policy.model.parameters() if p.grad is not None]
    g = torch.Generator().manual_seed(0)
    for _ in range(3):
        step = [torch.randn(p.shape, generator=g, dtype=p.dtype) for p in parameters]
        slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, step, strict=True))
        values = []
        for size in (1e-4, -1e-4):
            with torch.no_grad():
                for p, d in zip(parameters, step, strict=True):
                    p.add_(size * d)
            values.append(sequence_loss(policy, rows))
            with torch.no_grad():
                for p, d in zip(parameters, step, strict=True):
                    p.sub_(size * d)
        # norms and RoPE are float32 inside, which bounds how well differences can agree
        assert (values[0] - values[1]) / 2e-4 == pytest.approx(slope, rel=1e-3)


def test_a_loss_of_whole_rows_does_not_depend_on_micro_batches(random_policy):
    policy, found = random_policy(dtype=torch.float64), []
    for budget in (1, 10**6):
        learner = Learner(policy, OptimConfig(), micro_tokens=budget)
        found.append(learner.gradient(rows_of(), WIDE, hooks=GSPO()))
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_its_gradient_is_not_that_of_token_ratios(random_policy):
    policy, found = random_policy(dtype=torch.float64), []
    for hooks in (GSPO(), UpdateHooks()):
        policy.model.zero_grad()
        Learner(policy, OptimConfig()).gradient(rows_of(), WIDE, hooks=hooks)
        found.append(torch.cat([p.grad.flatten() for p in policy.model.parameters()]))
    assert (found[0] - found[1]).norm() > 0.01 * found[1].norm()


# ---- weights and numbers -------------------------------------------------------------------------
class Halved(UpdateHooks):
    """Halves the second group, whose ratios it asks for, and logs how long rows are."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def row_weights(self, rows, ratios, objective):
        chosen = [row for row in rows if row.group == "g1"]
        self.seen += ratios(chosen)
        return [0.5 if row.group == "g1" else 1.0 for row in rows]

    def row_metrics(self, rows, ratios, objective):
        return {"tokens_of_a_row": [float(len(ratio)) for ratio in ratios]}


def gradient(policy: Any, rows: list[Row], hooks: UpdateHooks) -> torch.Tensor:
    policy.model.zero_grad()
    Learner(policy, OptimConfig()).gradient(rows, Objective(), hooks=hooks)
    return torch.cat([p.grad.flatten() for p in policy.model.parameters()])


def test_weights_scale_the_loss_of_their_rows_and_nothing_else(random_policy):
    policy, rows = random_policy(dtype=torch.float64), rows_of()
    silent = [
        Row(r.prompt, r.tokens, r.advantage * (r.group == "g0"), r.group, old_logp=r.old_logp)
        for r in rows
    ]
    plain = gradient(policy, rows, UpdateHooks())
    first = gradient(policy, silent, UpdateHooks())
    halved = gradient(policy, rows, Halved())
    assert torch.allclose(halved, first + (plain - first) / 2, rtol=1e-9, atol=1e-15)


def test_ratios_are_those_to_the_old_policy_and_one_where_there_is_none(random_policy):
    policy, rows, hooks = random_policy(dtype=torch.float64), rows_of(), Halved()
    rows[3] = Row(rows[3].prompt, rows[3].tokens, rows[3].advantage, "g1")
    gradient(policy, rows, hooks)
    with torch.no_grad():
        logp, _ = log_probs(policy, [(rows[2].prompt, rows[2].tokens)])
    assert torch.allclose(hooks.seen[0], (logp - rows[2].old_logp).exp(), rtol=1e-6)
    assert torch.equal(hooks.seen[1], torch.ones(4, dtype=torch.float64))


def test_numbers_of_a_method_are_logged_as_means(random_policy):
    learner = Learner(random_policy(), OptimConfig(), updates=2, micro_tokens=1)
    stats = learner.update(rows_of(), Objective(), Halved())
    assert stats["tokens_of_a_row"] == (3 + 5 + 2 + 4) / 4


def test_no_hooks_cost_no_forward(random_policy, monkeypatch):
    seen: list[int] = []
    real = log_probs

    def counted(policy, pairs, **how):
        seen.append(len(pairs))
        return real(policy, pairs, **how)

    monkeypatch.setattr("sage_bench.engines.local.learner.log_probs", counted)
    Learner(random_policy(), OptimConfig()).update(rows_of(), Objective(), UpdateHooks())
    assert seen == [4]


def test_a_wrong_number_of_weights_is_an_error(random_policy):
    class Short(UpdateHooks):
        def row_weights(self, rows, ratios, objective):
            return [1.0]

    with pytest.raises(SageBenchError, match="gave 1 weights for 4 rows"):
        Learner(random_policy(), OptimConfig()).gradient(rows_of(), Objective(), hooks=Short())


# ---- requests ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Surprise(Request):
    """The least log-probability of some tokens, and who was answered together with it."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    key: tuple[str | int, ...] = ()

    @property
    def width(self) -> int:
        return len(self.prompt) + len(self.tokens)

    @classmethod
    def answer(cls, access: PolicyAccess, requests: Sequence[Surprise]) -> list[Any]:
        with torch.no_grad():
            logp, _ = log_probs(access.policy, [(r.prompt, r.tokens) for r in requests])
        least = [float(p.min()) for p in logp.split([len(r.tokens) for r in requests])]
        return [(value, len(requests), access.seed) for value in least]


def test_a_request_of_a_methods_own_is_answered_by_its_own_code(random_policy):
    engine = LocalEngine(random_policy(), OptimConfig(), seed=7)
    asks = [Surprise((6, 7), (8, 9)), Score((6, 7), (8, 9)), Surprise((6, 7, 8), (9,))]
    first, scored, second = engine.run(list(asks))
    assert first[0] == pytest.approx(float(scored.min()), abs=1e-5)
    assert first[1:] == (2, 7)
    assert second[1:] == (2, 7)


def test_requests_are_packed_by_the_token_budget(random_policy):
    engine = LocalEngine(random_policy(), OptimConfig(), micro_tokens=9)
    answers = engine.run([Surprise((6, 7), (8, 9)) for _ in range(5)])
    assert [together for _, together, _ in answers] == [2, 2, 2, 2, 1]


def test_a_request_without_an_answer_is_named(random_policy):
    class Silent(Request):
        """Says nothing."""

    with pytest.raises(MethodError, match="`Silent`, `answer`: no engine knows how to answer"):
        LocalEngine(random_policy(), OptimConfig()).run([Silent()])


def test_a_consult_is_not_for_the_engine(random_policy):
    with pytest.raises(NotImplementedError, match="for its service"):
        LocalEngine(random_policy(), OptimConfig()).run([Consult(None, "x")])


def test_a_key_is_filled_in_where_there_is_one():
    assert Surprise((1,), (2,)).stamped((0, "p", 3)).key == (0, "p", 3)
    score = Score((1,), (2,))
    assert score.stamped((0, "p", 3)) is score


def test_entropies_come_with_the_log_probabilities_when_asked_for(random_policy):
    policy = random_policy(dtype=torch.float64)
    engine = LocalEngine(policy, OptimConfig())
    prompt, tokens = (6, 7, 8), (9, 10, 11)
    plain, both = engine.run([Score(prompt, tokens), Score(prompt, tokens, entropy=True)])
    logits = policy.model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    logp = logits.double().log_softmax(-1)
    assert isinstance(both, Scored)
    assert torch.equal(plain, both.logp)
    assert both.entropy.shape == (3,)
    assert torch.allclose(both.entropy, -(logp.exp() * logp).sum(-1), atol=1e-5)


# ---- a method has them all -----------------------------------------------------------------------
def test_the_hooks_of_a_method_do_nothing_unless_it_says_so(renderer, random_policy):
    method = GRPO(context(renderer))
    rows = rows_of()
    assert method.row_weights(rows, lambda chosen: [], Objective()) is None
    policy = random_policy(dtype=torch.float64)
    same = gradient(policy, rows, method)
    assert torch.equal(same, gradient(policy, rows, UpdateHooks()))
