"""Labelled steps as their authors publish them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_rows import GOOD, write

from sage_bench.judges.labelled import read_labelled, to_labelled
from sage_bench.utils.errors import DataError

MR_GSM8K = {
    "uuid": "u1",
    "question": "2+3*4?",
    "ground_truth_solution": "3*4=12, 2+12=14",
    "ground_truth_answer": 14,
    "model_output_steps": ["3*4 = 12", "2 + 12 = 15"],
    "model_output_solution_correctness": "wrong",
    "model_output_solution_first_error_step": 2,
    "model_output_solution_first_error_reason": "2 + 12 is 14",
    "question_type": "original",
}
PHASE_2 = {
    "question": {
        "problem": "2+3*4?",
        "ground_truth_answer": "14",
        "ground_truth_solution": "3*4=12, 2+12=14",
        "pre_generated_steps": ["3*4 = 12", "2 + 12 = 15", "So 15."],
    },
    "label": {
        "steps": [
            {
                "completions": [{"text": "3*4 = 12", "rating": 1}],
                "human_completion": None,
                "chosen_completion": 0,
            },
            {
                "completions": [
                    {"text": "2 + 12 = 15", "rating": -1},
                    {"text": "2 + 12 = 14", "rating": 1},
                ],
                "human_completion": None,
                "chosen_completion": None,
            },
        ],
        "finish_reason": "found_error",
    },
}
PHASE_1 = {
    "question": {"problem": "2+3*4?", "ground_truth_answer": "14"},
    "label": {
        "steps": [
            {
                "completions": [
                    {"text": "2+3 = 6", "rating": -1},
                    {"text": "3*4 = 12", "rating": 1},
                ],
                "human_completion": None,
                "chosen_completion": 1,
            },
            {
                "completions": [{"text": "2 + 12 = 15", "rating": -1}],
                "human_completion": {"text": "2 + 12 = 14", "rating": None},
                "chosen_completion": None,
            },
        ],
        "finish_reason": "solution",
    },
}


def read(row: dict):
    return to_labelled("f", "f.jsonl:1", row)


def changed(row: dict, *path, value):
    row = copy.deepcopy(row)
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return row


def test_mr_gsm8k_counts_from_one():
    row = read(MR_GSM8K)
    assert row.label == 1
    assert row.uid == "u1"
    assert row.steps == ("3*4 = 12", "2 + 12 = 15")
    assert (row.problem.answer, row.problem.solution) == ("14", "3*4=12, 2+12=14")
    assert row.why == "2 + 12 is 14"


def test_mr_gsm8k_says_not_applicable_where_nothing_is_wrong():
    right = {
        **MR_GSM8K,
        "model_output_solution_correctness": "correct",
        "model_output_solution_first_error_step": "N/A",
        "model_output_solution_first_error_reason": "N/A",
    }
    assert read(right).label == -1
    assert read(right).why == ""


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (0, "its label is none of its steps"),
        (3, "its label is none of its steps"),
        ("second", "its label is no whole number"),
        ("N/A", "it is called wrong, and none of its steps is"),
    ],
)
def test_mr_gsm8k_rows_that_cannot_be(first, reason):
    with pytest.raises(ValueError, match=reason):
        read({**MR_GSM8K, "model_output_solution_first_error_step": first})


@pytest.mark.parametrize("first", [2, "2", 2.0, "2.0"])
def test_mr_gsm8k_numbers_of_tables_are_whole_ones(first):
    assert read({**MR_GSM8K, "model_output_solution_first_error_step": first}).label == 1


def test_prm800k_goes_on_with_the_steps_that_had_been_generated():
    row = read(PHASE_2)
    assert row.steps == ("3*4 = 12", "2 + 12 = 15", "So 15.")
    assert row.label == 1
    assert row.problem.solution == "3*4=12, 2+12=14"


def test_prm800k_follows_the_path_that_was_chosen():
    row = read(PHASE_1)
    assert row.steps == ("3*4 = 12", "2 + 12 = 14")  # the second one was written by a person
    assert row.label == -1


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("label", "finish_reason"), "give_up", "its labeller gave up"),
        (("label", "finish_reason"), "bad_problem", "its labeller called it a bad one"),
        (("label", "steps"), [], "no steps"),
        (("label", "steps"), ["x"], "a step is no text"),
        (
            ("label", "steps", 0, "chosen_completion"),
            4,
            "its chosen completion is none of those it has",
        ),
        (
            ("label", "steps", 1, "completions", 0, "rating"),
            1,
            "an error was found in it, and no step is rated -1",
        ),
        (("question", "problem"), " ", "no question"),
        (("label", "steps", 0, "completions"), 3, "its completions are no list"),
        (("label", "steps", 0, "chosen_completion"), True, "its chosen completion is none"),
        (("label", "steps", 0, "completions", 0, "rating"), 0.4, "a rating is none of -1, 0 and 1"),
    ],
)
def test_prm800k_rows_that_cannot_be(path, value, reason):
    with pytest.raises(ValueError, match=reason):
        read(changed(PHASE_2, *path, value=value))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "rating", "steps", "completions"]), inner)
    ),
    max_leaves=5,
)


@given(
    st.sampled_from([MR_GSM8K, PHASE_1, PHASE_2, *GOOD]),
    st.lists(st.tuples(st.integers(0, 40), ANYTHING), min_size=1, max_size=2),
)
def test_a_row_with_anything_in_it_is_read_or_has_a_reason(row, changes):
    for number, value in changes:
        places = list(paths(row))
        row = changed(row, *places[number % len(places)], value=value)
    try:
        found = read(row)
    except ValueError as error:
        assert str(error)
    else:
        assert -1 <= found.label < len(found.steps)


def paths(value, before=()):
    """The way to every value within."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*before, key)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*before, key))


def test_a_file_of_no_known_format_is_named_with_the_formats_that_are(tmp_path):
    good = write(tmp_path / "good.jsonl", GOOD)
    other = write(tmp_path / "marks.jsonl", [{"problem": "q", "student_response": "x"}])
    with pytest.raises(DataError) as caught:
        read_labelled([good, other], every_file=True)
    said = str(caught.value)
    assert other in said
    for name in ("ProcessBench", "PRM800K", "MR-GSM8K"):
        assert name in said
    # a judge that is measured on several files says what it left out, and goes on
    assert read_labelled([good, other]).reasons() == {"no steps": 1}


def test_a_file_whose_rows_are_all_wrong_is_still_of_a_known_format(tmp_path):
    bad = write(tmp_path / "bad.jsonl", [{"problem": "q", "steps": ["x"], "label": 7}])
    good = write(tmp_path / "good.jsonl", GOOD)
    found = read_labelled([good, bad], every_file=True)
    assert found.reasons() == {"its label is none of its steps": 1}


def test_the_reasons_in_real_files_are_kept(shared):
    found = read_labelled([str(shared / "data/steps/mr_gsm8k.jsonl")])
    assert all(row.why for row in found.rows)
