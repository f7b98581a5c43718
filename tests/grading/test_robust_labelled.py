"""The robust grader on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage_bench.grading.grader_study.measure import measure, read_adjudications, read_labels
from sage_bench.grading.graders.math_verify import MathVerify


def box(answer: str) -> str:
    return rf"so the answer is $\boxed{{{answer}}}$."


READ_BY_HAND = Path(__file__).with_name("adjudications.jsonl")
TARGETS = {
    "hardverify_math": 0.97,
    "processbench_final_answer": 0.993,
    "olympiadbench200x8_qwen25_7b": 0.99,
}
OTHERS = (
    "math500_rho_outputs",
    "qwen25math_math100x8",
    "math_mathcoder_l7b_correct",
    "mr_math_159",
    "prmbench_qwq_human",
    "mr_gsm8k_answers",
    "math500_subset_qwen2_greedy",
    "gsm8k_openai_solutions_sample",
)


@pytest.mark.parametrize("name", [*TARGETS, *OTHERS])
def test_agreement_with_the_labels_of_the_development_half(name, shared, robust):
    """Labels that do not stand, and those we read as wrong (adjudications.jsonl, each with its
    reason), are left out or mended."""
    rows, rejected = read_labels(
        shared / f"data/verifier/{name}.jsonl", read_adjudications(READ_BY_HAND)
    )
    assert not [r for r in rejected if r.malformed]
    (score,) = measure("robust", robust, rows)
    assert score.rows == len(rows) and score.agreement >= TARGETS.get(name, 0.99), (
        score.disagreements
    )
    assert score.slips == 0, [d for d in score.disagreements if d["correct"]]


def test_conventions_of_other_projects_tests(shared, robust, pool):
    """Hand-written pairs of nine projects contradict each other; we take no wrong answer and more
    right ones than math-verify."""
    rows, _ = read_labels(
        shared / "data/verifier/unit_test_pairs.jsonl", read_adjudications(READ_BY_HAND)
    )
    rows = [r for r in rows if r.options is None]
    (ours,), (theirs,) = (
        measure("robust", robust, rows),
        measure("math_verify", MathVerify(pool), rows),
    )
    assert (
        ours.slips == 0 <= theirs.slips and ours.misses < theirs.misses / 2 and ours.agreement > 0.9
    ), ours.disagreements


def test_every_gold_of_the_benchmarks_can_be_read_and_is_itself(shared, robust):
    bad = []
    for name in ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench"):
        for row in map(
            json.loads, (shared / f"data/benchmarks/{name}.jsonl").read_text().splitlines()
        ):
            if (
                robust.gold_error(str(row["answer"]))
                or not robust.grade(str(row["answer"]), [box(str(row["answer"]))])[0].correct
            ):
                bad.append(row["id"])
    assert not bad
