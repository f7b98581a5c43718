"""Prompts: what the harness asks, what backends bring, what a file replaces."""

from __future__ import annotations

import pytest
from scripted import context, problem

from sage_bench.backends.grpo import GRPO
from sage_bench.backends.hint.prompts import meta_hint_messages
from sage_bench.backends.sage.hints import hint_messages
from sage_bench.generation.prompts import (
    HINT_LEAD,
    SYSTEM,
    TEXTS,
    WORDINGS,
    Messages,
    Prompts,
    register_prompt,
    register_wording,
)
from sage_bench.judges.base import judge_messages
from sage_bench.judges.registry import JUDGES
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.errors import SageBenchError, UsageError

BACKENDS.names()
JUDGES.names()


def test_a_prompt_may_have_a_system_message_of_its_own(renderer):
    ctx = context(renderer)
    text = renderer.tokenizer.decode(list(ctx.prompt(problem(), system="Be brief.")))
    assert "Be brief." in text
    assert SYSTEM not in text


def test_a_prefix_stands_behind_the_assistants_header(renderer):
    ctx = context(renderer)
    plain, begun = ctx.prompt(problem()), ctx.prompt(problem(), prefix="First, 7")
    decode = renderer.tokenizer.decode
    assert decode(list(begun)) == decode(list(plain)) + "First, 7"


def test_without_them_a_prompt_is_what_it_was(renderer):
    ctx = context(renderer)
    assert ctx.prompt(problem(), "mind the carry") == renderer.ids(
        renderer.text(SYSTEM, f"1+1\n{HINT_LEAD}\nmind the carry")
    )


def test_a_hint_in_the_system_message_follows_the_methods_own(renderer):
    system, _ = renderer.answer_user("q", "h", position="system", system="Be brief.")
    assert system == f"Be brief.\n{HINT_LEAD}\nh"


def test_a_file_sets_the_keys_of_the_harness_of_backends_and_of_judges(tmp_path):
    file = tmp_path / "prompts.yaml"
    keys = {
        "system": "S",
        "question": "Q {question}",
        "hinted": "H {question} {hint}",
        "hint_system": "HS",
        "hint_user": "HU {question} {solution}",
        "meta_hint_system": "MS",
        "judge_system": "JS",
        "judge_user": "JU {question} {solution} {steps}",
    }
    file.write_text("".join(f"{key}: '{text}'\n" for key, text in keys.items()))
    messages = Messages(Prompts.from_file(file))
    assert messages.answer_user("x") == ("S", "Q x")
    assert messages.answer_user("x", "y") == ("S", "H x y")
    assert hint_messages(messages, " x", "y ") == ("HS", "HU x y")
    assert meta_hint_messages(messages, "x", "y") == ("MS", "HU x y")
    assert judge_messages(messages, "x", "y", ["a", "b"]) == ("JS", "JU x y [1] a\n[2] b")


def test_every_key_of_before_is_known():
    assert {
        "system",
        "question",
        "hinted",
        "hint_system",
        "hint_user",
        "meta_hint_system",
        "judge_system",
        "judge_user",
    } <= set(Prompts.keys())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hint_sytem: x", "did you mean `hint_system`"),
        ("judge_user: 3", r"judge_user: .*valid string"),
        ("texts: {hint_system: x}", "texts"),
    ],
)
def test_a_wrong_key_or_text_names_file_and_key(text, message, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        Prompts.from_file(file)
    assert str(file) in str(error.value)


def test_a_text_is_registered_once(monkeypatch):
    monkeypatch.setitem(TEXTS, "doubt", TEXTS["hint_user"])
    assert register_prompt("doubt", TEXTS["hint_user"].text, "the same again") == "doubt"
    with pytest.raises(SageBenchError, match="another text"):
        register_prompt("doubt", "something else", "no")
    with pytest.raises(SageBenchError, match="another text"):
        register_prompt("system", "mine", "a key of the harness")


def test_a_wording_of_ones_own_becomes_a_value_of_the_switch(monkeypatch, renderer):
    monkeypatch.setitem(WORDINGS, "stern", "{question}\nDo: {hint}")
    config = make_config(GRPO, {"hint_lead": "stern"})
    assert renderer.answer_user("q", "h", lead=config.hint_lead)[1] == "q\nDo: h"
    with pytest.raises(SageBenchError, match="exists"):
        register_wording("stern", "{hint}")


def test_an_unknown_wording_is_refused_with_the_closest():
    with pytest.raises(UsageError, match="unknown wording `papr`; did you mean `paper`"):
        make_config(GRPO, {"hint_lead": "papr"})


def test_a_key_that_nobody_registered_is_named():
    with pytest.raises(SageBenchError, match="no prompt is registered as `dream`"):
        Messages().fill("dream")
