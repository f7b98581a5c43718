"""Answers in another form, and answers that only look alike: `robust_pairs.jsonl`, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage_bench.grading.robust import equivalent
from sage_bench.grading.robust.read.readings import read

PAIRS = [
    json.loads(line)
    for line in Path(__file__).with_name("robust_pairs.jsonl").read_text().splitlines()
]
SAME = [(p["gold"], p["answer"]) for p in PAIRS if p["same"]]
DIFFERENT = [(p["gold"], p["answer"]) for p in PAIRS if not p["same"]]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_the_same_in_another_form(gold, answer):
    assert equivalent(gold, answer)["correct"], (read(gold), read(answer))


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_not_the_same(gold, answer):
    assert not equivalent(gold, answer)["correct"]
