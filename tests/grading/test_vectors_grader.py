"""205 responses with the verdicts of SAGE's released graders: every column against the grader of
ours that defines it."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.graders.oat import Oat
from sage_bench.grading.graders.released import SageEval, SageTrain
from sage_bench.grading.oat import boxed
from sage_bench.grading.pool import Pool


@pytest.fixture(scope="module")
def rows(shared):
    found = [
        json.loads(line)
        for line in (shared / "specs/vectors/grader.jsonl").read_text().splitlines()
    ]
    assert len(found) == 205
    return found


@pytest.fixture(scope="module")
def pool():
    pool = Pool(workers=1, timeout=10.0)
    yield pool
    pool.close()


def verdicts(grader, rows):
    return {r["id"]: grader.grade(r["gold"], [r["response"]])[0] for r in rows}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "make"),
    [
        ("oat", Oat),
        ("oat_fast", lambda pool: Oat(fast=True, pool=pool)),
        ("train_reward", SageTrain),
        ("math_verify", SageEval),
    ],
)
def test_vectors_of_the_released_graders(column, make, rows, pool):
    """205 of 205; the two math-verify paths raise on the four rows whose gold is no text (recorded
    as null)."""
    known = [r for r in rows if r[column] is not None]
    assert len(known) == (205 if column.startswith("oat") else 201)
    found = verdicts(make(pool=pool), known)
    wrong = [
        (r["id"], r["category"], r["gold"], found[r["id"]])
        for r in known
        if found[r["id"]].correct != bool(r[column])
    ]
    assert not wrong
    assert {r["category"] for r in rows if r[column] is None} == (
        {"gold.int", "gold.float", "gold.list", "gold.list_miss"}
        if not column.startswith("oat")
        else set()
    )


def test_vectors_of_the_boxed_format(rows):
    assert [r["id"] for r in rows if (boxed(r["response"]) is not None) != r["formatted"]] == []


def test_vectors_where_our_math_verify_differs_are_the_mended_ones(rows, pool):
    """Our default verifier against the training reward: every difference is a right answer the
    released code loses."""
    known = [r for r in rows if r["train_reward"] is not None]
    found = verdicts(MathVerify(pool), known)
    differ = Counter(
        r["category"] for r in known if found[r["id"]].correct != bool(r["train_reward"])
    )
    assert differ == Counter(
        [
            "extract.unclosed_last",
            "extract.space_before_brace",
            "extract.fbox",
            "extract.fbox_and_word_boxed",  # a finished box counts, however it is written
            "fmt.trailing_dot",
            "fmt.tilde",
            "mcq.dot",
            "list.thousand_amb",
            "num.thousands_space",
            "num.thousands_thinspace",  # spelling
        ]
    )
    assert all(found[r["id"]].correct for r in known if r["category"] in differ)
