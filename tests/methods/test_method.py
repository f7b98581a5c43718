"""The driver: rounds, keys, bookkeeping; and switches."""

from __future__ import annotations

import pytest
from scripted import HINTS, ScriptedEngine, context, problem

from sage_bench.backends.grpo import GRPO
from sage_bench.backends.sage import SAGE, SAGEConfig, write_hints
from sage_bench.engines.base import check_needs
from sage_bench.methods.base import Method, make_config
from sage_bench.methods.driver import collect, drive
from sage_bench.types import Sample
from sage_bench.utils.errors import UsageError


def writes_hints(prompt: str) -> bool:
    return "tutor" in prompt


def test_a_round_holds_only_the_prompts_that_still_fail(renderer):
    def say(prompt, k):
        if writes_hints(prompt):
            return HINTS
        return "42" if "easy" in prompt or "strong" in prompt else "no"

    engine = ScriptedEngine(renderer.tokenizer, say)
    problems = [problem("a", "easy one"), problem("b", "hard one"), problem("c", "easy too")]
    items = collect(SAGE(context(renderer), group_size=2, hint_calls="one"), problems, engine)
    assert [i.group.level for i in items] == [0, 3, 0]
    assert [[a.purpose for a in r] for r in engine.rounds] == [
        ["rollout"] * 3,
        ["hint"],
        ["rollout"],
        ["rollout"],
        ["rollout"],
    ]
    assert [i.usage.rollouts for i in items] == [2, 8, 2]
    assert items[1].usage.hint_calls == 1
    assert items[1].usage.rounds == 5


def test_keys_do_not_depend_on_the_batch(renderer):
    def keys(problems):
        engine = ScriptedEngine(
            renderer.tokenizer, lambda prompt, k: HINTS if writes_hints(prompt) else "no"
        )
        collect(SAGE(context(renderer), group_size=1), problems, engine, step=7)
        found: dict[str, list] = {}
        for ask in (a for r in engine.rounds for a in r):
            found.setdefault(ask.key[1], []).append(ask.key)
        return found

    a, b = problem("a", "first"), problem("b", "second")
    together, alone = keys([a, b]), keys([b])
    assert together["b"] == alone["b"]
    assert together["b"][0] == (7, "b", 0)
    assert len(set(together["a"])) == len(together["a"])


def test_order_of_problems_is_kept_whatever_ends_first(renderer):
    def reply(prompt, k):
        if writes_hints(prompt):
            return HINTS
        return "42" if "2" in prompt else "no"

    engine = ScriptedEngine(renderer.tokenizer, reply)
    problems = [problem(str(i), f"q{i}") for i in range(4)]
    assert [
        i.group.problem.uid
        for i in collect(SAGE(context(renderer), group_size=1), problems, engine)
    ] == ["0", "1", "2", "3"]


def test_an_empty_batch_ends_at_once(renderer):
    engine = ScriptedEngine(renderer.tokenizer, lambda p, k: "")
    assert collect(GRPO(context(renderer)), [], engine) == []
    assert engine.rounds == []


def test_unknown_switch_names_key_and_suggests(renderer):
    with pytest.raises(UsageError, match=r"method\.group_sise: .*did you mean `group_size`"):
        make_config(GRPO, {"group_sise": 4})


def test_variant_code_turns_every_disputed_switch_unless_it_is_set_by_itself():
    paper, code = SAGEConfig(), SAGEConfig(variant="code")
    assert (paper.std_ddof, paper.hint_calls, paper.hint_temperature, paper.hint_lead) == (
        0,
        "per_level",
        1.0,
        "paper",
    )
    assert (code.std_ddof, code.hint_calls, code.hint_temperature, code.hint_lead) == (
        1,
        "one",
        0.0,
        "code",
    )
    assert SAGEConfig(variant="code", std_ddof=0).std_ddof == 0


def test_an_engine_that_cannot_answer_is_refused_before_the_first_step(renderer):
    class NeedsMore(Method):
        needs = frozenset({"sample", "attention_maps"})

    with pytest.raises(UsageError, match="attention_maps"):
        check_needs(
            NeedsMore(context(renderer)),
            ScriptedEngine(renderer.tokenizer, lambda p, k: ""),
            "scripted",
        )


def test_only_the_level_that_is_needed_is_written_judged_and_asked_for_again(renderer):
    said = iter(
        [
            '{"level_1": "weak", "level_2"',
            '{"level_1": "it is 42", "level_2"',
            '{"level_1": "better", "level_2"',
            '{"level_1": "it is 42", "level_2": "fine", "level_3"',
        ]
    )
    engine, ctx = ScriptedEngine(renderer.tokenizer, lambda p, k: next(said)), context(renderer)
    written, _ = drive(
        [write_hints(ctx, problem(), only=1), write_hints(ctx, problem(), only=1)],
        [problem("a"), problem("b")],
        engine,
    )
    assert written == [["weak", None, None], ["better", None, None]]
    assert ctx.events["p"] == {"hint_leak": 1}
    assert all(a.params.stop == ('"level_2"',) for r in engine.rounds for a in r)
    (second,), _ = drive([write_hints(ctx, problem(), only=2)], [problem()], engine)
    assert second == [None, "fine", None]
    assert engine.rounds[-1][0].params.stop == ('"level_3"',)
    assert ctx.events["p"]["hint_leak"] == 1


def test_hints_are_a_generator_that_records_why_there_are_none(renderer):
    ctx = context(renderer)

    def hints_of(p, texts):
        said = iter(texts)
        program = write_hints(ctx, p)
        try:
            asks = next(program)
            while True:
                assert isinstance(asks[0], Sample)
                assert asks[0].purpose == "hint"
                engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: next(said))
                asks = program.send(engine.run(asks))
        except StopIteration as stop:
            return stop.value

    assert hints_of(problem("ok"), [HINTS]) == ["weak", "medium", "strong"]
    assert hints_of(problem("none", solution=None), []) == []
    assert ctx.events["none"]["hint_no_solution"] == 1
    assert hints_of(problem("garbage"), ["nonsense", "more"]) == []
    assert ctx.events["garbage"] == {
        "hint_unparsable": 2,
        "hint_failed": 1,
    }
    leaky = '{"level_1": "weak", "level_2": "medium", "level_3": "it is 42"}'
    assert hints_of(problem("leak"), [leaky, HINTS]) == ["weak", "medium", "strong"]
    assert ctx.events["leak"]["hint_leak"] == 1
    assert hints_of(problem("leaks"), [leaky, leaky]) == ["weak", "medium", None]
    assert ctx.events["leaks"]["hint_leak"] == 2
    assert hints_of(problem("long", question="1+" * 400), []) == []
    assert ctx.events["long"]["hint_prompt_too_long"] == 1
