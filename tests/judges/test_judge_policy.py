"""A model as judge, and what SGPO makes of judgements."""

from __future__ import annotations

import torch
from scripted import CUT, ScriptedEngine, context, problem

from sage_bench.backends.sgpo import SGPO
from sage_bench.judges.base import NotAsked, judge_messages, reference_text
from sage_bench.judges.policy import PolicyJudge
from sage_bench.judges.reference import Reference
from sage_bench.methods.driver import collect, drive


def test_policy_judge_asks_again_for_what_it_cannot_read_and_never_guesses(renderer):
    said = {0: '{"first_error": 2}', 1: "hm", 2: '{"first_error": null}'}
    asked = []

    def say(prompt, k):
        asked.append(prompt)
        return (
            said[0]
            if "alpha" in prompt
            else said[2]
            if "beta" in prompt and len(asked) > 3
            else said[1]
        )

    ctx = context(renderer, max_prompt_tokens=2000)
    engine = ScriptedEngine(renderer.tokenizer, say)
    responses = [["alpha", "b"], ["beta", "c"], ["gamma"]]
    (votes,), (usage,) = drive(
        [PolicyJudge(max_tokens=64).judge(ctx, problem(), responses, 1)], [problem()], engine
    )
    assert votes == [[2], [None], []]
    assert ctx.events["p"] == {"judge_unparsable": 1}
    first, second = engine.rounds[:2]
    assert [a.params.temperature for a in first] == [0.0] * 3
    assert [a.params.temperature for a in second] == [0.6] * 2
    assert usage.judge_calls == 5


def test_policy_judge_leaves_out_what_does_not_fit(renderer):
    ctx = context(renderer, max_prompt_tokens=400)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: '{"first_error": 1}')
    (votes,), _ = drive(
        [PolicyJudge().judge(ctx, problem(), [["ok"], ["1234567890" * 60]], 2)], [problem()], engine
    )
    assert votes == [[], []] or votes == [[1, 1], []]
    assert ctx.events["p"]["judge_prompt_too_long"] == sum(not v for v in votes)


def test_a_second_model_draws_something_else_when_asked_again(packaged):
    from sage_bench.generation.samplers.hf import Hf
    from sage_bench.types import Sample, Sampling

    model = Hf(packaged)
    prompt = model.renderer.answer("3*9+6")
    one, same, again = (
        Sample(prompt, 4, Sampling(1.0, 1.0, 12), purpose="judge", key=("judge", n))
        for n in (0, 0, 1)
    )
    a, b, c = model.answer([one, same, again])
    assert [x.tokens for x in a] == [x.tokens for x in b] != [x.tokens for x in c]


class Says:
    """A judge that answers from a list; [] = no valid vote."""

    def __init__(self, *votes):
        self.votes, self.asked = list(votes), []

    def judge(self, ctx, prob, responses, votes):
        self.asked += responses
        return self.votes[: len(responses)]
        yield


def test_sgpo_scores_a_whole_group_or_none_of_it(renderer):
    texts = [
        "3*4=1 and more. Then so on.",
        "one step only here" + CUT,  # cut off, so it may be without a wrong step
        "3*4=2 and more. Then that is it.",
    ]
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: ["", *texts][k])
    for votes, scored in (([[1], [None], [2]], True), ([[1], [], [2]], False)):
        ctx = context(renderer)
        method = SGPO(ctx, group_size=4, judge="reference", judge_share=1.0, reward="raw")
        method.judge = Says(*votes)
        (item,) = collect(method, [problem(answer="7")], engine)
        # the empty response is worth 0 and needs no judge
        assert len(method.judge.asked) == 3
        assert all(method.judge.asked)
        if scored:
            assert item.group.scores.tolist() == [0.0, 0.0, 1.0, 0.5]
            assert ctx.events["p"] == {"judged": 3}
        else:
            assert item.group.scores is None
            assert ctx.events["p"] == {"judge_failed": 1}
            assert all((r.advantage == 0).all() for r in item.rows)


# --- M4: room for long responses --------------------------------------------------------------
def test_m4_a_prompt_may_fill_the_context_but_for_the_verdict(renderer):
    judge = PolicyJudge(max_tokens=64)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: '{"first_error": 1}')
    response = ["1234567890" * 60]
    long = len(
        renderer.ids(
            renderer.text(
                *judge_messages(renderer, problem().question, reference_text(problem()), response)
            )
        )
    )
    for room, votes in ((long + 64, [1]), (long + 63, [])):
        # far more than a question may have
        ctx = context(renderer, max_prompt_tokens=100, context_tokens=room)
        (said,), _ = drive([judge.judge(ctx, problem(), [response], 1)], [problem()], engine)
        assert said == [votes]
        assert ctx.events["p"]["judge_prompt_too_long"] == (not votes)


class Refuses(Says):
    """It cannot be asked about some of the responses."""

    def judge(self, ctx, prob, responses, votes):
        self.asked += responses
        return [NotAsked() if v is None else v for v in self.votes[: len(responses)]]
        yield


def sgpo(renderer, ctx, texts, votes):
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: texts[k])
    method = SGPO(ctx, group_size=len(texts), judge="reference", judge_share=1.0, reward="raw")
    method.judge = Refuses(*votes)
    (item,) = collect(method, [problem(answer="7")], engine)
    return item


TEXTS = [
    "3*4=1 and more. Then so on.",
    "one step only here",
    "3*4=2 and more. Then that is it.",
    "3*4=5 and more. Then what.",
]


def test_m4_a_response_too_long_for_the_judge_is_left_out_and_the_others_are_graded(renderer):
    ctx = context(renderer)
    item = sgpo(renderer, ctx, TEXTS, [[1], None, [2], [None]])
    without = sgpo(renderer, context(renderer), [TEXTS[0], *TEXTS[2:]], [[1], [2], [None]])
    assert ctx.events["p"] == {"judged": 3}
    assert item.group.notes["left_out"] == [1]
    assert (item.rows[1].advantage == 0).all()
    assert item.rows[1].tokens == item.group.completions[1].tokens
    others = [item.rows[i] for i in (0, 2, 3)]
    assert [r.tokens for r in others] == [r.tokens for r in without.rows]
    for ours, theirs in zip(others, without.rows, strict=True):
        assert torch.equal(ours.advantage, theirs.advantage)
    assert any((r.advantage != 0).any() for r in others)


def test_m4_one_response_that_is_left_is_not_a_group(renderer):
    ctx = context(renderer)
    item = sgpo(renderer, ctx, TEXTS[:2], [[1], None])
    assert ctx.events["p"] == {"judge_failed": 1}
    assert item.group.scores is None


def test_m4_a_call_that_failed_still_leaves_the_group_as_it_was(renderer):
    ctx = context(renderer)
    item = sgpo(renderer, ctx, TEXTS, [[1], None, [], [2]])
    assert ctx.events["p"] == {"judge_failed": 1}
    assert item.group.scores is None


def test_a_judge_says_whether_it_needs_a_policy(packaged):
    assert PolicyJudge().needs == {"sample"}
    assert PolicyJudge(model=packaged).needs == frozenset()
    assert Reference().needs == frozenset()
