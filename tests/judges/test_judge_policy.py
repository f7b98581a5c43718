"""A model as judge, and what SGPO makes of judgements."""

from __future__ import annotations

from scripted import CUT, ScriptedEngine, context, problem

from sage_bench.backends.sgpo import SGPO
from sage_bench.judges.policy import PolicyJudge
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
