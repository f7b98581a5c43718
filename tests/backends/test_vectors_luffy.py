"""LUFFY against recorded values: shaping, group advantages with a trace, token loss, the trace's
tokens, the batch."""

from __future__ import annotations

from math import exp
from typing import Any

import torch
from scipy.integrate import quad
from scipy.special import exp1
from scripted import ScriptedEngine, context, problem
from vectors import Given, close, consumes, tensor

from sage_bench.backends.luffy import LUFFY
from sage_bench.config.schema import TrainConfig
from sage_bench.engines.local.learner import split_updates
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.base import MethodConfig
from sage_bench.methods.driver import collect
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Kind, Row, Sampling

UNCLIPPED = Objective(**LUFFY.objective, constant_length=1)  # clip and dual clip off, gamma .1
CLIPPED = Objective(dual_clip=None, clip_low=0.2, clip_high=0.2)


def shaped(
    p: torch.Tensor, gamma: float = 0.1, kind: Kind = Kind.OFF
) -> tuple[torch.Tensor, torch.Tensor]:
    """(f(p), df/dlog p) of a token with advantage 1. Kind.PG with an old probability of 1 leaves p
    as it is."""
    logp = p.log().requires_grad_(True)
    loss, _ = token_loss(
        logp,
        torch.zeros_like(p),
        torch.ones_like(p),
        torch.full((len(p),), int(kind)),
        UNCLIPPED.model_copy(update={"off_gamma": gamma}),
    )
    (slope,) = torch.autograd.grad(-loss.sum(), [logp])
    return -loss.detach(), slope


@consumes("luffy_shaping_gamma0.1")
def test_shaping(v, given):
    p = tensor(v["x"])
    f, slope = shaped(p)
    close(f, v["f"])
    close(slope / p, v["fprime"])
    close(slope, v["dloss_dlogp_weight_fprime*pi"])
    close(slope * (1 - p), v["logit_grad_weight_fprime*pi*(1-pi)"])  # d log p / d logit = 1 - p
    plain, slope = shaped(p, kind=Kind.PG)
    close(plain, p)
    close(slope * (1 - p), v["vanilla_weight_pi*(1-pi)"])


def logit_weight(p: torch.Tensor) -> torch.Tensor:
    return shaped(p)[1] * (1 - p)


@consumes("luffy_weight_maximum")
def test_weight_maximum(v, given):
    grid = torch.linspace(1e-4, 1, 200001, dtype=torch.float64)
    weight = logit_weight(grid)
    close(grid[weight.argmax()], v["argmax_pi=gamma/(1+2gamma)"], atol=1e-5)
    close(logit_weight(tensor([v["argmax_pi=gamma/(1+2gamma)"]])), [v["max=1/(4(1+gamma))"]])
    close(weight.max(), v["max=1/(4(1+gamma))"])
    top, place = v["numeric_(max,argmax)"]
    close(logit_weight(tensor([place])), [top])


@consumes("luffy_f_at_0.2_by_gamma")
def test_shaping_by_gamma(v, given):
    for gamma, f in v.items():
        close(shaped(tensor([0.2]), float(gamma))[0], [f])


def advantages(given: Given, rewards: list[float], **switches: Any) -> list[float]:
    """Of the trace and the rollouts, by the backend; the trace is right when the verifier says
    so."""
    said = ["42" if r else "no" for r in rewards]
    method = LUFFY(context(given.renderer), group_size=len(rewards), **switches)
    engine = ScriptedEngine(given.renderer.tokenizer, lambda prompt, k: said[1 + k])
    (item,) = collect(method, [problem(trace=said[0])], engine)
    assert [r.kind for r in item.rows] == [Kind.OFF] + [Kind.PG] * (len(rewards) - 1)
    assert item.usage.rollouts == len(rewards) - 1
    assert all((r.advantage == r.advantage[0]).all() for r in item.rows)
    return [r.advantage[0].item() for r in item.rows]


@consumes("luffy_advantage")
def test_group_advantage_with_a_trace(v, given):
    for case in v.values():
        rewards = case["rewards(off first)"]
        assert set(rewards) <= {0, 1}
        for name, how in {
            "mean_only(code, grpo_use_std=False)": {},
            "paper_eq4_std_ddof1_eps1e-6": {"use_std": True, "std_ddof": 1},
        }.items():
            close(given.once(advantages, rewards, **how), case[name], atol=1e-6)
        close(
            group_advantage(tensor(rewards), use_std=False),
            case["mean_only(code, grpo_use_std=False)"],
        )
        close(group_advantage(tensor(rewards), ddof=1), case["paper_eq4_std_ddof1_eps1e-6"])


@consumes("luffy_token_loss")
def test_token_loss(v, given):
    lengths = [len(v["p_off"]), len(v["p_on"])]
    old = torch.cat([torch.zeros(lengths[0]), tensor(v["p_old_on"]).log()])
    advantage = torch.cat(
        [tensor([v["A_off"]]).expand(lengths[0]), tensor([v["A_on"]]).expand(lengths[1])]
    )
    repeat = torch.tensor(lengths)
    # the code sums over sequences where our `constant` averages over them
    constant = len(lengths) * row_weights(
        lengths, "constant", constant_length=v["L_max"]
    ).repeat_interleave(repeat)

    def loss(
        off: Kind, objective: Objective, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logp = torch.cat([tensor(v["p_off"]), tensor(v["p_on"])]).log().requires_grad_(True)
        kind = torch.tensor([int(off)] * lengths[0] + [int(Kind.PG)] * lengths[1])
        total = (weights * token_loss(logp, old, advantage, kind, objective)[0]).sum()
        return total.detach(), torch.autograd.grad(total, [logp])[0]

    total, gradient = loss(Kind.OFF, UNCLIPPED, constant)
    close(total, v["loss_code_shaped_noclip_div_Lmax"])
    close(gradient, v["grad_wrt_logp_off"] + v["grad_wrt_logp_on"])
    close(
        loss(Kind.OFF, UNCLIPPED, row_weights(lengths, "token-mean").repeat_interleave(repeat))[0],
        v["loss_paper_shaped_noclip_div_Z"],
    )
    close(loss(Kind.PG, CLIPPED, constant)[0], v["loss_mixed_policy_noshape_clip_div_Lmax"])
    close(loss(Kind.OFF, CLIPPED, constant)[0], v["loss_shaped_with_onpolicy_clip0.2_div_Lmax"])


def moments(given: Given) -> tuple[float, float]:
    """E f and E f^2 for an Exp(1) ratio, integrated over our shaping."""

    def f(x: float) -> float:
        return shaped(tensor([x]))[0].item() if x else 0.0

    return tuple(
        quad(lambda x: f(x) ** n * exp(-x), 0, 60, epsabs=1e-12, epsrel=1e-12, limit=400)[0]
        for n in (1, 2)
    )


@consumes("luffy_variance_exp1_gamma0.1")
def test_variance_of_the_shaped_ratio(v, given):
    """Theory about the method: how far shaping reduces the variance of an exponential ratio; the
    shaping is ours."""
    gamma = UNCLIPPED.off_gamma
    first, second = given.once(moments)
    for name in (
        "Var_f_closed_form_g^2*e^g*I2-g^2*e^{2g}*E1^2",
        "paper_eq25_1-2g^2e^gE3-g^2e^{2g}E1^2_(E3:=I3)_same_number",
    ):
        close(second - first**2, v[name])
    one, two, three = v["I1=E1(g)"], v["I2=int_g^inf e^-u/u^2"], v["I3=int_g^inf e^-u/u^3"]
    close(
        [one, two, three],
        [exp1(gamma), exp(-gamma) / gamma - one, (exp(-gamma) / gamma**2 - two) / 2],
    )
    close([1 - gamma * exp(gamma) * one], [first])
    close(gamma**2 * exp(gamma) * two - gamma**2 * exp(2 * gamma) * one**2, second - first**2)
    close(
        1 - 2 * gamma**2 * exp(gamma) * three - gamma**2 * exp(2 * gamma) * one**2,
        second - first**2,
    )
    close(shaped(tensor([1.0]))[1] ** 2 * v["Var_x"], [v["first_order_factor_(g/(1+g)^2)^2"]])
    close(v["Var_x"], quad(lambda x: (x - 1) ** 2 * exp(-x), 0, 60)[0])


def trace_rows(given: Given, target: str | None, most: int) -> list[Row]:
    ctx = context(given.renderer)
    ctx.sampling = Sampling(1.0, 1.0, most)
    extra = {} if target is None else {"trace": target}
    (item,) = collect(
        LUFFY(ctx, group_size=2),
        [problem(**extra)],
        ScriptedEngine(given.renderer.tokenizer, lambda prompt, k: "42"),
    )
    return item.rows


@consumes("luffy_prefix")
def test_tokens_of_the_trace(v, given):
    """The whole trace with its end token is off-policy, and nothing else. A shorter prefix of the
    released code is what our cut at the longest completion leaves of a trace; a switch for it there
    is none, since no experiment uses it.
    """
    target = "12345"
    assert len(given.renderer.ids(target)) == v["target_len"]
    for ratio, name in ((v["ratio"], "with_eos"), (1.0, "int(len*ratio)"), (0.5, "ratio0.5")):
        rows = given.once(trace_rows, target, int(6 * ratio))
        off = [r for r in rows if r.kind is Kind.OFF]
        assert [len(r.tokens) for r in off] == [v[name]]
        assert (off[0].tokens[-1] == given.renderer.tokenizer.eos_token_id) is (ratio == 1.0)
    assert (
        sum(len(r.tokens) for r in given.once(trace_rows, None, 6) if r.kind is Kind.OFF)
        == v["empty_target_prefix"]
    )


@consumes("luffy_batch")
def test_batch(v, given):
    defaults = TrainConfig()
    assert (defaults.prompts_per_step, defaults.updates_per_step, MethodConfig().group_size) == (
        v["train_batch"],
        v["optimizer_steps_per_batch"],
        v["n"],
    )
    kinds = [r.kind for r in given.once(trace_rows, "12", 6)]
    kinds += [Kind.PG] * (v["n"] - len(kinds))
    rows = [
        Row((1,), (2,), torch.ones(1), f"g{i}", kind)
        for i in range(v["train_batch"])
        for kind in kinds
    ]
    parts = split_updates(rows, v["optimizer_steps_per_batch"])
    assert [len({r.group for r in part}) for part in parts] == [v["mini_prompts"]] * v[
        "optimizer_steps_per_batch"
    ]
    assert [len(part) for part in parts] == [v["seq_per_optimizer_step"]] * 2
    assert v["seq_per_gpu_per_step_8gpu"] == len(parts[0]) // 8
    assert [sum(r.kind is Kind.OFF for r in part) / len(part) for part in parts] == [
        v["off_policy_fraction"]
    ] * 2


@consumes("luffy_rl_with_sft_loss")
def test_rollouts_with_an_sft_loss(v, given):
    """The companion baseline is no backend of ours; its two parts are kinds of rows, with
    coefficient 1 the trace's advantage is that of our SFT rows."""
    close(group_advantage(tensor(v["on_rewards_7"]), use_std=False), v["on_adv_mean_only"])
    assert len(v["on_rewards_7"]) == 7
    assert set(v["on_rewards_7"]) <= {0, 1}
    logp = tensor([0.2, 0.9]).log()
    loss, _ = token_loss(
        logp, torch.zeros(2), torch.ones(2), torch.full((2,), int(Kind.CE)), UNCLIPPED
    )
    close(
        (row_weights([2], "token-mean") * loss).sum(),
        v["coef"] * v["sft_loss_p=[0.2,0.9]_token_mean"],
    )
