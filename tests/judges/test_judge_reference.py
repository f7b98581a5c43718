"""The judge without a model: arithmetic, the reference solution, the final answer."""

from __future__ import annotations

import pytest
from scripted import ScriptedEngine, context, problem

from sage_bench.grading import cache
from sage_bench.judges.labelled import read_labelled
from sage_bench.judges.reference import Known, Reference, first_wrong, wrong_answers
from sage_bench.methods.driver import drive
from sage_bench.types import Problem


def judged(prob: Problem, *responses: list[str], renderer) -> list[list[int | None]]:
    ctx = context(renderer)
    ctx.grader = cache.grader()
    (votes,), _ = drive(
        [Reference().judge(ctx, prob, responses, 1)],
        [prob],
        ScriptedEngine(renderer.tokenizer, lambda prompt, k: ""),
    )
    return votes


def test_reference_follows_the_arithmetic_of_the_tiny_world(renderer):
    tiny = problem(question="3*9+6*8", solution="3*9=7 7+6=3 3*8=4 \\boxed{734}", answer="734")
    right, early, late, copied, misread, honest = (
        ["3*9=7", "7+6=3", "3*8=4", "\\boxed{734}"],
        ["3*9=8", "8+6=4"],
        ["3*9=7", "7+6=3", "3*8=5"],
        ["3*9=7", "7+6=3", "3*8=4", "\\boxed{743}"],
        ["3*9=7", "7+5=2"],
        ["3*9=27"],
    )
    assert judged(tiny, right, early, late, copied, misread, honest, renderer=renderer) == [
        [None],
        [1],
        [3],
        [4],
        [2],
        [1],
    ]


def test_reference_looks_for_the_first_unknown_number_only_where_the_answer_is_wrong(renderer):
    eggs = problem(
        question=(
            "16 eggs a day, 3 are eaten and 4 baked; the rest sells at 2 dollars. How much a day?"
        ),
        solution="16 - 3 - 4 = 9, 9 * 2 = 18",
        answer="18",
    )
    wrong = [
        "Step 1: She eats 3 and bakes 4.",
        "Step 2: So 16 - 3 = 13 are left.",
        "Step 3: 13 * 2 = 26.",
        "\\boxed{26}",
    ]
    other_route = ["16 * 2 = 32 dollars at most", "3 * 2 + 4 * 2 = 14 are lost", "\\boxed{18}"]
    unfinished = ["She eats 3.", "Then 16 * 2 = 32"]
    assert judged(eggs, wrong, other_route, unfinished, renderer=renderer) == [[2], [None], [None]]


def test_reference_without_a_solution_knows_arithmetic_and_the_answer(renderer):
    bare = problem(question="?", solution=None, answer="\\frac{1}{2}")
    assert judged(
        bare,
        ["2/4 = 0.5", "\\boxed{0.5}"],
        ["1 + 1 = 3", "\\boxed{3}"],
        ["nothing", "#### 7"],
        ["\\boxed{7}", "no: \\boxed{1/2}"],
        renderer=renderer,
    ) == [[None], [1], [2], [None]]
    assert judged(
        problem(question="?", solution=None, answer=""), ["\\boxed{7}"], renderer=renderer
    ) == [[None]]


def test_an_answer_the_verifier_cannot_read_is_not_called_wrong():
    assert wrong_answers(
        [["x", "\\boxed{\\frac{1}{}"], ["\\boxed{4}"], []], "3", cache.grader()
    ) == [None, 1, None]


def test_a_question_about_another_arithmetic_is_left_alone():
    base = Known.of(problem(question="What is $5_7 + 4_7$?", solution=None))
    assert first_wrong(["5 + 4 = 12"], base) is None
    assert first_wrong(["5 + 4 = 12"], Known()) == 1


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("processbench", 0.005),
        ("prm800k_ratings_300", 0.01),
        ("reasoneval_mr_math", 0.0),
        ("prmbench_sample", 0.0),
    ],
)
def test_arithmetic_hardly_ever_accuses_what_people_found_right(file, most, shared):
    """Real responses that human experts (PRMBench: GPT-4o) found free of errors: share in which a
    stated equation is called false."""
    rows = [
        r for r in read_labelled([str(shared / f"data/steps/{file}.jsonl")]).rows if r.label == -1
    ]
    alarms = [r.uid for r in rows if first_wrong(r.steps, Known.of(r.problem)) is not None]
    assert len(rows) > 30 and len(alarms) <= most * len(rows), alarms


def test_arithmetic_finds_errors_people_found(shared):
    rows = [
        r for r in read_labelled([str(shared / "data/steps/mr_gsm8k.jsonl")]).rows if r.label >= 0
    ]
    found = [first_wrong(r.steps, Known.of(r.problem)) for r in rows]
    exact, early = (
        sum(f == r.label + 1 for f, r in zip(found, rows, strict=True)),
        sum(f is not None and f < r.label + 1 for f, r in zip(found, rows, strict=True)),
    )
    assert exact >= 0.12 * len(rows)
    assert early <= 0.01 * len(rows)
