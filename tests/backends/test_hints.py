"""Hints: parsing never corrupts LaTeX, leaks are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_bench.backends.sage.hints import leaks_answer, parse_hints
from sage_bench.utils.latex_json import protect_latex

GOOD = ("a", "b", "c")


@pytest.mark.parametrize(
    "text",
    [
        '{"level_1": "a", "level_2": "b", "level_3": "c"}',
        '```json\n{"level_1": "a", "level_2": "b", "level_3": "c"}\n```',
        'Here you are:\n```\n{"level_1": "a", "level_2": "b", "level_3": "c"}\n```\nGood luck!',
        '{"level_1": "a", "level_2": "b", "level_3": "c"} I hope this helps.',
        'The set {1, 2} matters. {"level_1": "a", "level_2": "b", "level_3": "c"}',
        '[{"level_1": "a", "level_2": "b", "level_3": "c"}]',
        '{"level_1": "a", "level_2": "b", "level_3": "c",}',
        "{'level_1': 'a', 'level_2': 'b', 'level_3': 'c'}",
        '{level_1: "a", level_2: "b", level_3: "c"}',
        '{"level_1": "a", // first\n "level_2": "b", "level_3": "c"}',
        '```json\n{"level_1": "a", "level_2": "b", "level_3": "c"',
        '{"Level 1": "a", "level2": "b", "hint_3": "c"}',
        '{"1": "a", "2": "b", "3": "c"}',
    ],
)
def test_forms_that_are_understood(text):
    assert parse_hints(text).levels == GOOD


@pytest.mark.parametrize(
    "text", ["", "5", "{}", "no json", '{"hint": "a"}', '{"level_1": 3, "level_2": null}', "[]"]
)
def test_forms_that_hold_no_hint(text):
    parsed = parse_hints(text)
    assert parsed.status == "unparsable"
    assert not parsed.usable


def test_a_cut_off_object_yields_its_whole_levels():
    assert parse_hints('{"level_1": "a", "level_2": "b", "level_3": "unfin').levels == (
        "a",
        "b",
        None,
    )


@pytest.mark.parametrize(
    "command",
    [
        r"\frac{1}{2}",
        r"\theta",
        r"\times",
        r"\nabla",
        r"\nu",
        r"\neq",
        r"\text{cm}",
        r"\rho",
        r"\beta",
        r"\binom{n}{k}",
        r"\right)",
        r"\sqrt{2}",
        r"\pi",
        r"\(x\)",
        r"\underline{x}",
        r"\xi",
        r"\forall",
    ],
)
def test_latex_written_with_single_backslashes_survives(command):
    text = '{"level_1": "use %s here", "level_2": "b", "level_3": "c"}' % command
    assert parse_hints(text).levels[0] == f"use {command} here"


def test_latex_written_with_doubled_backslashes_survives_too():
    hints = {"level_1": r"\frac{a}{b} and \theta", "level_2": "b", "level_3": "c"}
    assert parse_hints(json.dumps(hints)).levels[0] == r"\frac{a}{b} and \theta"


def test_line_breaks_and_escapes_of_json_stay_what_they_are():
    assert (
        parse_hints(
            r'{"level_1": "first\nThen \"this\" \u00e9 a\/b\tend", "level_2": "b", "level_3": "c"}'
        ).levels[0]
        == 'first\nThen "this" é a/b\tend'
    )
    assert (
        parse_hints('{"level_1": "raw\nbreak", "level_2": "b", "level_3": "c"}').levels[0]
        == "raw\nbreak"
    )


@given(st.text(st.sampled_from('abcfnrtux \\{}"$1/'), max_size=40))
def test_any_text_a_writer_escapes_properly_comes_back(hint):
    parsed = parse_hints(json.dumps({"level_1": hint, "level_2": "b", "level_3": "c"}))
    assert parsed.levels[0] == (hint.strip() or None)


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text):
    assert len(parse_hints(text).levels) == 3
    assert isinstance(protect_latex(text), str)


@pytest.mark.parametrize(
    ("hint", "answer", "question", "leaks"),
    [
        ("so x = 12.", "12", "find x", True),
        ("there are 120 ways", "12", "", False),
        ("1.12 is near", "12", "", False),
        ("12, then", "12", "", True),
        ("the result is 12,345", "12", "", False),
        (r"it is $\frac{1}{2}$", r"\frac{1}{2}", "", True),
        (r"it is \dfrac{1}{2}", r"\frac{1}{2}", "", True),
        ("share 8 apples", "8", "8 apples", False),
        ("the answer is 8", "8", "8 apples", True),
        (r"\boxed{8}", "8", "8 apples", True),
        ("pick option C", "C", "(A) 1 (B) 2 (C) 3", False),
        ("the answer is C", "C", "(A) 1 (B) 2 (C) 3", True),
        ("Count the cases", "c", "", False),
        ("7*7=9 9+6=5", "95", "", False),
        ("anything", "", "", False),
    ],
)
def test_leaks(hint, answer, question, leaks):
    assert leaks_answer(hint, answer, question) is leaks
