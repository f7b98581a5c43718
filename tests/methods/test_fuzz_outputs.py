"""Whatever a method yields, returns or credits: it trains, or it is a mistake that is named."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import ScriptedEngine, context, problem

from sage_bench.backends.grpo import GRPO
from sage_bench.methods.driver import Collected, collect
from sage_bench.methods.guard import MethodCrashError, MethodError

EXAMPLES = 150
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NUMBERS = st.floats(width=32) | st.integers(-3, 3)
TENSORS = st.lists(NUMBERS, max_size=5).map(torch.tensor) | st.just(torch.zeros(2, 3))
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(string.printable, max_size=4)
ANYTHING = st.recursive(
    PLAIN | TENSORS | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)
# what of a group and of a row may be anything
OF_A_GROUP = ("completions", "rewards", "scores", "prompts", "problem")
OF_A_ROW = ("prompt", "tokens", "advantage", "group", "old_logp", "sampler_logp")


def collected(method: GRPO, renderer: Any) -> list[Collected] | None:
    """One batch; None where the method's mistake was named."""
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "42" if k else "no")
    try:
        return collect(method, [problem("a", "one")], engine, step=1, max_rounds=5)
    except (MethodError, MethodCrashError) as error:
        assert "problem `a`" in str(error)
        assert "step 1" in str(error)
        return None


def made(renderer: Any, **functions: Any) -> GRPO:
    kind = type("Fuzzed", (GRPO,), functions)
    return kind(context(renderer), group_size=2)


def assert_whole(items: list[Collected] | None) -> None:
    """What is taken can be trained on: one finite number a token, by tokens that are there."""
    for row in (row for item in items or () for row in item.rows):
        assert row.advantage.shape == (len(row.tokens),)
        assert bool(row.advantage.isfinite().all())


@FUZZ
@given(returned=ANYTHING)
def test_whatever_roll_returns(returned, renderer):
    def roll(self, problem):
        yield from self.attempt(problem)
        return returned

    assert collected(made(renderer, roll=roll), renderer) is None


@FUZZ
@given(asked=ANYTHING)
def test_whatever_roll_yields(asked, renderer):
    def roll(self, problem):
        group = yield from self.attempt(problem)
        yield asked
        return group

    found = collected(made(renderer, roll=roll), renderer)
    assert found is None or asked in ([], ())
    assert_whole(found)


@FUZZ
@given(returned=ANYTHING)
def test_whatever_credit_returns(returned, renderer):
    found = collected(made(renderer, credit=lambda self, group: returned), renderer)
    assert found is None or returned in ([], ())


@FUZZ
@given(field=st.sampled_from(OF_A_GROUP), value=ANYTHING)
def test_whatever_a_group_holds(field, value, renderer):
    def roll(self, problem):
        group = yield from self.attempt(problem)
        return replace(group, **{field: value})

    assert_whole(collected(made(renderer, roll=roll), renderer))


@FUZZ
@given(field=st.sampled_from(OF_A_ROW), value=ANYTHING, which=st.integers(0, 1))
def test_whatever_a_row_holds(field, value, which, renderer):
    def credit(self, group):
        rows = GRPO.credit(self, group)
        rows[which] = replace(rows[which], **{field: value})
        return rows

    assert_whole(collected(made(renderer, credit=credit), renderer))


@pytest.mark.parametrize("function", ["roll", "credit"])
def test_the_harness_takes_what_is_right(function, renderer):
    """A harness that refuses everything would pass the tests above."""
    found = collected(made(renderer, **{function: getattr(GRPO, function)}), renderer)
    assert found is not None
    assert_whole(found)
