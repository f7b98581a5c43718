"""GRPO, SAGE, SAGE-light and SFT: what is sampled, what is credited, under which prompt."""

from __future__ import annotations

import pytest
import torch
from scripted import HINTS, ScriptedEngine, context, problem

from sage_bench.backends.grpo import GRPO
from sage_bench.backends.sage import SAGE, SAGELight
from sage_bench.backends.sft import SFT
from sage_bench.methods.driver import collect, drive
from sage_bench.types import Kind


def policy(renderer, solves_at: str | None = None, hints: str = HINTS):
    """Writes `hints`; answers right (first sample only) when `solves_at` stands in the prompt."""

    def say(prompt, k):
        if "tutor" in prompt:
            return hints
        return "42" if k == 0 and solves_at is not None and solves_at in prompt else "no"

    return ScriptedEngine(renderer.tokenizer, say)


def roll(method, engine, *problems):
    return collect(method, problems or [problem()], engine)


def test_grpo_credits_every_token_of_a_completion_alike(renderer):
    (item,) = roll(GRPO(context(renderer), group_size=4), policy(renderer, "1+1"))
    assert item.group.rewards.tolist() == [1, 0, 0, 0]
    for row, advantage in zip(item.rows, [1.7320, -0.5773, -0.5773, -0.5773], strict=True):
        assert row.advantage.shape == (len(row.tokens),)
        assert torch.allclose(row.advantage, torch.tensor(advantage), atol=1e-3)
        assert row.kind is Kind.PG
        assert row.prompt == item.group.prompt
        assert row.sampler_logp is not None


@pytest.mark.parametrize(
    ("solves_at", "level"), [("1+1", 0), ("weak", 1), ("medium", 2), ("strong", 3)]
)
def test_sage_stops_at_the_first_level_that_solves(renderer, solves_at, level):
    (item,) = roll(SAGE(context(renderer), group_size=2), policy(renderer, solves_at))
    assert item.group.level == level
    assert item.group.solved
    # fresh hints at every level
    assert item.usage.rollouts == 2 * (level + 1)
    assert item.usage.hint_calls == level


def test_sage_trains_under_the_prompt_it_sampled_from_unless_the_ablation_is_on(renderer):
    plain = context(renderer).prompt(problem())
    (item,) = roll(SAGE(context(renderer), group_size=2), policy(renderer, "weak"))
    assert "weak" in renderer.tokenizer.decode(list(item.rows[0].prompt))
    assert item.rows[0].prompt == item.group.prompt
    (item,) = roll(
        SAGE(context(renderer), group_size=2, score_plain=True), policy(renderer, "weak")
    )
    assert item.rows[0].prompt == plain != item.group.prompt


@pytest.mark.parametrize(("keep", "level"), [("last", 3), ("plain", 0)])
def test_what_stays_in_the_batch_when_all_levels_fail(renderer, keep, level):
    (item,) = roll(SAGE(context(renderer), group_size=2, on_all_fail=keep), policy(renderer))
    assert item.group.level == level
    assert not item.group.solved
    # they still count in the denominator
    assert len(item.rows) == 2
    assert all((r.advantage == 0).all() for r in item.rows)


def test_sage_fixed_level_uses_that_level_only(renderer):
    engine = policy(renderer, "strong")
    (item,) = roll(SAGE(context(renderer), group_size=2, fixed_level=3), engine)
    assert item.group.level == 3
    assert item.usage.rollouts == 4


def test_sage_without_usable_hints_keeps_the_plain_group(renderer):
    ctx = context(renderer)
    (item,) = roll(SAGE(ctx, group_size=2), policy(renderer, hints="garbage"))
    assert item.group.level == 0
    assert item.usage.rollouts == 2
    assert ctx.events["p"]["hint_failed"] == 3
    (item,) = roll(SAGE(ctx, group_size=2, hint_calls="one"), policy(renderer, hints="garbage"))
    assert item.usage.hint_calls == 2  # one JSON, asked for once more; not again at every level


def test_a_hinted_prompt_over_the_limit_is_skipped_and_counted(renderer):
    long = '{"level_1": "%s", "level_2": "medium", "level_3": "strong"}' % ("7" * 200)
    ctx = context(renderer, max_prompt_tokens=180)
    (item,) = roll(
        SAGE(ctx, group_size=2, hint_calls="one"), policy(renderer, "medium", hints=long)
    )
    assert item.group.level == 2
    assert item.usage.rollouts == 4
    assert ctx.events["p"]["hinted_prompt_too_long"] == 1


def test_offline_hints_are_written_once_before_training_and_rotate_by_step(renderer):
    said = iter(f'{{"level_1": "weak{i}", "level_2": "m", "level_3": "s"}}' for i in range(99))

    def reply(prompt, k):
        if "tutor" in prompt:
            return next(said)
        return "42" if "weak1" in prompt and k == 0 else "no"

    engine = ScriptedEngine(renderer.tokenizer, reply)
    ctx = context(renderer)
    method = SAGE(ctx, group_size=2, hint_source="offline", offline_hints=2)
    (written,), _ = drive([method.prepare(problem())], [problem()], engine, step=-1)
    assert [w[0] for w in written] == ["weak0", "weak1"]
    method.prepared["p"] = written
    for step, level in ((1, 1), (2, 3)):  # step 1 takes the second hints, which solve at level 1
        ctx.step = step
        (item,) = roll(method, engine)
        assert item.group.level == level
        assert item.usage.hint_calls == 0
    assert SAGE(ctx).prepare(problem()) is None


def test_hints_can_come_from_the_data(renderer):
    (item,) = roll(
        SAGE(context(renderer), group_size=2, hint_source="data"),
        policy(renderer, "given"),
        problem(hints=["given", "x", "y"]),
    )
    assert item.group.level == 1
    assert item.usage.hint_calls == 0


@pytest.mark.parametrize(
    ("variant", "accuracies", "levels"),
    [
        ("paper", [0.0, 0.25, 0.375, 0.0, 0.0], [0, 1, 2, 2, 3]),  # up below .35, never down
        (
            "code",
            [0.0, 0.125, 0.25, 0.375, 0.5, 0.0],
            [0, 1, 1, 1, 0, 0],
        ),  # up at 0/8, stay at 1/8 and 2/8, down from 3/8
    ],
)
def test_sage_light_levels_follow_the_last_visit(renderer, variant, accuracies, levels):
    method, seen = SAGELight(context(renderer), variant=variant), []
    for accuracy in accuracies:
        seen.append(method.next_level("p"))
        method.level["p"], method.accuracy["p"] = seen[-1], accuracy
    assert seen == levels


def test_sage_light_rolls_once_a_visit_and_its_levels_survive_a_restart(renderer):
    engine, method = policy(renderer, "weak"), SAGELight(context(renderer), group_size=2)
    (first,) = roll(method, engine)
    assert (first.group.level, first.usage.rollouts, first.usage.hint_calls) == (0, 2, 0)
    later = SAGELight(context(renderer), group_size=2)
    later.load_state_dict(method.state_dict())
    (second,) = roll(later, engine)
    assert (second.group.level, second.usage.rollouts, second.usage.hint_calls) == (
        1,
        2,
        1,
    )
    assert second.group.solved


def test_sage_light_stores_the_level_that_was_applied_and_falls_back_to_old_hints(renderer):
    method = SAGELight(context(renderer), group_size=2, variant="code")
    method.level["p"], method.accuracy["p"] = 0, 0.0
    (item,) = roll(method, policy(renderer, hints="garbage"))
    # no hint could be had: the visit was un-hinted
    assert item.group.level == 0
    assert method.level["p"] == 0
    method.last_hints["p"] = ["old hint", None, None]
    (item,) = roll(method, policy(renderer, "old hint", hints="garbage"))
    assert item.group.level == 1
    assert item.group.solved


def test_sft_imitates_the_reference_and_samples_nothing(renderer):
    engine, ctx = policy(renderer), context(renderer)
    good, bare = roll(SFT(ctx), engine, problem(), problem("q", solution=None))
    assert engine.rounds == []
    assert good.rows[0].kind is Kind.CE
    assert ctx.events["q"]["no_solution"] == 1
    assert bare.rows == []
    assert renderer.tokenizer.decode(list(good.rows[0].tokens)) == "because<|end|>"
    assert (good.rows[0].advantage == 1).all()
    (item,) = roll(SFT(ctx, target="trace"), engine, problem(trace="a long trace"))
    assert renderer.tokenizer.decode(list(item.rows[0].tokens)) == "a long trace<|end|>"
