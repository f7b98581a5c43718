"""A tolerance is off by default, part of the grader's name, and monotone."""

from __future__ import annotations

import itertools

import pytest

from sage_bench.grading import cache
from sage_bench.grading.registry import GRADERS
from sage_bench.utils.errors import UsageError

GOLD = "9.807"
# by their distance from the gold
ANSWERS = ["9.807", "9.8071", "9.81", "9.8", "9.75", "9.5", "8.9", "19.6", "-9.807"]
TOLERANCES = ["1e-4", "5e-4", "1e-3", "1e-2", "5e-2", "1e-1"]


def taken(grader: str, gold: str, answers: list[str]) -> list[str]:
    boxed = [rf"\boxed{{{answer}}}" for answer in answers]
    verdicts = cache.grade(gold, boxed, grader)
    return [a for a, v in zip(answers, verdicts, strict=True) if v.correct]


def test_without_a_tolerance_the_figures_shown_must_be_right():
    assert "9.8" not in taken("robust", GOLD, ANSWERS)


def test_what_a_tolerance_takes_a_larger_one_takes():
    sets = [set(taken(f"robust~{t}", GOLD, ANSWERS)) for t in TOLERANCES]
    assert all(small <= large for small, large in itertools.pairwise(sets))


def test_what_counts_without_one_counts_with_one():
    assert set(taken("robust", GOLD, ANSWERS)) <= set(taken("robust~1e-4", GOLD, ANSWERS))


def test_the_bound_is_the_relative_difference():
    assert taken("robust~1e-3", "9.80", ["9.809", "9.811"]) == ["9.809"]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("12", "12.001"),
        (r"\frac{1}{3}", "0.3335"),
        (r"9.80\text{ m/s}^2", r"9.801\text{ m/s}"),
        (r"60.1\%", "60.1001"),
        ("(1.5, 2.5)", "(1.5001, 2.5)"),
    ],
)
def test_what_has_no_decimal_gold_or_another_unit_stays_exact(gold, answer):
    assert taken("robust~1e-2", gold, [answer]) == []


def test_units_are_converted_first():
    answers = [r"98.05\text{ dm/s}^2", r"98.05\text{ m/s}^2"]
    assert taken("robust~1e-3", r"9.80\text{ m/s}^2", answers) == answers[:1]


def test_the_version_names_the_tolerance():
    assert "within 0.001" in cache.grader("robust~1e-3").version


def test_the_plain_version_does_not():
    assert "within" not in cache.grader("robust").version


@pytest.mark.parametrize(
    "name", ["robust~", "robust~0.001", "robust~2", "robust~1e-0", "robust~-1e-3"]
)
def test_what_cannot_be_meant_is_refused(name):
    with pytest.raises(UsageError, match="tolerance"):
        GRADERS.get(name)


def test_a_grader_without_a_tolerance_says_so():
    with pytest.raises(UsageError, match="has no tolerance"):
        GRADERS.get("string~1e-3")
