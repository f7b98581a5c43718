"""What a reply of a judge says: a step, no error, or nothing."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage_bench.judges.base import read_judgement, reference_text
from sage_bench.types import Problem


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"first_error": 2}', (True, 2)),
        ('{"first_error": null, "why": "\\frac{1}{2} is right"}', (True, None)),
        ('```json\n{"steps": [{"i": 1, "ok": true}],\n "first_error": "3"}\n```', (True, 3)),
        ('{"first_error": "none"}', (True, None)),
        ('{"first_error": 2.0}', (True, 2)),
        ('{"first_error": 0}', (True, 1)),  # out of range: the nearest end (docs/design/sgpo.md 4)
        ('{"first_error": 99}', (True, 5)),
        (
            '{"steps": [{"i": 1, "ok": true}, {"i": 2, "ok": false}, {"i": 3, "ok": false}]}',
            (True, 2),
        ),
        ('{"steps": [{"i": 1, "ok": true}]}', (True, None)),
        (
            'the form is {"first_error": null}. Now: {"first_error": 4}',
            (True, 4),
        ),  # the last one counts
        ('{"verdict": {"first_error": 2}}', (True, 2)),
        (
            'the form is {"first_error": null}. Now: {"first_error": 4, "why": "it',
            (False, None),
        ),  # cut off in its verdict: not the form's null
        ('{"first_error": true}', (False, None)),
        ('{"first_error": [2]}', (False, None)),
        ('{"first_error": 2.5}', (False, None)),
        ('{"first_error": "the second"}', (False, None)),
        ('{"steps": []}', (False, None)),
        ('{"steps": "all fine"}', (False, None)),
        ('{"steps": [{"i": 1, "ok": "yes"}]}', (False, None)),
        ('{"steps": [{"ok": false}]}', (False, None)),
        ("The second step is wrong.", (False, None)),
        ("", (False, None)),
    ],
)
def test_a_reply_says_a_step_or_nothing(reply, said):
    assert read_judgement(reply, 5) == said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=5),
    lambda c: (
        st.lists(c, max_size=4)
        | st.dictionaries(st.sampled_from(["i", "ok", "first_error", "steps", "x"]), c, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(before=st.text(max_size=30), value=VALUES, cut=st.integers(0, 200), steps=st.integers(0, 9))
@example(before="", value={"first_error": float("inf")}, cut=99, steps=3)
def test_no_reply_crashes_the_reader_and_what_it_returns_is_a_step(before, value, cut, steps):
    valid, first = read_judgement(before + json.dumps(value)[:cut], steps)
    assert first is None or 1 <= first <= steps
    assert valid or first is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 5000,
        "[" * 100_000,
        '{"first_error":' + "[" * 20_000,
        "{" * 100_000,
        '{"first_error": ' + "9" * 6000 + "}",
        "\\u{first_error" * 500,
    ],
)
def test_deep_and_long_garbage_is_invalid_soon(text):
    began = time.process_time()
    assert read_judgement(text, 4) == (False, None)
    assert time.process_time() - began < 5


def test_the_reference_a_judge_is_shown():
    assert [
        reference_text(Problem("u", "q", s, a)) for s, a in (("so 4", "4"), (None, "4"), (None, ""))
    ] == ["so 4", "The answer is 4.", "(none is known)"]
