"""OAR against recorded values: outcomes, importance, bi-level weights, the loss, and both
estimators on a linear causal toy."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from scripted import EqualText, problem
from toy import ToyPolicy
from vectors import Given, close, consumes, tensor

from sage_bench.backends.oar import OARG, saliency
from sage_bench.backends.oar.saliency import (
    Saliency,
    change,
    gradient_saliency,
    perturbation_saliency,
    reading,
)
from sage_bench.backends.oar.weights import effective_share, token_weights
from sage_bench.methods.base import Context
from sage_bench.methods.driver import collect
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Completion, Sample, Sampling


@consumes("oar.O1_importance_last_KL", prose=["formula"])
def test_importance_of_the_first_answer_token(v, given):
    base, masked = (
        reading(tensor(z)[..., None, :], torch.tensor([0]), "last")
        for z in (v["z_base"], v["z_masked"])
    )
    close(change(base, masked, "last"), v["I"])


@consumes("oar.O2_importance_answer_mean_KL", prose=["formula"])
def test_importance_of_the_mean_of_the_answers_logits(v, given):
    base, masked = (
        reading(tensor(z), torch.tensor([0, 2]), "answer_mean")
        for z in (v["z_base"], v["z_masked"])
    )
    close(base, tensor(v["z_bar_base"]).log_softmax(-1))  # logits are averaged, not probabilities
    close(change(base, masked, "answer_mean"), v["I"])


@consumes("oar.O3_importance_answer_joint", prose=["formula"])
def test_importance_for_the_answers_log_probability(v, given):
    base, masked = (
        reading(tensor(z), torch.tensor(v["answer_ids"]), "answer_joint")
        for z in (v["z_base"], v["z_masked"])
    )
    close(base, v["phi_base"])
    close(change(base, masked, "answer_joint"), v["I"])


def scaled(importance: torch.Tensor) -> torch.Tensor:
    """Min-max-scaled log1p importance, read off our own weights: with quantile 0 they are 1 +
    scaled / (1 + 1e-8)."""
    return (token_weights(importance, quantile=0.0, boost=1.0, preserve=False) - 1) * (1 + 1e-8)


def threshold(importance: torch.Tensor, quantile: float) -> float:
    """The quantile, read off our own weights without floor: w = n / (cut + 1e-8) below it, 1 + (n -
    cut) / (1 - cut) above."""
    n, w = (
        scaled(importance),
        token_weights(importance, quantile=quantile, boost=1.0, floor=0.0, preserve=False),
    )
    below, above = (n > 0) & (w < 1 - 1e-6), (w > 1 + 1e-6) & (n < 1)
    if bool(below.any()):
        return float((n / w)[below][0])
    return float(((n - w + 1) / (2 - w))[above][0])


# inert: the constants where all tokens weigh alike, the boost where nothing is boosted
# Where the authors' log1p takes a negative importance, ours counts it as 0 (at -1 theirs is
# undefined); shifted logs give the same weights
@consumes(
    "oar.O4_bilevel_reshape",
    prose=["formula", "cases.*.name"],
    inert=["cases.3.q", "cases.3.beta", "cases.3.sum_to_L", "cases.7.beta"],
)
def test_bilevel_weights(v, given):
    for case in v["cases"]:
        given_scores, logs = tensor(case["scores"]), tensor(case["log1p"])
        close(given_scores.log1p(), logs)
        if bool((given_scores < 0).any()):
            close(token_weights(given_scores), token_weights(given_scores.clamp(min=0)))
            scores = (logs - logs.min()).expm1()
        else:
            scores = given_scores
        how = {"quantile": case["q"], "boost": case["beta"]}
        close(
            token_weights(scores, **how, preserve=case["sum_to_L"]), case["w"], atol=1e-8
        )  # theirs lose 1e-8 of the mass, ours nothing
        close(token_weights(scores, **how, preserve=False), case["w_raw"])
        close(effective_share(tensor(case["w"])), case["ess_ratio"])
        if case["name"] == "constant":
            assert len(set(case["scores"])) == 1
            assert case["norm"] == [0.0] * 4
            assert case["threshold"] == 0
            continue
        close(scaled(scores), case["norm"], atol=1e-7)
        close(threshold(scores, case["q"]), case["threshold"], atol=1e-7)


TEXT = {1: "a ", 2: "b ", 3: "c ", 4: "d ", 5: r"\boxed{", 6: "42}", 7: r"\boxed{7}", 8: "no"}


class Words:
    """A tokenizer of nine words."""

    def decode(self, ids, skip_special_tokens=True):
        return "".join(TEXT[i] for i in ids)


class Contains(EqualText):
    def grade(self, gold, texts):
        return super().grade(gold, [gold if gold in t else t for t in texts])


class Answers:
    """Engine with three completions, two of them with an answer, and one importance for every
    span."""

    def __init__(self, importance):
        self.importance, self.spans = importance, []

    def any(self, flag):
        return flag

    def run(self, asks):
        return [self.answer(a) for a in asks]

    def answer(self, ask):
        if isinstance(ask, Sample):
            return [
                Completion(t, torch.zeros(len(t)), "stop")
                for t in ((1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 7), (8,))
            ]
        assert isinstance(ask, Saliency)
        self.spans.append((ask.tokens, ask.bridge, ask.target))
        return torch.tensor(self.importance)


def reshaped(
    given: Given, adv: list[float], importance: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token advantages of OAR-G on two responses (6 and 5 tokens), and the same without weights;
    (2, 6) each, padded with nothing."""
    renderer = mock.Mock(tokenizer=Words(), answer=lambda *a, **k: (9,))
    method = OARG(Context(renderer, Contains(), Sampling(1.0, 1.0, 8)), group_size=3, use_std=False)
    engine = Answers(importance)
    (item,) = collect(method, [problem()], engine)
    assert engine.spans == [((1, 2, 3, 4), (5,), (6,)), ((1, 2, 3, 4), (), (7,))]
    item.group.scores = tensor(
        [*adv, -sum(adv)]
    )  # their mean is 0, so the advantages of the first two are as recorded
    rows = method.credit(item.group)
    item.group.notes.pop("weights")
    plain = method.credit(item.group)
    return tuple(
        torch.stack([torch.cat([r.advantage, r.advantage[-1:]])[:6] for r in some[:2]])
        for some in (rows, plain)
    )


# inert: ratios that are clipped (a little more would be, too), and the one of a padded token
@consumes("oar.O5_loss", prose=["formula"], inert=["ratio.0.1", "ratio.1.2", "ratio.1.5"])
def test_loss_of_reshaped_advantages(v, given):
    weights = torch.cat([tensor(v["w_reasoning"]), torch.ones(2)])
    close(weights, v["w_full"])
    token, plain = given.once(
        reshaped, v["adv"], given.groups["oar.O4_bilevel_reshape"]["cases"][0]["scores"]
    )
    close(token, v["adv_token"], atol=1e-6)
    close(token / plain, [v["w_full"]] * 2, atol=1e-6)
    assert {m for row in v["mask"] for m in row} == {0, 1}
    mask, ratio = torch.tensor(v["mask"]).bool(), tensor(v["ratio"])
    objective = Objective(clip_low=v["eps"], clip_high=v["eps"], dual_clip=None)
    per_token = row_weights(mask.sum(1).tolist(), "seq-mean").repeat_interleave(mask.sum(1))
    for advantage, want in ((token, v["loss"]), (plain, v["loss_uniform"])):
        loss, _ = token_loss(
            ratio[mask].log(),
            torch.zeros(int(mask.sum())),
            advantage.double()[mask],
            torch.zeros(int(mask.sum())).long(),
            objective,
        )
        close((per_token * loss).sum(), want, atol=1e-6)
    close([float(token[0, :4].sum()), 4 * v["adv"][0]], v["mass_check_row0"], atol=1e-6)


def toy(v: dict, pad: list[float] | None = None) -> tuple[ToyPolicy, dict[str, tuple[int, ...]]]:
    """The toy and its token ids. The answer's ids are those of the head's rows; where the answer is
    read as input they carry the answer's embeddings."""
    n = v["segments"]
    assert sum(n.values()) == len(v["E"]) == len(v["c"])
    ends, parts = 0, {}
    for name, size in n.items():
        parts[name] = tuple(range(10 + ends, 10 + ends + size))
        ends += size
    table = torch.zeros(20, 2, dtype=torch.float64)
    table[10:18] = tensor(v["E"])
    for own, place in zip(v["answer_joint"]["answer_ids"], parts["answer"], strict=True):
        table[own] = table[place]
    if pad is not None:
        table[19] = tensor(pad)
    return ToyPolicy(table, tensor(v["c"]), tensor(v["W"])), parts


def ask(v: dict, parts: dict[str, tuple[int, ...]], outcome: str) -> Saliency:
    """As the authors' code: `last` is read after the answer, the other two where the answer is
    predicted."""
    bridge, target = (
        (parts["conclude"] + parts["answer"], (0,))
        if outcome == "last"
        else (parts["conclude"], tuple(v["answer_joint"]["answer_ids"]))
    )
    return Saliency(
        parts["before"], parts["reasoning"], bridge, target, "gradient", outcome, noise=1.0
    )


@consumes("oar.O6_gradient_proxy", prose=["formula", "toy_model", "note"])
def test_gradient_estimator(v, given):
    policy, parts = toy(v)
    for outcome in ("last", "answer_mean", "answer_joint"):
        want, request, seen = v[outcome], ask(v, parts, outcome), {}

        def changing(clean, noisy, how, seen=seen):
            seen.update(clean=clean, noisy=noisy.detach(), J=change(clean, noisy, how))
            return seen["J"]

        def gradients(outputs, inputs, seen=seen, real=torch.autograd.grad):
            seen["grads"] = real(outputs, inputs)
            return seen["grads"]

        with (
            mock.patch.object(saliency.torch, "randn", return_value=tensor(v["noise"])),
            mock.patch.object(saliency, "change", changing),
            mock.patch.object(saliency.torch.autograd, "grad", gradients),
        ):
            (found,) = gradient_saliency(policy, [request], seed=0)
        close(found, want["saliency"], atol=1e-7)
        close(seen["J"].item(), want["J"])
        close(seen["grads"][0][0, :4], want["grads"])
        if outcome != "answer_joint":
            close(seen["clean"].exp(), want["p0"])
            close(seen["noisy"].exp(), want["q_noisy"])


@pytest.mark.parametrize("outcome", ["last", "answer_mean"])
def test_without_noise_the_divergences_have_no_gradient(outcome, given):
    v = given.groups["oar.O6_gradient_proxy"]
    policy, parts = toy(v)
    with mock.patch.object(saliency.torch, "randn", return_value=torch.zeros(4, 2)):
        (found,) = gradient_saliency(policy, [ask(v, parts, outcome)], seed=0)
    assert found.max() < 1e-15


def perturbed(given: Given, pad: list[float]) -> list[float]:
    v = given.groups["oar.O6_gradient_proxy"]
    policy, parts = toy(v, pad)
    return perturbation_saliency(
        policy,
        Saliency(
            parts["before"], parts["reasoning"], parts["conclude"], (0,), "perturb", "last", mask=19
        ),
    ).tolist()


@consumes("oar.O7_oarp_toy_last", prose=["seq"])
def test_perturbation_estimator(v, given):
    close(given.once(perturbed, v["pad_embedding"]), v["I"], atol=1e-7)
