"""SGPO against recorded values: steps, scores, rewards, whole groups, votes, and the simplified
theory."""

from __future__ import annotations

from typing import Any

import torch
from scripted import CUT, ScriptedEngine, context, problem
from sgpo_theory import GRPO as GRPO_REWARDS
from sgpo_theory import SGPO as SGPO_REWARDS
from sgpo_theory import ascend, lemma, no_signal, path, population_gradient
from vectors import Given, close, consumes, tensor

from sage_bench.backends.sgpo import PRESETS, SGPO
from sage_bench.backends.sgpo.steps import (
    length_score,
    logistic_reward,
    split_steps,
    trajectory_score,
)
from sage_bench.judges.steps import majority
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.driver import collect

STEPS = 10  # of every wrong response below
STD = {
    "std_ddof1": {"ddof": 1, "eps": 1e-6},
    "std_ddof0": {"ddof": 0, "eps": 0.0},
    "mean_only": {"use_std": False},
}


# inert: the number of steps where the first is wrong, or none
@consumes("sgpo_rts", inert=["[2456].n_steps"])
def test_trajectory_score(v, given):
    for case in v:
        close(trajectory_score(case["n_steps"], case["first_error_1based"]), case["rts"])


@consumes("sgpo_rts_length_weighted")
def test_trajectory_score_by_length(v, given):
    close(trajectory_score(len(v["step_lengths"]), v["first_error_1based"]), v["rts_count"])
    close(length_score(v["step_lengths"], v["first_error_1based"]), v["rts_length"])


class FirstWrong:
    """A judge who has been told where each wrong response goes wrong."""

    def __init__(self, first: list[int | None]):
        self.first = first

    def judge(self, ctx, problem, responses, votes):
        assert [len(r) for r in responses] == [STEPS] * len(self.first)
        return [[f] for f in self.first]
        yield


def first_wrong(rts: float) -> int | None:
    """The step whose score is `rts` in a response of ten."""
    place = rts * STEPS
    assert abs(place - round(place)) < 1e-9
    assert 0 <= place <= STEPS
    return None if round(place) == STEPS else round(place) + 1


def credited(
    given: Given, rts: list[float | None], **switches: Any
) -> tuple[list[float], list[float]]:
    """(scores, advantage of every completion) of the SGPO backend on one group; rts None is a right
    response."""
    right = [r is None for r in rts]
    method = SGPO(context(given.renderer), group_size=len(rts), judge="reference", **switches)
    method.judge = FirstWrong([first_wrong(r) for r in rts if r is not None])

    def say(prompt: str, k: int) -> str:
        # only a response that was cut off can be without a wrong step
        whole = "no way. " * STEPS + (CUT if rts[k] == 1 else "")
        return "42" if right[k] else whole

    engine = ScriptedEngine(given.renderer.tokenizer, say)
    (item,) = collect(method, [problem()], engine)
    assert item.group.rewards.tolist() == [float(r) for r in right]
    return (item.group.rewards if item.group.scores is None else item.group.scores).tolist(), [
        r.advantage[0].item() for r in item.rows
    ]


@consumes("sgpo_reward_eq2")
def test_reward(v, given):
    names = {
        "b10_g0.5": "beta10_gamma0.5_RECOMMENDED",
        "b0.5_g10": "beta0.5_gamma10_LITERAL_TEXT_ORDER",
        "raw": "raw_rts_ablation_without_beta_gamma",
    }
    for preset, name in names.items():
        scores, _ = given.once(credited, [*v["rts"], None], reward=preset, scope="all")
        close(scores, [*v[name], v["correct"]], atol=1e-7)
        if preset != "raw":
            close([logistic_reward(r, *PRESETS[preset]) for r in v["rts"]], v[name])
    wrong_sign = v[
        "early_version_sign_beta10_gamma0.5_DO_NOT_USE"
    ]  # falls with the score; the final version is its mirror
    close([logistic_reward(r, -10, 0.5) for r in v["rts"]], wrong_sign)
    close([1 - logistic_reward(r, *PRESETS["b10_g0.5"]) for r in v["rts"]], wrong_sign)


@consumes("sgpo_all_negative_group_G8")
def test_all_negative_group(v, given):
    rewards, advantage = given.once(credited, v["rts"], judge_share=0.0)  # not judging: plain GRPO
    close(rewards, v["grpo_reward"])
    close(advantage, v["grpo_adv"])
    for preset, name in {
        "b10_g0.5": "recommended_b10_g0.5",
        "b0.5_g10": "literal_b0.5_g10",
        "raw": "raw_rts",
    }.items():
        want = v[name]
        exact = tensor(
            [r if preset == "raw" else logistic_reward(r, *PRESETS[preset]) for r in v["rts"]]
        )
        close(exact, want["reward"])
        for std, how in STD.items():
            advantages = next(a for key, a in want.items() if std in key)
            close(group_advantage(exact, **how), advantages)
            scores, got = given.once(
                credited,
                v["rts"],
                reward=preset,
                **{("" if k == "use_std" else "std_") + k: x for k, x in how.items()},
            )
            close(scores, want["reward"], atol=1e-7)
            close(got, advantages, atol=2e-6)  # rows are float32


@consumes("sgpo_mixed_group_G8")
def test_mixed_group(v, given):
    assert [r is None for r in v["rts"]] == [c == 1 for c in v["correct"]]
    assert set(v["correct"]) == {0, 1}
    for scope, reward, advantage in (
        ("all_negative", "scope_all_negative_only__reward", "scope_all_negative_only__adv_ddof1"),
        ("all", "scope_all_groups__reward_b10_g0.5", "scope_all_groups__adv_ddof1"),
    ):
        scores, got = given.once(credited, v["rts"], scope=scope, std_ddof=1)
        close(scores, v[reward], atol=1e-7)
        close(got, v[advantage], atol=1e-6)


@consumes("sgpo_degenerate_group")
def test_group_of_equal_scores(v, given):
    scores, got = given.once(credited, v["rts"])
    close(scores, v["reward_b10_g0.5"], atol=1e-7)
    assert got == v["adv"]


@consumes("sgpo_no_step_rule", prose=[""])
def test_no_steps(v, given):
    assert "n=0 -> RTS := 0" in v
    assert split_steps("") == []
    assert trajectory_score(len(split_steps(" \n ")), None) == 0 == length_score([], None)


# inert: votes that are outvoted whether or not they move by one
@consumes(
    "sgpo_majority_vote",
    inert=[
        "0.votes.2",
        "0.votes.3",
        "1.votes.0",
        "1.votes.1",
        "2.votes.2",
        "2.votes.3",
        "3.votes.0",
        "3.votes.2",
        "4.votes.3",
    ],
)
def test_majority(v, given):
    for case in v:
        assert majority(case["votes"]) == case["first_error"]


@consumes("sgpo_step_splitter_example")
def test_step_splitter(v, given):
    assert split_steps(v["text"]) == v["steps"]


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a, b]))[0, 1].item()


@consumes("sgpo_constants_effect")
def test_effect_of_the_constants(v, given):
    rts = torch.arange(11, dtype=torch.float64) / 10

    def reward(beta, gamma):
        return tensor([logistic_reward(r, beta, gamma) for r in rts.tolist()])

    close(
        correlation(rts, reward(*PRESETS["b10_g0.5"])),
        v["corr(raw RTS, beta10gamma0.5) on 0,0.1..1"],
    )
    close(correlation(rts, reward(*PRESETS["b0.5_g10"])), v["corr(raw RTS, beta0.5gamma10)"])
    close(correlation(rts, reward(-10, 0.5)), v["corr(RTS, early-version sign)"])
    close(
        [reward(*PRESETS["b0.5_g10"]).min(), reward(*PRESETS["b0.5_g10"]).max()],
        v["range_beta0.5gamma10"],
    )


@consumes("sgpo_overhead")
def test_overhead(v, given):
    method = SGPO(context(given.renderer), judge="reference", judge_epochs=v["judged_epochs"])
    judged = 0
    for method.ctx.epoch in range(1, v["total_epochs"] + 1):
        judged += method.judging()
    assert judged == v["judged_epochs"]
    close(v["per_judged_epoch"] * judged / v["total_epochs"], v["bound"])


@consumes("theory_population_gradient_G2H2_ddof0")
def test_population_gradient(v, given):
    for case in v:
        close(given.once(gradient, case["p"], case["q"], SGPO_REWARDS, 2), case["g_sgpo"])
        close(given.once(gradient, case["p"], case["q"], GRPO_REWARDS, 2), case["g_grpo"])


def gradient(given: Given, *inputs: Any) -> list[float]:
    return population_gradient(*inputs)


@consumes("theory_note_G2_partial_credit_value_irrelevant", prose=["claim"])
def test_value_of_partial_credit_in_pairs(v, given):
    for value in (0.1, 0.5, 0.9, 0.999):
        close(given.once(gradient, 0.3, 0.6, (0.0, value, 1.0), 2), v["check_r=0.9_at(0.3,0.6)"])


@consumes("theory_population_gradient_G4H2_ddof0_OWN_EXTENSION")
def test_value_of_partial_credit_in_larger_groups(v, given):
    for rewards, name in (
        ((0.0, 0.5, 1.0), "g_sgpo_r0.5"),
        ((0.0, 0.9, 1.0), "g_sgpo_r0.9"),
        (GRPO_REWARDS, "g_grpo"),
    ):
        close(given.once(gradient, v["p"], v["q"], rewards, 4), v[name])


def paths(given: Given, steps: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    return path(SGPO_REWARDS, steps), path(GRPO_REWARDS, steps)


@consumes("theory_dynamics_eta1_init_half")
def test_dynamics(v, given):
    sgpo, grpo = given.once(paths, 20000)
    for k, want in v.items():
        close(
            [*sgpo[int(k)], *grpo[int(k)]],
            [want[n] for n in ("p_sgpo", "q_sgpo", "p_grpo", "q_grpo")],
        )


@consumes("theory_claims_check")
def test_claims_about_the_dynamics(v, given):
    sgpo, grpo = given.once(paths, 20000)
    ahead = [
        s[0] > g[0] and s[0] * s[1] > g[0] * g[1] for s, g in zip(sgpo[1:], grpo[1:], strict=True)
    ]
    assert all(ahead) is v["theorem3.3_ii_and_iii_hold_for_k=1..20000"]
    assert len(ahead) == 20000
    for name, points in (("sgpo", sgpo), ("grpo", grpo)):
        assert [
            next(k for k, (p, q) in enumerate(points) if p * q >= goal) for goal in (0.5, 0.8, 0.9)
        ] == v["iterations_to_pq>=0.5/0.8/0.9"][name]
    assert (
        next((k for k in range(1, 20001) if sgpo[k][1] > grpo[k][1]), None)
        is v["first_k_with_q_sgpo>q_grpo"]
    )
    gaps = [s[0] * s[1] - g[0] * g[1] for s, g in zip(sgpo, grpo, strict=True)]
    close([max(gaps), gaps.index(max(gaps))], v["max_pq_gap"])
    close([*ascend(0.5, 0.5, SGPO_REWARDS), ascend(0.5, 0.5, GRPO_REWARDS)[0]], v["k1_closed"])


def lemma_gaps(given: Given) -> tuple[float, float, float]:
    """(least gap, x, y) of C^2 - A B on a grid of .005."""
    grid = torch.arange(101, 200, dtype=torch.float64) / 200
    x, y = torch.meshgrid(grid, grid, indexing="ij")
    a, b, c = lemma(x, y)
    gap = torch.where(y < x, c * c - a * b, torch.inf)
    place = int(gap.argmin())
    return gap.flatten()[place].item(), x.flatten()[place].item(), y.flatten()[place].item()


@consumes("theory_lemma_B2_grid", prose=["claim"])
def test_lemma(v, given):
    least = given.once(lemma_gaps)
    close(least, v["min_gap_on_0.005_grid_(gap,x,y)"])
    assert (least[0] > 0) is v["holds"]
    close(torch.stack(lemma(tensor(0.8), tensor(0.6))), v["example_x0.8_y0.6"])


def silence(given: Given, *inputs: Any) -> float:
    return no_signal(*inputs)


@consumes("theory_degeneracy_probability")
def test_probability_of_no_signal(v, given):
    p, q, size = v["p"], v["q"], v["G"]
    close((1 - p * q) ** size, v["all_negative_prob_(1-pq)^G"])
    close(given.once(silence, p, q, GRPO_REWARDS, size), v["grpo_zero_signal_(1-pq)^G+(pq)^G"])
    close(given.once(silence, p, q, SGPO_REWARDS, size), v["sgpo_zero_signal_sum_y_P(y)^G"])
