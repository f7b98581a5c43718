"""Scaf-GRPO and SFT against recorded values: levels, search, replacement, exemption, prompts;
schedule and loss."""

from __future__ import annotations

import re
from typing import Any

import torch
from scripted import ScriptedEngine, context, problem
from vectors import Given, close, consumes, same, tensor

from sage_bench.backends.scaf_grpo import TIERS, ScafGRPO
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.optim import learning_rate
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.driver import Collected, collect
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.training.batches import steps_per_epoch
from sage_bench.types import Kind

ITEMS = {
    "knowledge": ["ka", "kb", "kc", "kd"],
    "planning": ["pa", "pb", "pc", "pd"],
    "solution_parts": ["sa", "sb", "sc", "sd"],
}
HINT = re.compile(r"(Knowledge|Planning|Solution) Hints: ((?:\w\w ?)+)")


def shown(text: str) -> tuple[str, int] | None:
    """(tier, items) of the hint in a prompt."""
    found = HINT.search(text)
    return (found[1].lower(), len(found[2].split())) if found else None


def climbed(
    given: Given,
    right: list[int],
    tiers: str = "paper12",
    search: str = "sequential",
    size: int = 8,
    **switches: Any,
) -> Collected:
    """Scaf-GRPO on a problem nobody solves without a hint; right[l - 1]: whether the sample of
    level l is right."""
    names = [tier for tier in TIERS[tiers] for _ in range(4)]

    def say(prompt: str, k: int) -> str:
        hint = shown(prompt)
        return "42" if hint and right[names.index(hint[0]) + hint[1] - 1] else "no"

    ctx = context(given.renderer)
    ctx.step = ctx.steps = 1  # past the exemption
    method = ScafGRPO(ctx, group_size=size, tiers=tiers, search=search, **switches)
    (item,) = collect(method, [problem(**ITEMS)], ScriptedEngine(given.renderer.tokenizer, say))
    return item


def replaced(given: Given, size: int, **switches: Any) -> tuple[list[float], list[float]]:
    """(rewards, advantages) after one failure gave way to a right answer, best first."""
    item = climbed(given, [1] * 12, size=size, **switches)
    return sorted(item.group.rewards.tolist(), reverse=True), sorted(
        (r.advantage[0].item() for r in item.rows), reverse=True
    )


@consumes("scaf_augmented_advantage_G8")
def test_advantage_of_an_augmented_group(v, given):
    rewards = tensor(v["rewards"])
    for ddof, name in ((1, "ddof1_eps1e-6_(code)"), (0, "ddof0_eps1e-6")):
        close(group_advantage(rewards, ddof=ddof), v[name])
        got, advantages = given.once(replaced, 8, std_ddof=ddof)
        close(got, v["rewards"])
        close(advantages, v[name], atol=1e-6)
    close(
        group_advantage(rewards, eps=0.0)[:2], v["closed_form_ddof0_eps0_[sqrt(N-1),-1/sqrt(N-1)]"]
    )
    close(
        group_advantage(rewards, ddof=1, eps=0.0)[:2],
        v["closed_form_ddof1_eps0_[(N-1)/sqrt(N),-1/sqrt(N)]"],
    )
    close(group_advantage(tensor([1.0, 1, 0, 0, 0, 0, 0, 0]), ddof=1), v["replace_num2_ddof1"])


@consumes("scaf_augmented_advantage_G4")
def test_advantage_of_an_augmented_group_of_four(v, given):
    for ddof in (0, 1):
        close(group_advantage(tensor([1.0, 0, 0, 0]), ddof=ddof), v[f"ddof{ddof}"])
        close(given.once(replaced, 4, std_ddof=ddof)[1], v[f"ddof{ddof}"], atol=1e-6)


def ladder(given: Given, tiers: str) -> dict[str, list[Any]]:
    """Level: (tier, items shown); every hint shows the first items of its tier and nothing else."""
    found = {}
    for level, hint in ScafGRPO(context(given.renderer), tiers=tiers).ladder(problem(**ITEMS)):
        tier, count = shown(hint)
        assert hint == f"{tier.capitalize()} Hints: " + " ".join(
            ITEMS["solution_parts" if tier == "solution" else tier][:count]
        )
        found[str(level)] = [tier, count]
    return found


@consumes("scaf_level_map_12")
def test_levels_of_the_paper(v, given):
    same(given.once(ladder, "paper12"), v)


@consumes("scaf_level_map_8_released_code")
def test_levels_of_the_released_code(v, given):
    same(given.once(ladder, "released8"), v)


# inert: what the sample of a level after the first right one would have been (one more than 1 is as
# right as 1)
@consumes(
    "scaf_min_level",
    inert=["0.rewards_by_level.[5-9]", "0.rewards_by_level.1?", "2.rewards_by_level.*"],
)
def test_least_level_is_chosen(v, given):
    for case in v:
        for search in ("sequential", "wave", "parallel"):
            item = given.once(climbed, case["rewards_by_level"], search=search)
            assert (item.group.level or None) == case["selected"]
            assert len(item.rows) == 8
            assert item.group.rewards.sum() == (case["selected"] is not None)


def calls(given: Given, first: int | None, levels: int, search: str) -> int:
    """Samples the search draws when `first` is the least right level (None: there is none)."""
    right = [int(level == first) for level in range(1, levels + 1)]
    return (
        climbed(given, right, "paper12" if levels == 12 else "released8", search).usage.rollouts - 8
    )


@consumes("scaf_search_cost")
def test_search_cost(v, given):
    p = v["p_success_by_level"]
    chosen, missed = [], 1.0
    for success in p:
        chosen.append(missed * success)
        missed *= 1 - success
    close(chosen, v["p_selected_level"])
    close(missed, v["p_unsolved"])
    costs = [
        given.once(calls, first, len(p), "sequential") for first in [*range(1, len(p) + 1), None]
    ]
    close(
        sum(c * w for c, w in zip(costs, [*chosen, missed], strict=True)),
        v["sequential_expected_calls"],
    )
    for levels, name in (
        (12, "extra_rollout_fraction_parallel12_trigger0.174"),
        (8, "extra_rollout_fraction_parallel8_trigger0.174"),
    ):
        drawn = given.once(calls, 3, levels, "parallel")
        assert drawn == (v["parallel_calls"] if levels == 12 else 8)
        close(0.174 * drawn / 8, v[name])


def one_token(logp: float, old: float, advantage: float) -> tuple[float, float]:
    """(ratio, objective to be maximised) of one token under the symmetric clip .2."""
    loss, stats = token_loss(
        tensor([logp]),
        tensor([old]),
        tensor([advantage]),
        torch.tensor([int(Kind.PG)]),
        Objective(clip_high=0.2),
    )
    return stats["ratio"].item(), -loss.item()


@consumes("scaf_ratio")
def test_ratio_under_the_hinted_prompt(v, given):
    ratio, objective = one_token(v["logp_theta(q+h)"], v["logp_old(q+h)"], 2.474874)
    close(ratio, v["r_scaf=exp(-1.0+1.1)"])
    close(
        objective, v["clipped_obj_A=2.474874_eps0.2_scaf"], atol=1e-6
    )  # recorded with the unrounded advantage
    close(
        one_token(v["logp_theta(q)"], v["logp_old(q+h)"], 1.0)[0],
        v["r_offpolicy_alt=exp(-2.5+1.1)"],
    )
    item = given.once(climbed, [1] * 12)
    hinted = [shown(given.renderer.tokenizer.decode(list(r.prompt))) for r in item.rows]
    # one prompt for both sides
    assert sorted(h is not None for h in hinted) == [False] * 7 + [True]
    assert all(r.old_logp is None for r in item.rows)


def first_active(given: Given, total: int, **switches: Any) -> int:
    """The first step (1-based) that is not exempt."""
    method = ScafGRPO(context(given.renderer), **switches)
    for step in range(total):
        method.ctx.step, method.ctx.steps = step, total
        if not method.exempt():
            return step + 1
    return total + 1


@consumes("scaf_exemption", prose=["active_when"])
def test_exemption(v, given):
    paper, code = given.once(first_active, 500), given.once(first_active, 500, variant="code")
    assert [paper, code] == v["first_active_step"]
    assert [paper - 1, code - 1] == [v["T_total=500,15%"], v["released_script_warmup_steps"]]


def kept(counts: dict[str, int]) -> dict[str, float]:
    """Expected prompts left by the paper's filter of the training data: theory about its data, our
    sources are not filtered by pass rate."""
    share = {"8of8": 0.0, "1to7": 0.5, "0of8": 1.0}
    return {name: share[name] * n for name, n in counts.items()}


@consumes("scaf_filter_expectation", inert=["counts.8of8"])
def test_filter(v, given):
    assert kept(v["counts"]) == v["kept"]


@consumes("scaf_injected_user_turn")
def test_injected_user_turn(v, given):
    tier = v["tier_label"].removesuffix(" Hints").lower()
    method = ScafGRPO(context(given.renderer))
    hints = dict(method.ladder(problem(question=v["question"], **{tier: v["items"]})))
    assert tier == "knowledge"
    assert len(hints) == len(v["items"])
    system, user = given.renderer.answer_user(
        v["question"],
        hints[v["level"]],
        lead=method.cfg.hint_lead,
        position=method.cfg.hint_position,
    )
    assert (system, user) == (v["system"], v["user"])
    assert given.renderer.answer_user(v["question"])[0] == v["system"]


# inert: one example more fills no batch
@consumes("sft_schedule", inert=["N"])
def test_sft_schedule(v, given):
    assert steps_per_epoch(v["N"], v["batch"]) == v["steps_per_epoch_floor"]
    assert v["epochs"] * v["steps_per_epoch_floor"] == v["total_steps"]
    config = OptimConfig(lr=5e-5, schedule="cosine", warmup_ratio=0.1, min_lr_ratio=0.1)
    rates = [learning_rate(config, step, v["total_steps"]) for step in range(v["total_steps"] + 1)]
    assert rates.index(max(rates)) == v["warmup_steps"]
    for step, rate in v["lr_at"].items():
        close(rates[int(step)], rate, atol=1e-12)
    straight = config.model_copy(update={"schedule": "linear", "min_lr_ratio": 0.0})
    close(
        learning_rate(straight, (v["warmup_steps"] + v["total_steps"]) // 2, v["total_steps"]),
        v["linear_no_min_lr_alternative_at_(W+T)//2"],
        atol=1e-11,
    )


@consumes("sft_loss")
def test_sft_loss(v, given):
    rows = [tensor(v["p_tokens_seq1"]).log(), tensor(v["p_tokens_seq2"]).log()]
    lengths = [len(r) for r in rows]
    logp = torch.cat(rows)
    loss, _ = token_loss(
        logp,
        torch.zeros_like(logp),
        torch.ones_like(logp),
        torch.full((len(logp),), int(Kind.CE)),
        Objective(),
    )
    for how, name in (("token-mean", "token_mean"), ("seq-mean", "seq_mean_of_token_mean")):
        close(
            (row_weights(lengths, how).repeat_interleave(torch.tensor(lengths)) * loss).sum(),
            v[name],
        )
