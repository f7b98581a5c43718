"""Labelled steps as rows for fine-tuning."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from scripted import context

from sage_bench.generation.prompts import Messages, Prompts, Renderer
from sage_bench.judges.base import judge_messages, read_judgement
from sage_bench.judges.labelled import Labelled, to_labelled
from sage_bench.judges.policy import PolicyJudge
from sage_bench.judges.teaching import lessons, split, verdict, without_questions
from sage_bench.judges.trained import (
    JUDGE_FILE,
    TrainedJudge,
    read_trained,
    texts_of,
    words_at,
)
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, UsageError

SHORT = {
    "judge_system": "Find the first wrong step.",
    "judge_user": "{question}\n{solution}\n{steps}",
    "judge_system_alone": "Find it alone.",
    "judge_user_alone": "{question}\n{steps}",
}


def labelled(number: int, label: int, steps: tuple[str, ...] = ("3*9=7", "7+6=4")) -> Labelled:
    problem = Problem(f"f/{number}", f"{number}*9+6", "3*9=7 7+6=3 \\boxed{73}", "73")
    return Labelled("f", "", str(number), problem, steps, label, "7+6=3" if label >= 0 else "")


ROWS = [labelled(i, 1 if i % 4 else -1) for i in range(12)]  # nine with an error


@pytest.fixture(scope="module")
def short(tokenizer) -> Renderer:
    return Renderer(tokenizer, Prompts.of(SHORT))


def taught(rows, renderer, **changes):
    options = {
        "reference": "shown",
        "context": 400,
        "balance": True,
        "quote": False,
        "seed": 0,
        **changes,
    }
    return lessons(rows, renderer, **options)


@pytest.mark.parametrize(("steps", "label"), [(3, -1), (3, 0), (3, 2), (1, 0), (200, 199)])
def test_the_verdict_that_is_taught_is_read_as_the_label(steps, label):
    said = None if label < 0 else label + 1
    texts = [f'"{i}" = \\boxed{{{i}}}' for i in range(steps)]
    for more in ({}, {"quote": True}, {"remarks": [f'"ok": {text}' for text in texts]}):
        reply = verdict(texts, label, 'a "quoted"\nreason', **more)
        assert read_judgement(reply, steps) == (True, said)


def test_the_verdict_marks_the_steps_up_to_the_first_wrong_one():
    five = ["a", "b", "c", "d", "e"]
    reply = json.loads(verdict(five, 1, "two\nlines"))
    assert reply["steps"] == [{"i": 1, "ok": True}, {"i": 2, "ok": False}]
    assert reply["why"] == "two lines"
    assert len(json.loads(verdict(five, -1))["steps"]) == 5
    assert "why" not in json.loads(verdict(five, 1))
    quoted = json.loads(verdict(five, 1, quote=True))
    assert [step["step"] for step in quoted["steps"]] == ["a", "b"]


def test_remarks_are_written_before_the_marks_and_stop_with_them(short):
    raw = {
        "id": "1",
        "problem": "3*9+6+1",
        "steps": ["3*9=7", "7+6=4", "4+1=5"],
        "label": 1,
        "remarks": ["7-7=0", "4-3=1\n", "never read"],
    }
    row = to_labelled("f", "f:1", raw)
    (taught_row,) = taught([row], short, balance=False).rows
    assert json.loads(taught_row["solution"]) == {
        "steps": [
            {"i": 1, "remark": "7-7=0", "ok": True},
            {"i": 2, "remark": "4-3=1", "ok": False},
        ],
        "first_error": 2,
    }


@pytest.mark.parametrize(
    ("remarks", "reason"), [(["one"], "it has 1 remarks for 2 steps"), ("two", "no list")]
)
def test_a_row_whose_remarks_do_not_fit_is_set_aside(remarks, reason):
    raw = {"problem": "1", "steps": ["a", "b", "c"], "label": 1, "remarks": remarks}
    with pytest.raises(ValueError, match=reason):
        to_labelled("f", "f:1", raw)


def test_the_rarer_kind_is_repeated_until_both_are_alike(short):
    found = taught(ROWS, short)
    assert found.counts() == {
        "rows": 18,
        "with_error": 9,
        "without_error": 9,
        "repeated": 6,
        "set_aside": 0,
    }
    assert len({row["uid"] for row in found.rows}) == 18
    # three rows have no error: each is there three times
    right = Counter(row["question"] for row in found.rows if row["answer"] == "0")
    assert set(right.values()) == {3}
    assert taught(ROWS, short, balance=False).counts()["rows"] == 12
    assert taught(ROWS, short).rows == found.rows


def test_rows_of_one_kind_cannot_be_balanced(short):
    wrong = [row for row in ROWS if row.label >= 0]
    with pytest.raises(UsageError, match="no row is without an error"):
        taught(wrong, short)
    assert len(taught(wrong, short, balance=False).rows) == 9


def test_what_cannot_be_taught_is_set_aside_with_its_reason(short):
    rows = [*ROWS, labelled(90, 0, ("3*9=8", " ")), labelled(91, 0, ("3*9=8", "9+9=8 " * 200))]
    found = taught(rows, short)
    assert [(r.where, r.reason) for r in found.quarantine] == [
        ("f/90", "a step is empty"),
        ("f/91", "it does not fit the model's context of 400 tokens"),
    ]
    with pytest.raises(DataError, match="none of the labelled rows can be taught"):
        taught(rows[-2:], short)


def test_a_row_is_the_prompt_that_the_judge_will_be_asked_with(short, tmp_path):
    """Token by token: what is trained on, and what the judge sends to its model."""
    for reference, shown in (("shown", True), ("withheld", False), ("withheld", True)):
        found = taught(ROWS, short, reference=reference, balance=False)
        TrainedJudge("", found.texts).write(tmp_path)
        judge = PolicyJudge(words=str(tmp_path), reference=shown, max_tokens=64)
        answering = Renderer(short.tokenizer, Prompts(system=found.texts["judge_system"]))
        for row, given in zip(found.rows, ROWS, strict=True):
            asked = judge._prompt(context(short), given.problem, given.steps)
            assert asked == answering.answer(row["question"])


def test_a_judge_taught_without_the_reference_is_never_shown_it(short):
    solution = ROWS[0].problem.solution
    assert solution is not None
    found = taught(ROWS, short, reference="withheld")
    assert not [row for row in found.rows if solution in row["question"]]
    messages = Messages(Prompts.of(found.texts))
    asked = judge_messages(messages, "3*9+6", solution, ["3*9=7"])
    assert solution not in asked[0] + asked[1]
    assert asked[0] == SHORT["judge_system_alone"]


def test_a_mixed_judge_sees_the_reference_in_half_of_the_rows(short):
    rows = [labelled(i, 1 if i % 2 else -1) for i in range(200)]
    found = taught(rows, short, reference="mixed")
    shown = sum("\\boxed{73}" in row["question"] for row in found.rows)
    assert 70 < shown < 130
    assert found.texts["judge_system_alone"] == SHORT["judge_system"]


def test_the_texts_of_the_long_prompt_say_whether_there_is_a_reference():
    texts = texts_of(Messages(), "shown")
    assert "reference solution" in texts["judge_system"]
    assert "reference solution" not in texts["judge_system_alone"]
    assert "{solution}" in texts["judge_user"]
    assert "{solution}" not in texts["judge_user_alone"]
    kept = texts["judge_system"].splitlines()[1]
    assert kept in texts["judge_system_alone"]


def test_all_rows_of_a_question_are_held_out_together():
    rows = [labelled(i % 10, -1) for i in range(40)]
    kept, held_out = split(rows, 0.2, seed=0)
    assert len({r.problem.question for r in held_out}) == 2
    assert len(held_out) == 8
    assert not {r.problem.question for r in kept} & {r.problem.question for r in held_out}
    assert split(rows, 0.2, seed=1) != (kept, held_out)
    with pytest.raises(DataError, match="too few to hold some of them out"):
        split(rows[:1], 0.2, seed=0)


def test_questions_of_the_test_rows_are_not_taught():
    kept, dropped = without_questions(ROWS, ROWS[:3])
    assert kept == ROWS[3:]
    assert [(r.where, r.reason) for r in dropped] == [
        (f"f/{i}", "its question is held out") for i in range(3)
    ]


def test_a_trained_judge_is_read_as_it_was_written(tmp_path):
    TrainedJudge("train/checkpoints/step_000004", SHORT, "mixed", 90).write(tmp_path)
    found = read_trained(str(tmp_path))
    assert found.model == str(tmp_path / "train/checkpoints/step_000004")
    assert (found.prompts, found.reference, found.max_tokens) == (SHORT, "mixed", 90)
    assert read_trained(str(tmp_path / JUDGE_FILE)) == found
    assert words_at(str(tmp_path)).fill("judge_user_alone", question="q", steps="s") == "q\ns"
    assert read_trained(str(tmp_path / "elsewhere")) is None


def test_a_folder_without_a_judge_and_a_broken_one_are_named(tmp_path):
    with pytest.raises(UsageError, match="judge-train"):
        words_at(str(tmp_path))
    (tmp_path / JUDGE_FILE).write_text('{"weights": 1}')
    with pytest.raises(DataError, match="does not describe a trained judge"):
        read_trained(str(tmp_path))


def test_words_may_come_from_a_file_of_prompts(tmp_path, short):
    file = tmp_path / "words.yaml"
    file.write_text('judge_system: "Judge."\njudge_user: "{steps}"\n')
    judge = PolicyJudge(words=str(file), max_tokens=64)
    asked = judge._prompt(context(short), ROWS[0].problem, ["3*9=7"])
    assert asked == short.ids(short.text("Judge.", "[1] 3*9=7"))


def test_a_judge_that_is_not_trained_uses_the_texts_of_the_run(short):
    problem, steps = ROWS[0].problem, ROWS[0].steps
    asked = PolicyJudge(reference=False, max_tokens=64)._prompt(context(short), problem, steps)
    alone = judge_messages(short, problem.question, None, steps)
    assert asked == short.ids(short.text(*alone))
    assert alone[0] == SHORT["judge_system_alone"]
