"""SGPO, HINT, OAR, LUFFY, Scaf-GRPO and the controls: what is sampled, what is credited, under
which prompt."""

from __future__ import annotations

import json

import pytest
import torch
from scripted import CUT, HINTS, ScriptedEngine, context, problem

from sage_bench.backends.controls import DAPO, DrGRPO, GRPOMore, RandomReward
from sage_bench.backends.hint import HINT
from sage_bench.backends.luffy import LUFFY
from sage_bench.backends.oar import OARG, OARP
from sage_bench.backends.oar.saliency import Saliency
from sage_bench.backends.sage import SAGE
from sage_bench.backends.scaf_grpo import ScafGRPO
from sage_bench.backends.sgpo import SGPO
from sage_bench.backends.sgpo.steps import logistic_reward
from sage_bench.methods.driver import collect
from sage_bench.types import Kind, Sample
from sage_bench.utils.errors import UsageError

REFERENCE = "3+4=7\n7*2=14\n14-2=12\n\\boxed{12}"
STEPPED = dict(question="3+4, twice, less 2", answer="12", solution=REFERENCE)


def say(renderer, *texts: str, where: str | None = None, right: str = "42") -> ScriptedEngine:
    """Sample k says texts[k]; where a prompt contains `where`, the first sample is right."""
    return ScriptedEngine(
        renderer.tokenizer,
        lambda prompt, k: right if where and where in prompt and k == 0 else texts[k % len(texts)],
    )


def roll(method, engine, *problems):
    return collect(method, problems or [problem()], engine)


def text(renderer, tokens) -> str:
    return renderer.tokenizer.decode(list(tokens))


# ---- SAGE, all levels at once -------------------------------------------------------------------
@pytest.mark.parametrize("level", [1, 2, 3])
def test_speculative_probing_finds_what_sequential_probing_finds_in_two_more_rounds(
    renderer, level
):
    solves = ["weak", "medium", "strong"][level - 1]

    def reply(prompt, k):
        if "tutor" in prompt:
            return HINTS
        return "42" if k == 0 and solves in prompt else "no"

    engine = ScriptedEngine(renderer.tokenizer, reply)
    one, all_ = (
        roll(SAGE(context(renderer), group_size=2, probe=probe), engine)[0]
        for probe in ("sequential", "speculative")
    )
    assert one.group.level == all_.group.level == level
    assert torch.equal(one.group.rewards, all_.group.rewards)
    assert (one.usage.rounds, all_.usage.rounds) == (1 + 2 * level, 3)
    assert all_.usage.rollouts == 8
    assert one.usage.rollouts == 2 + 2 * level


# ---- SGPO ---------------------------------------------------------------------------------------
def test_sgpo_grades_all_wrong_groups_by_their_first_wrong_step(renderer):
    engine = say(renderer, "3+4=8\n8*2=16\n\\boxed{14}", "3+4=7\n7*2=15\n15-2=13\n\\boxed{13}")
    (item,) = roll(
        SGPO(context(renderer), group_size=2, judge="reference"), engine, problem(**STEPPED)
    )
    assert item.group.rewards.tolist() == [0, 0]
    assert item.group.notes["trajectory"] == {
        0: 0.0,
        1: 0.25,
    }
    assert item.group.scores.tolist() == pytest.approx(
        [logistic_reward(0.0, 10, 0.5), logistic_reward(0.25, 10, 0.5)], abs=1e-6
    )
    assert (item.rows[0].advantage < 0).all()
    assert (item.rows[1].advantage > 0).all()


@pytest.mark.parametrize(("scope", "judged"), [("all_negative", 0), ("all", 1)])
def test_sgpo_scope_decides_about_groups_with_a_success(renderer, scope, judged):
    ctx = context(renderer)
    (item,) = roll(
        SGPO(ctx, group_size=2, judge="reference", scope=scope),
        say(renderer, "12", "3+4=8"),
        problem(**STEPPED),
    )
    assert ctx.events["p"]["judged"] == judged
    assert (item.group.scores is not None) == bool(judged)
    if judged:
        assert item.group.scores[0] == 1
        assert 0 < item.group.scores[1] < 0.1


@pytest.mark.parametrize(
    ("switches", "progress", "epoch", "judged"),
    [
        ({"judge_share": 0.25}, 0.2, 9, True),
        ({"judge_share": 0.25}, 0.25, 1, False),
        ({"judge_epochs": 3}, 0.9, 3, True),
        ({"judge_epochs": 3}, 0.0, 4, False),
    ],
)
def test_sgpo_judges_only_while_its_phase_lasts(renderer, switches, progress, epoch, judged):
    ctx = context(renderer)
    ctx.progress, ctx.epoch = progress, epoch
    (item,) = roll(
        SGPO(ctx, group_size=2, judge="reference", **switches),
        say(renderer, "3+4=8", "3+4=7"),
        problem(**STEPPED),
    )
    assert (item.group.scores is not None) is judged


def graded(renderer, *said, solution=STEPPED["solution"], **switches):
    """(scores, trajectory notes, events) of an all-wrong group, judged by the reference."""
    ctx = context(renderer)
    method = SGPO(ctx, group_size=len(said), judge="reference", reward="raw", **switches)
    (item,) = roll(method, say(renderer, *said), problem(**{**STEPPED, "solution": solution}))
    assert item.group.rewards.tolist() == [0.0] * len(said)
    return item.group.scores.tolist(), item.group.notes["trajectory"], ctx.events["p"]


def test_a_finished_wrong_response_without_a_found_error_went_wrong_in_its_last_step(renderer):
    """The judge cannot see what is wrong with words; only a response that was cut may be right so
    far."""
    words = "We think about it.\nWe go on with it.\nWe stop here."
    scores, _, _ = graded(renderer, words, words + CUT)
    assert scores == pytest.approx([2 / 3, 1.0])


def test_with_the_references_steps_as_denominator_leaving_steps_out_earns_nothing(renderer):
    short, long = "3+4=7\n7*2=15", "3+4=7\n7*2=14\n14-2=13\n\\boxed{13}"
    own, _, _ = graded(renderer, short, long)
    reference, _, _ = graded(renderer, short, long, denominator="reference")
    assert own == pytest.approx([1 / 2, 2 / 4])
    assert reference == pytest.approx([1 / 4, 2 / 4])  # the reference has four steps


def test_without_a_solution_the_denominator_is_the_responses_own(renderer):
    said = ("3+4=7\nso \\boxed{9}", "\\boxed{8}")
    own = graded(renderer, *said, solution=None)
    assert graded(renderer, *said, solution=None, denominator="reference") == own


def test_scores_that_hardly_differ_are_no_signal(renderer):
    said = ("3+4=8\n" + "and on and on\n" * 20, "3+4=7\n7*2=15\n" + "and on and on\n" * 20)
    near, trajectory, events = graded(renderer, *said)
    assert 0 < abs(trajectory[0] - trajectory[1]) < 0.05
    assert near[0] == near[1]
    assert events["scores_too_close"] == 1
    far, _, events = graded(renderer, *said, min_spread=0.0)
    assert far[0] != far[1]
    assert not events["scores_too_close"]


def test_sgpo_never_gives_one_sample_a_default_beside_judged_ones(renderer):
    """The policy judges: one verdict of the group cannot be read, so the group stays as the
    verifier left it."""

    def speak(prompt, k):
        if "grade the steps" not in prompt:
            return ("first try", "second try")[k]
        return '{"first_error": 1}' if "first try" in prompt else "no verdict"

    ctx = context(renderer)
    (item,) = roll(
        SGPO(ctx, group_size=2, judge="policy"), ScriptedEngine(renderer.tokenizer, speak)
    )
    assert item.group.scores is None
    assert ctx.events["p"]["judge_failed"] == 1
    assert all((r.advantage == 0).all() for r in item.rows)
    # the unreadable one was asked for once more
    assert item.usage.judge_calls == 3
    assert ctx.events["p"]["judge_unparsable"] == 1


def test_sgpo_unknown_judge_and_option_are_named(renderer):
    with pytest.raises(UsageError, match="did you mean `reference`"):
        SGPO(context(renderer), judge="referense")
    with pytest.raises(UsageError, match=r"method\.judge_options"):
        SGPO(context(renderer), judge="openai", judge_options={"basurl": "x"})


# ---- HINT ---------------------------------------------------------------------------------------
def test_hint_replaces_the_whole_group_and_trains_it_without_the_hint(renderer):
    ctx = context(renderer)
    (item,) = roll(
        HINT(ctx, group_size=2),
        say(renderer, "no", where="carry"),
        problem(meta_hint="mind the carry"),
    )
    plain = ctx.prompt(problem())
    assert item.group.level == 1
    assert item.group.solved
    assert item.usage.rollouts == 4
    assert "mind the carry" in text(renderer, item.group.prompt)
    assert all(r.prompt == plain and r.affinity == 1.0 and r.old_logp is None for r in item.rows)


def test_hint_leaves_solved_groups_alone_and_keeps_failed_ones_without_a_hint(renderer):
    (solved,) = roll(
        HINT(context(renderer), group_size=2), say(renderer, "42", "no"), problem(meta_hint="x")
    )
    assert solved.group.level == 0
    assert solved.usage.rollouts == 2
    assert solved.rows[0].affinity == 0
    ctx = context(renderer)
    (item,) = roll(HINT(ctx, group_size=2), say(renderer, "no"))
    assert item.group.level == 0
    assert ctx.events["p"]["hint_failed"] == 1


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        ("it is 42", "hint_leak"),
        ("think of 17", "hint_new_numbers"),
        ("first take one apple and then take another apple", "hint_copies_solution"),
    ],
)
def test_hint_refuses_hints_that_leak(renderer, hint, reason):
    ctx = context(renderer)
    data = problem(
        meta_hint=hint, solution="first take one apple and then take another apple, that is all"
    )
    (item,) = roll(HINT(ctx, group_size=2), say(renderer, "no"), data)
    assert item.group.level == 0
    assert ctx.events["p"][reason] == 1
    (item,) = roll(
        HINT(context(renderer), group_size=2, leak_check=False), say(renderer, "no"), data
    )
    assert item.group.level == 1


def test_hint_can_be_written_by_the_policy(renderer):
    def reply(prompt, k):
        if "teacher" in prompt:
            return "look for symmetry"
        return "42" if "symmetry" in prompt and k == 0 else "no"

    engine = ScriptedEngine(renderer.tokenizer, reply)
    (item,) = roll(HINT(context(renderer), group_size=2, hint_source="policy"), engine)
    assert item.group.level == 1
    assert item.group.notes["hint"] == "look for symmetry"
    assert item.usage.hint_calls == 1


# ---- OAR ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "how", "outcome"), [(OARP, "perturb", "last"), (OARG, "gradient", "answer_mean")]
)
def test_oar_spreads_the_advantage_over_the_reasoning_and_keeps_its_mass(
    renderer, method, how, outcome
):
    engine = say(
        renderer, "one two three \\boxed{12}", "no box here", "one \\boxed{13}", right="12"
    )
    engine.say = lambda p, k: ["one two three \\boxed{12}", "no box here", "one \\boxed{13}"][k]
    ctx = context(renderer)
    ctx.grader.grade = lambda gold, texts: [
        type("V", (), {"correct": f"boxed{{{gold}}}" in t, "status": "ok"}) for t in texts
    ]
    (item,) = roll(method(ctx, group_size=3), engine, problem(answer="12"))
    asks = [a for a in engine.rounds[-1] if isinstance(a, Saliency)]
    assert len(asks) == 2
    assert all((a.how, a.outcome) == (how, outcome) for a in asks)
    assert ctx.events["p"]["no_answer_to_probe"] == 1
    assert text(renderer, asks[0].target) == "12"
    assert text(renderer, asks[0].tokens).startswith("one two three")
    scalar = [float(r.advantage.sum()) / len(r.tokens) for r in item.rows]
    assert scalar == pytest.approx(
        [1.4142, -0.7071, -0.7071], abs=1e-3
    )  # what GRPO would give every token
    n = len(asks[0].tokens)
    weighted = item.rows[0].advantage
    # the answer keeps weight 1
    assert weighted[0] < weighted[n - 1]
    assert torch.allclose(weighted[n:], torch.tensor(1.4142), atol=1e-3)
    assert torch.allclose(
        item.rows[1].advantage, item.rows[1].advantage[0]
    )  # no answer: weight 1 everywhere


@pytest.mark.parametrize("method", [OARP, OARG])
@pytest.mark.parametrize("word", ["\\boxed{42}", "no"])
def test_oar_spends_nothing_on_groups_without_an_advantage(renderer, method, word):
    engine = say(renderer, word)
    (item,) = roll(method(context(renderer), group_size=2), engine)
    assert len(engine.rounds) == 1
    assert "weights" not in item.group.notes


def test_oar_can_probe_the_gold(renderer):
    engine = say(renderer, "42", "so \\boxed{13}")
    roll(OARG(context(renderer), group_size=2, probe="gold"), engine)
    (ask,) = [a for a in engine.rounds[-1] if isinstance(a, Saliency)]
    assert text(renderer, ask.target) == "42"


# ---- LUFFY --------------------------------------------------------------------------------------
def test_luffy_puts_the_trace_into_the_group(renderer):
    (item,) = roll(LUFFY(context(renderer), group_size=4), say(renderer, "no"), problem(trace="42"))
    assert item.usage.rollouts == 3
    assert [r.kind for r in item.rows] == [
        Kind.OFF,
        Kind.PG,
        Kind.PG,
        Kind.PG,
    ]
    assert text(renderer, item.rows[0].tokens) == "42<|end|>"
    assert [float(r.advantage[0]) for r in item.rows] == pytest.approx(
        [0.75, -0.25, -0.25, -0.25]
    )  # mean only


def test_luffy_without_a_trace_is_grpo_and_says_so(renderer):
    ctx = context(renderer)
    (item,) = roll(LUFFY(ctx, group_size=4), say(renderer, "42", "no"))
    assert item.usage.rollouts == 4
    assert ctx.events["p"]["no_trace"] == 1
    assert all(r.kind is Kind.PG for r in item.rows)


def test_luffy_grades_the_trace_unless_told_that_it_is_right(renderer):
    wrong = problem(trace="43")
    (graded,) = roll(LUFFY(context(renderer), group_size=2), say(renderer, "no"), wrong)
    (trusted,) = roll(
        LUFFY(context(renderer), group_size=2, grade_trace=False), say(renderer, "no"), wrong
    )
    assert graded.rows[0].advantage[0] == 0
    assert trusted.rows[0].advantage[0] == 0.5


# ---- Scaf-GRPO -----
SCAFFOLD = dict(knowledge=["k1", "k2"], planning=["p1"], solution_parts=["s1", "s2"])


def test_scaf_ladder_is_cumulative_and_skips_repeats(renderer):
    method = ScafGRPO(context(renderer))
    ladder = method.ladder(problem(**SCAFFOLD))
    assert ladder == [
        (1, "Knowledge Hints: k1"),
        (2, "Knowledge Hints: k1 k2"),
        (5, "Planning Hints: p1"),
        (9, "Solution Hints: s1"),
        (10, "Solution Hints: s1 s2"),
    ]
    released = ScafGRPO(context(renderer), variant="code").ladder(problem(**SCAFFOLD))
    assert [level for level, _ in released] == [1, 2, 5, 6]


@pytest.mark.parametrize("search", ["sequential", "wave", "parallel"])
def test_scaf_replaces_one_failure_by_the_least_helped_success(renderer, search):
    ctx = context(renderer)
    engine = ScriptedEngine(
        renderer.tokenizer, lambda p, k: "42" if "s1" in p or "p1" in p else "no"
    )
    (item,) = roll(ScafGRPO(ctx, group_size=4, search=search), engine, problem(**SCAFFOLD))
    i = item.group.notes["replaced"]
    assert item.group.level == 5
    assert item.group.rewards.tolist() == [float(k == i) for k in range(4)]
    assert item.usage.rollouts == 4 + {"sequential": 3, "wave": 3, "parallel": 5}[search]
    plain = ctx.prompt(problem())
    assert [r.prompt == plain for r in item.rows] == [k != i for k in range(4)]
    assert "p1" in text(renderer, item.rows[i].prompt)
    assert item.rows[i].advantage[0] > 0 > item.rows[(i + 1) % 4].advantage[0]


def test_scaf_is_plain_grpo_while_exempt_and_without_a_scaffold(renderer):
    ctx = context(renderer)
    ctx.step, ctx.steps = 3, 30  # 0.15 of 30 is 4.5: four steps are exempt
    (item,) = roll(ScafGRPO(ctx, group_size=2), say(renderer, "no"), problem(**SCAFFOLD))
    assert item.usage.rollouts == 2
    ctx.step = 4
    (item,) = roll(ScafGRPO(ctx, group_size=2), say(renderer, "no"))
    assert item.usage.rollouts == 2
    assert ctx.events["p"]["no_scaffold"] == 1
    ctx.step = 50
    (item,) = roll(
        ScafGRPO(ctx, group_size=2, variant="code"), say(renderer, "no"), problem(**SCAFFOLD)
    )
    assert item.usage.rollouts == 2 + 4


# ---- controls -----------------------------------------------------------------------------------
def test_random_reward_ignores_the_verifier_and_repeats_itself(renderer):
    scores = [
        roll(RandomReward(context(renderer), group_size=64), say(renderer, "42"))[0].group.scores
        for _ in range(2)
    ]
    assert torch.equal(*scores)
    assert 16 < scores[0].sum() < 48
    (never,) = roll(RandomReward(context(renderer), group_size=8, chance=0.0), say(renderer, "42"))
    assert never.group.scores.sum() == 0
    assert never.group.rewards.sum() == 8


def test_grpo_more_stops_at_the_rollouts_of_the_run_it_is_compared_with(renderer, tmp_path):
    rows = [{"step": s, "rollouts": 8 + s} for s in range(4)]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert GRPOMore(context(renderer), like=str(tmp_path)).rollout_budget() == 38
    assert GRPOMore(context(renderer), like=str(tmp_path), like_steps=2).rollout_budget() == 17
    assert GRPOMore(context(renderer)).rollout_budget() is None
    with pytest.raises(UsageError, match="no training run"):
        GRPOMore(context(renderer), like=str(tmp_path / "none")).rollout_budget()


def test_dapo_keeps_groups_with_a_signal_only(renderer):
    method = DAPO(context(renderer), group_size=2, refills=5)
    mixed, wrong = (
        roll(method, say(renderer, *texts))[0].group for texts in (("42", "no"), ("no", "no"))
    )
    assert method.keep(mixed)
    assert not method.keep(wrong)
    assert method.refills == 5


def test_dr_grpo_divides_neither_by_the_deviation_nor_by_the_length(renderer):
    (item,) = roll(DrGRPO(context(renderer), group_size=4), say(renderer, "42", "no", "no", "no"))
    assert [float(r.advantage[0]) for r in item.rows] == [
        0.75,
        -0.25,
        -0.25,
        -0.25,
    ]
    assert DrGRPO.objective["aggregation"] == "constant"


def test_every_engine_request_is_one_the_method_declares(renderer):
    """What a method asks of the engine is what `needs` says: the check before the first step stands
    on it."""
    engine = say(renderer, "so \\boxed{13}", "42")
    roll(OARG(context(renderer), group_size=2), engine)
    assert {type(a) for r in engine.rounds for a in r} == {Sample, Saliency}
    assert OARG.needs == {
        "sample",
        "policy",
    }


def test_an_all_wrong_group_whose_scores_hardly_differ_gives_no_signal(renderer):
    """Shares of right steps of 0.20 and 0.165 would become advantages of +1 and -1."""
    method = SGPO(context(renderer), group_size=2, judge="reference")
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "no way. " * 3)
    (item,) = collect(method, [problem()], engine)
    group = item.group
    steps = [["s"] * 200, ["s"] * 200]
    method.ctx.events.clear()
    method.grade(group, [0, 1], steps, [41, 34])
    assert group.scores.tolist() == pytest.approx([group.scores[0].item()] * 2)
    assert method.ctx.events["p"]["scores_too_close"] == 1
    method.grade(group, [0, 1], steps, [41, 21])
    assert group.scores[0] > group.scores[1]
