"""HINT against recorded values: advantages, the two stages, what is trained on, Affinity and
AAPO."""

from __future__ import annotations

from math import log
from unittest import mock

import pytest
import torch
from scripted import EqualText, ScriptedEngine, context, problem
from vectors import Given, close, consumes, tensor

from sage_bench.backends.hint import HINT
from sage_bench.backends.hint.affinity import Affinity, AffinityRow, affinity
from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.learner import Learner
from sage_bench.generation.local.forward import log_probs
from sage_bench.generation.local.policy import Policy
from sage_bench.methods.advantage import group_advantage
from sage_bench.methods.base import Context
from sage_bench.methods.driver import collect
from sage_bench.methods.losses import row_weights, token_loss
from sage_bench.methods.objective import Objective
from sage_bench.types import Completion, Kind, Row, Sampling

AUTHORS = {"std_ddof": 1, "std_eps": 1e-4}  # how HINT's code standardises
IDEA = "look at the parity"


@consumes("hint.H1_group_advantage", prose=["formula"])
def test_group_advantage(v, given):
    for case in v["cases"]:
        close(group_advantage(tensor(case["rewards"]), ddof=1, eps=1e-4), case["adv"])


def two_stages(given: Given, first: list[list[int]], second: dict[str, list[int]]):
    """HINT on problems whose plain and hinted completions are right where told."""

    def say(prompt: str, k: int) -> str:
        i = int(prompt.split("problem")[1][0])
        return "42" if (second[str(i)] if IDEA in prompt else first[i])[k] else "no"

    problems = [problem(f"p{i}", f"problem{i}", meta_hint=IDEA) for i in range(len(first))]
    engine = ScriptedEngine(given.renderer.tokenizer, say)
    items = collect(
        HINT(context(given.renderer), group_size=len(first[0]), **AUTHORS), problems, engine
    )
    return items, [len(asks) for asks in engine.rounds]


@consumes("hint.H2_two_stage", prose=["note"])
def test_two_stages(v, given):
    items, asked = given.once(two_stages, v["stage1_rewards"], v["stage2_rewards"])
    again = [i for i, item in enumerate(items) if item.group.level]
    assert again == v["reroll_group_idx"] == [int(k) for k in v["stage2_rewards"]]
    assert asked == [
        len(v["stage1_rewards"]),
        len(again),
    ]  # exactly one more round, for all-wrong groups only
    assert [item.group.rewards.tolist() for item in items] == v["final_rewards"]
    assert all(
        v["final_rewards"][i] == first
        for i, first in enumerate(v["stage1_rewards"])
        if i not in again
    )
    close(
        [v["final_rewards"][i] for i in again], list(v["stage2_rewards"].values())
    )  # the whole group is another one
    assert [all(r.affinity == 1 for r in item.rows) for item in items] == v["use_aapo"]
    close(
        torch.stack([torch.stack([r.advantage[0] for r in item.rows]) for item in items]),
        v["adv"],
        atol=1e-6,
    )
    dead = torch.cat([r.advantage for r in items[3].rows])
    assert affinity(torch.ones_like(dead), dead) == Affinity(0.0, 0.0, 0.0, 1.0)


class Fixed:
    """A renderer that knows one plain and one hinted prompt, given as token ids."""

    def __init__(self, tokenizer, plain, hinted):
        self.tokenizer, self.plain, self.hinted = tokenizer, tuple(plain), tuple(hinted)

    def answer(self, question, hint=None, **how):
        return self.hinted if hint else self.plain


class Says:
    """Engine that says other things after the hinted prompt than after the plain one."""

    def __init__(self, hinted, plain, said):
        self.hinted, self.plain, self.said = hinted, plain, said

    def any(self, flag):
        return flag

    def run(self, asks):
        return [
            [
                Completion(tuple(c), torch.full((len(c),), -1.0), "stop")
                for c in (self.said if a.prompt == self.hinted else self.plain)
            ]
            for a in asks
        ]


def trained_on(given: Given, plain: list[int], hinted: list[int], said: list[list[int]]):
    """(prompt sampled from, rows, (prompt, tokens) pairs whose log-probabilities the learner takes
    for the ratio)."""
    tokenizer = given.renderer.tokenizer
    renderer = Fixed(tokenizer, plain, hinted)
    ctx = Context(renderer, EqualText(), Sampling(1.0, 1.0, 8))
    engine = Says(renderer.hinted, [[30], [31]], said)
    one = problem("p", answer=tokenizer.decode(said[0], skip_special_tokens=True), meta_hint=IDEA)
    (item,) = collect(HINT(ctx, group_size=len(said), **AUTHORS), [one], engine)
    learner, pairs = Learner(given.policy(), OptimConfig()), []
    spy = mock.Mock(
        side_effect=lambda policy, asked, **how: (
            pairs.extend(asked),
            log_probs(policy, asked, **how),
        )[1]
    )
    with mock.patch("sage_bench.engines.local.learner.log_probs", spy):
        learner.gradient(learner._with_old(item.rows), Objective(), hooks=HINT(ctx))
    return item.group.prompt, item.rows, pairs


# inert: whatever the hinted prompt is, it is not trained on
@consumes("hint.H3_training_sequence", prose=["note"], inert=["hinted_q_ids.*"])
def test_training_sequence(v, given):
    sampled_from, rows, pairs = given.once(
        trained_on, v["q_ids"], v["hinted_q_ids"], v["completions_sampled_from_hinted_q"]
    )
    assert list(sampled_from) == v["hinted_q_ids"]
    assert rows[0].advantage[0] > 0
    assert {len(r.prompt) for r in rows} == {v["plen"]}
    assert [list(r.tokens) for r in rows] == v["completions_sampled_from_hinted_q"]
    width = max(len(r.prompt + r.tokens) for r in rows)
    assert [
        list(r.prompt + r.tokens) + [v["pad"]] * (width - len(r.prompt + r.tokens)) for r in rows
    ] == v["train_inputs"]
    # old, for Affinity, and the numerator
    assert set(pairs) == {(tuple(v["q_ids"]), r.tokens) for r in rows}
    assert len(pairs) == 3 * len(rows)


def exact_policy(given: Given) -> Policy:
    return given.policy(dtype=torch.float64)


def aapo_loss(
    given: Given,
    ratio: list[list[float]],
    mask: list[list[int]],
    adv: list[float],
    eps: float,
    power: float,
) -> float:
    """The learner's loss on rows whose ratio to the old policy is as given, with a real model."""
    policy = given.once(exact_policy)
    lengths = [sum(m) for m in mask]
    tokens = [tuple(range(10 + 7 * i, 10 + 7 * i + n)) for i, n in enumerate(lengths)]
    with torch.no_grad():
        logp = log_probs(policy, [((6, 7, 8), t) for t in tokens])[0].split(lengths)
    rows = [
        AffinityRow(
            (6, 7, 8),
            t,
            tensor([a] * len(t)),
            "g",
            old_logp=lp - tensor(r[: len(t)]).log(),
            affinity=power,
        )
        for t, a, lp, r in zip(tokens, adv, logp, ratio, strict=True)
    ]
    objective = Objective(clip_low=eps, clip_high=eps, dual_clip=None, aggregation="seq-mean")
    hint = HINT(context(given.renderer))
    return Learner(policy, OptimConfig()).gradient(rows, objective, hooks=hint)


def time_constant(clip: float) -> float:
    """tau, read off our own Affinity: value = eur * exp(-uc / tau)."""
    a = affinity(tensor([1.0, 1.1, 0.9]), torch.ones(3), clip)
    return a.uc / log(a.eur / a.value)


# inert: ratios that are clipped (a little more would be, too), and the one of a padded token
@consumes(
    "hint.H4_affinity_and_aapo",
    prose=["v2_formula", "v1_formula", "cases.*.name"],
    inert=["cases.0.ratio.0.3", "cases.0.ratio.1.[13]", "cases.2.ratio.0.[02]"],
)
def test_affinity_and_aapo(v, given):
    for case in v["cases"]:
        mask = torch.tensor(case["mask"]).bool()
        assert all(m == sorted(m, reverse=True) and set(m) <= {0, 1} for m in case["mask"])
        ratio = tensor(case["ratio"])
        advantage = tensor(case["adv"])[:, None].expand_as(ratio)
        a = affinity(ratio[mask], advantage[mask], case["eps"])
        close([a.eur, a.uc, a.value], [case["v2"][k] for k in ("EUR", "UC", "Affinity")])
        close(time_constant(case["eps"]), case["tau"], atol=1e-8)
        share = affinity(
            ratio[mask], torch.ones(int(mask.sum())), case["eps"]
        ).eur  # version 1's EUR is ours with equal weights
        close(
            [share, a.first / share if share else 0.0, a.first],
            [case["v1"][k] for k in ("EUR", "UC", "Affinity")],
            atol=1e-8,
        )
        loss, _ = token_loss(
            ratio[mask].log(),
            torch.zeros(int(mask.sum())),
            advantage[mask],
            torch.full((int(mask.sum()),), int(Kind.PG)),
            clipped(case["eps"]),
        )
        weights = row_weights(mask.sum(1).tolist(), "seq-mean").repeat_interleave(mask.sum(1))
        close((weights * loss).sum(), case["grpo_loss"])
        for power, want in case["aapo_loss"].items():
            close(
                given.once(
                    aapo_loss, case["ratio"], case["mask"], case["adv"], case["eps"], float(power)
                ),
                want,
                atol=1e-6,
            )


def clipped(eps: float) -> Objective:
    return Objective(clip_low=eps, clip_high=eps, dual_clip=None)


def test_lambda_zero_is_plain_grpo_on_hinted_groups(given):
    case = given.groups["hint.H4_affinity_and_aapo"]["cases"][0]
    rows = [
        AffinityRow(
            (6, 7), (8, 9), tensor([1.0, 1.0]), "g", old_logp=tensor([-9.0, -0.1]), affinity=power
        )
        for power in (0.0, 1.0)
    ]
    plain, weighed = (
        Learner(given.policy(dtype=torch.float64), OptimConfig()).gradient(
            [r], clipped(case["eps"]), hooks=HINT(context(given.renderer))
        )
        for r in rows
    )
    unmarked = Learner(given.policy(dtype=torch.float64), OptimConfig()).gradient(
        [Row(rows[0].prompt, rows[0].tokens, rows[0].advantage, "g", old_logp=rows[0].old_logp)],
        clipped(case["eps"]),
    )
    assert plain == pytest.approx(unmarked)
    assert abs(weighed) < abs(plain)
