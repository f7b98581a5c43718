"""The rules that bring an answer to one spelling: each does what its example says."""

from __future__ import annotations

import pytest

from sage_bench.grading.robust.text.rules import RULES


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_does_what_its_example_says(rule):
    assert rule.apply(rule.before) == rule.after


def test_rules_have_names_of_their_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
