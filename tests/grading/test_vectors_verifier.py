"""Our default verifier against 205 responses graded by the authors' code: where ours says something
else, why."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from vectors import consumes_columns, graded

from sage_bench.data.problems import to_problem
from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.pool import Pool

LOOSER, STRICTER = True, False
BOX = "an unfinished box does not hide the finished one before it"
# category: (ours, why). Everywhere else ours is the training reward of SAGE (last box, then
# math-verify).
DIFFERS = {
    "extract.unclosed_last": (LOOSER, BOX),
    "extract.space_before_brace": (LOOSER, "a blank between \\boxed and its brace is typesetting"),
    "extract.fbox": (LOOSER, "\\fbox{...} is a box"),
    "extract.fbox_and_word_boxed": (LOOSER, "\\fbox{...} is a box, a bare \\boxed after it is not"),
    "num.thousands_space": (LOOSER, "a blank between groups of three digits is typesetting"),
    "num.thousands_thinspace": (LOOSER, "so is a thin one"),
    "list.thousand_amb": (
        LOOSER,
        "`1,234` for the gold `1, 234` is spelled the same but for the blank",
    ),
    "mcq.dot": (LOOSER, "a full stop after the letter is prose"),
    "fmt.trailing_dot": (LOOSER, "a full stop after the number is prose"),
    "fmt.tilde": (LOOSER, "~ is a blank"),
}
# `math_verify`, a path of their evaluation that nothing uses, reads boxes in another way than their
# reward
READS_BOXES = {
    "extract.no_braces_space": (
        STRICTER,
        "`\\boxed 5` has no end; the training reward refuses it too",
    ),
    "extract.no_braces_then_braces": (
        STRICTER,
        "`\\boxed 5` has no end; the training reward refuses it too",
    ),
    "extract.stray_close_before": (
        LOOSER,
        "a stray brace before the box does not matter; the training reward agrees",
    ),
}


@pytest.fixture(scope="module")
def verdicts(shared):
    """{id: (row, our verdict)}; golds as the data sources hand them over, which is always as
    text."""
    pool = Pool(workers=2)
    grader, found = MathVerify(pool), {}
    for row in graded(shared):
        if not isinstance(row["gold"], list):
            gold = (
                row["gold"]
                if row["gold"] == ""
                else to_problem({"question": "?", "answer": row["gold"]}, {}).answer
            )
            found[row["id"]] = (row, grader.grade(gold, [row["response"]])[0])
    yield found
    pool.close()


@consumes_columns("train_reward", "response", "gold", "category", "id", "train_reward_error")
def test_agreement_with_the_training_reward(verdicts):
    found = {}
    for row, verdict in verdicts.values():
        if row["train_reward"] is None:  # numeric gold: their code raises, ours takes it as text
            assert (
                row["train_reward_error"].startswith("TypeError")
                and verdict.correct
                and verdict.status == "ok"
            ), row
        elif verdict.correct != bool(row["train_reward"]):
            found[row["category"]] = verdict.correct
    assert found == {name: ours for name, (ours, _) in DIFFERS.items()}


@consumes_columns("math_verify", "math_verify_error")
def test_agreement_with_bare_math_verify(verdicts):
    found = {}
    for row, verdict in verdicts.values():
        assert (row["math_verify"] is None) == ("math_verify_error" in row)
        if row["math_verify"] is not None and verdict.correct != bool(row["math_verify"]):
            found[row["category"]] = verdict.correct
    assert found == {
        name: ours for name, (ours, why) in (DIFFERS | READS_BOXES).items() if why != BOX
    }  # an unfinished box it reads as we do


@consumes_columns("math_verify__mv0.8.0_l2s1.10.2", "train_reward__mv0.8.0_l2s1.10.2")
def test_grades_are_those_of_the_newer_math_verify(verdicts):
    """One recorded grade depends on the version; a run names the version in its manifest, and ours
    is the newer one."""
    assert version("math-verify") >= "0.9"
    older = {
        row["id"]: (row["math_verify__mv0.8.0_l2s1.10.2"], row["train_reward__mv0.8.0_l2s1.10.2"])
        for row, _ in verdicts.values()
        if "math_verify__mv0.8.0_l2s1.10.2" in row
    }
    assert set(older) == {87}
    assert set(older[87]) == {0.0}
    assert verdicts[87][1].correct


def test_golds_that_are_lists_are_set_aside(shared):
    rows = [row for row in graded(shared) if isinstance(row["gold"], list)]
    assert [row["category"] for row in rows] == ["gold.list", "gold.list_miss"]
    assert all(row["train_reward"] is None for row in rows)
    for row in rows:
        with pytest.raises(ValueError, match="no answer"):
            to_problem({"question": "?", "answer": row["gold"]}, {})
