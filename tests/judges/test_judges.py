"""Judges: what a reply says, what stated arithmetic says, how good a judge is on labelled steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import CUT, ScriptedEngine, context, problem

from sage_bench.backends.sgpo import SGPO
from sage_bench.grading import cache
from sage_bench.judges.arithmetic import equations
from sage_bench.judges.base import read_judgement, reference_text
from sage_bench.judges.labelled import read_labelled
from sage_bench.judges.policy import PolicyJudge
from sage_bench.judges.reference import Known, Reference, first_wrong, wrong_answers
from sage_bench.judges.registry import JUDGES
from sage_bench.judges.report import f1_interval, score, summary
from sage_bench.judges.run import JudgeConfig, judge_rows
from sage_bench.methods.driver import collect, drive
from sage_bench.statistics import clustered_se, wilson
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_jsonl


# --- reading a reply -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"first_error": 2}', (True, 2)),
        ('{"first_error": null, "why": "\\frac{1}{2} is right"}', (True, None)),
        ('```json\n{"steps": [{"i": 1, "ok": true}],\n "first_error": "3"}\n```', (True, 3)),
        ('{"first_error": "none"}', (True, None)),
        ('{"first_error": 2.0}', (True, 2)),
        ('{"first_error": 0}', (True, 1)),  # out of range: the nearest end (spec A.4)
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


# --- stated arithmetic ---------------------------------------------------------------------------
FALSE = [
    "3 x 4 = 13",
    "3 × 4 = 13 apples",
    r"\(3 \times 4 = 13\)",
    "3*4=13",
    "He pays $5 * $3 = $16.",
    "so 12 + 5 = 18 and more",
    "7 - 2 × 3 = 15",
    "60 / 4 = 16 minutes",
    r"$\frac{3}{4} + \frac14 = 2$",
    r"\[ 2^{5} = 31 \]",
    "1,200 + 34 = 1,235",
    "10 apples - 3 apples = 8 apples",
    "20% of 50 = 11",
    r"2 \text{ books} \times 2 \text{ pounds/book} = 5 \text{ pounds}",
    "2/3 = 0.68",
    "<<16*4=63>>63 minutes",
    r"= 3 + 4 = \boxed{8}",
    r"\sqrt{49} = 8",
    "0.1 + 0.2 = 0.4",
    r"\binom{5}{2} = 11",
    "5! = 121, so",
    "(3)(4) = 13",
    "3 times 4 equals 13",
    "2 + 2 = 4 = 5 - 2",
    "If Sam had 70 loaves, then 7 * 70 - 40 = 470",
    r"x &= 2 \cdot 3 \\ &= 6 = 2 + 5",
    "3 − 1 = 1",
    r"\$12 \div 4 = \$4",
    "2(3 + 4) = 15",
]
NOT_FALSE = [
    "10/3 = 3.33",
    "10/3=3.333",
    "2/3 = 0.66",
    "100/7 = 14",
    r"\frac{22}{7} = 3.143",
    "3.14 * 100 = 314.16",
    "33.33 * 3 = 100",
    "7/2 = 3 remainder 1",
    r"3 \times 4 \approx 13",
    "3*4 ≈ 13",
    "about 3 * 4 = 13",
    "1/2 = 50%",
    "50/200 = 25%",
    "50/200 * 100 = 25%",
    "20% of 50 = 10",
    "2 * 60 minutes = 2 hours",
    "3 feet * 12 = 36 inches",
    "90 / 60 = 1.5 hours",
    "5 * 100 = 5 dollars",
    "2 hours = 120 minutes",
    "3 pencils + 1 eraser = 124 cents",
    "2x + 3 = 7",
    "x - 3*4 = 5",
    "f(3*4 = 13",
    "f(3) = 10",
    r"\log_2 2^5 = 5",
    r"\cos(2\pi) = 1",
    r"\sqrt[3]{8} = 2",
    "1 + 2 + ... + 10 = 55",
    r"2 \cdot 2 \cdots 2 = 64",
    r"\sum_{k=1}^{3} k = 6",
    "12:30 + 1:15 = 13:45",
    "7 + 5 = 2 (mod 10)",
    r"7 + 5 \equiv 2",
    "in base 7, 5 + 4 = 12",
    r"25_7 + 1 = 26",
    "3 + 4 = 8 is false",
    "Suppose 2 + 2 = 5",
    "if 2 + 2 = 5 then",
    "3 + 4 ≠ 8",
    "Is 3 + 4 = 8?",
    "2 + 1 = 1\n(False)",
    "5/2 = 2 1/2",
    r"5/2 = 2\frac{1}{2}",
    "1 000 + 1 = 1 001",
    "= 12 (3 + 9)",
    "6/2(1+2) = 9",
    "-3^2 = -9",
    "- 3 + 4 = 7",
    "half of 4 + 6 = 8",
    "add 3 to 4 * 5 = 23",
    "the total in 3 days = 12",
    r"\frac{1}{2} \text{ inch} = 20 \text{ miles}",
    r"\begin{pmatrix} 2 \\ 1 \end{pmatrix} = 2^2 + 1^2 = 5",
    r"\[ \frac12 = \frac24 \] \[ \frac13 = \frac26 \]",
    r"\text{Number of 3-card hands} = \binom{52}{3} = 22100",
    "Total flies of 15 frogs in 25 minutes = 150 * 25",
    "255 / 5 = 459 / x minutes",
    r"\pi(2) = 5, \pi(3) = 4",
    "b! + 2 = 2^2",
    "3.5 million * 2 = 7",
    r"90^\circ + 90^\circ = 180^\circ",
    r"\frac{120^\circ}{360^\circ} = \frac{1}{3}",
    "3 × 4 = 13m",
    "range from -2 - 5 = -7 to -2 + 5 = 3",
    "1/0 = 3",
    "2^99999 = 4",
    "999999! = 1",
    "3*(4=12",
    "=",
    "= =",
    "3 = = 4",
    "1 = 2",
    "√50 = 5√2 = 7.07",
]


@pytest.mark.parametrize("text", FALSE)
def test_false_arithmetic_is_seen(text):
    assert any(not e.holds for e in equations(text))


@pytest.mark.parametrize("text", NOT_FALSE)
def test_no_false_alarm(text):
    assert all(e.holds for e in equations(text))


FORMS = [
    "{a} {op} {b} = {c}",
    "so {a}{op}{b}={c}.",
    "\\({a} {op} {b} = {c}\\)",
    "He has {a} apples {op} {b} apples = {c} apples",
    "${a} {op} {b} = {c}$, thus",
    "Step 2: \\[ {a} {op} {b} = {c} \\]",
]


@settings(max_examples=300, deadline=None)
@given(
    a=st.integers(1, 10**5),
    b=st.integers(1, 10**5),
    op=st.sampled_from("+-*"),
    off=st.integers(-50, 50),
    form=st.sampled_from(FORMS),
)
def test_whole_numbers_are_judged_exactly(a, b, op, off, form):
    true = {"+": a + b, "-": a - b, "*": a * b}[op]
    (found,) = equations(
        form.format(a=a, b=b, op={"*": "\\times"}.get(op, op) if "\\" in form else op, c=true + off)
    )
    assert found.holds is (off == 0)
    assert found.result == true + off


@settings(max_examples=200, deadline=None)
@given(a=st.integers(1, 9999), b=st.integers(1, 999), digits=st.integers(0, 6))
def test_a_quotient_may_be_rounded_or_cut(a, b, digits):
    exact = Fraction(a, b)
    for shown in (
        f"{float(exact):.{digits}f}",
        str(int(exact)) if digits == 0 else f"{int(exact * 10**digits) / 10**digits:.{digits}f}",
    ):
        assert all(e.holds for e in equations(f"{a} / {b} = {shown}"))
    unit = Fraction(1, 10**digits)
    wrong = float(int(exact / unit) * unit + 3 * unit)
    assert not any(e.holds for e in equations(f"{a} / {b} = {wrong:.{digits}f}"))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("0123456789+-*/^=(){}[]\\ .,%!$xfrac\n", max_size=60))
def test_no_text_crashes_the_arithmetic(text):
    assert all(isinstance(e.result, Fraction) for e in equations(text))


# --- the reference judge -------------------------------------------------------------------------
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


# --- the policy as judge -------------------------------------------------------------------------
def test_policy_judge_asks_again_for_what_it_cannot_read_and_never_guesses(renderer):
    said = {0: '{"first_error": 2}', 1: "hm", 2: '{"first_error": null}'}
    asked = []

    def say(prompt, k):
        asked.append(prompt)
        return (
            said[0]
            if "alpha" in prompt
            else said[2]
            if "beta" in prompt and len(asked) > 3
            else said[1]
        )

    ctx = context(renderer, max_prompt_tokens=2000)
    engine = ScriptedEngine(renderer.tokenizer, say)
    responses = [["alpha", "b"], ["beta", "c"], ["gamma"]]
    (votes,), (usage,) = drive(
        [PolicyJudge(max_tokens=64).judge(ctx, problem(), responses, 1)], [problem()], engine
    )
    assert votes == [[2], [None], []]
    assert ctx.events["p"] == {"judge_unparsable": 1}
    first, second = engine.rounds[:2]
    assert [a.params.temperature for a in first] == [0.0] * 3
    assert [a.params.temperature for a in second] == [0.6] * 2
    assert usage.judge_calls == 5


def test_policy_judge_leaves_out_what_does_not_fit(renderer):
    ctx = context(renderer, max_prompt_tokens=400)
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: '{"first_error": 1}')
    (votes,), _ = drive(
        [PolicyJudge().judge(ctx, problem(), [["ok"], ["1234567890" * 60]], 2)], [problem()], engine
    )
    assert votes == [[], []] or votes == [[1, 1], []]
    assert ctx.events["p"]["judge_prompt_too_long"] == sum(not v for v in votes)


def test_a_second_model_draws_something_else_when_asked_again(packaged):
    from sage_bench.judges.policy import LocalModel
    from sage_bench.types import Sample, Sampling

    model = LocalModel(packaged)
    prompt = model.renderer.answer("3*9+6")
    one, same, again = (
        Sample(prompt, 4, Sampling(1.0, 1.0, 12), purpose="judge", key=("judge", n))
        for n in (0, 0, 1)
    )
    a, b, c = model.answer([one, same, again])
    assert [x.tokens for x in a] == [x.tokens for x in b] != [x.tokens for x in c]


# --- what SGPO makes of a judge ------------------------------------------------------------------
class Says:
    """A judge that answers from a list; [] = no valid vote."""

    def __init__(self, *votes):
        self.votes, self.asked = list(votes), []

    def judge(self, ctx, prob, responses, votes):
        self.asked += responses
        return self.votes[: len(responses)]
        yield


def test_sgpo_scores_a_whole_group_or_none_of_it(renderer):
    texts = [
        "3*4=1 and more. Then so on.",
        "one step only here" + CUT,  # cut off, so it may be without a wrong step
        "3*4=2 and more. Then that is it.",
    ]
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: ["", *texts][k])
    for votes, scored in (([[1], [None], [2]], True), ([[1], [], [2]], False)):
        ctx = context(renderer)
        method = SGPO(ctx, group_size=4, judge="reference", judge_share=1.0, reward="raw")
        method.judge = Says(*votes)
        (item,) = collect(method, [problem(answer="7")], engine)
        # the empty response is worth 0 and needs no judge
        assert len(method.judge.asked) == 3
        assert all(method.judge.asked)
        if scored:
            assert item.group.scores.tolist() == [0.0, 0.0, 1.0, 0.5]
            assert ctx.events["p"] == {"judged": 3}
        else:
            assert item.group.scores is None
            assert ctx.events["p"] == {"judge_failed": 1}
            assert all((r.advantage == 0).all() for r in item.rows)


# --- how good a judge is -------------------------------------------------------------------------
def rows_of(*pairs: tuple[int, int | None], question: str | None = None) -> list[dict]:
    return [
        {
            "file": "f",
            "subset": "",
            "label": label,
            "judgement": said,
            "question": question or i,
            "seconds": 0.25,
            "judge_calls": 2,
        }
        for i, (label, said) in enumerate(pairs)
    ]


def test_metrics_of_a_worked_example():
    """4 rows with an error (found at the step, too early, missed, abstained), 3 without (cleared,
    accused, abstained)."""
    s = score(rows_of((2, 2), (3, 1), (1, -1), (0, None), (-1, -1), (-1, 0), (-1, None)))
    assert (
        s["rows"],
        s["judged"],
        s["abstained"],
        s["errors"],
        s["early"],
        s["late"],
        s["calls"],
    ) == (7, 5, 2, 4, 1, 0, 14)
    assert s["exact"] == pytest.approx(2 / 7)
    assert s["error_acc"] == pytest.approx(1 / 4)
    assert s["correct_acc"] == pytest.approx(1 / 3)
    assert s["f1"] == pytest.approx(2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3)) == pytest.approx(2 / 7)
    assert s["precision"] == pytest.approx(2 / 3)
    assert s["recall"] == pytest.approx(2 / 4)
    assert s["split_f1"] == pytest.approx(4 / 7)
    assert s["exact_lo"], s["exact_hi"] == pytest.approx(wilson(2, 7))
    assert s["exact_se"] == pytest.approx(
        (2 / 7 * 5 / 7 / 6) ** 0.5
    )  # one row a question: sd / sqrt(n)


def test_an_abstention_is_never_right():
    for label in (-1, 0, 3):
        s = score(rows_of((label, None)))
        assert s["exact"] == 0
        assert s["abstained"] == 1
        assert s["judged"] == 0
    assert score(rows_of((-1, None), (0, None)))["f1"] == 0


def test_a_set_without_errors_has_no_f1_and_rows_of_one_question_are_one_piece_of_evidence():
    s = score(rows_of((-1, -1), (-1, 0)))
    assert s["f1"] != s["f1"]
    assert s["recall"] != s["recall"]
    assert s["correct_acc"] == 0.5
    many = [r for i in range(10) for r in rows_of(*[(0, 0 if i % 2 else -1)] * 5, question=f"q{i}")]
    assert score(many)["exact_se"] > 2 * clustered_se(
        pd.Series([r["judgement"] == 0 for r in many]).to_numpy(float), range(50)
    )
    assert f1_interval([True] * 4, [True, False] * 2, range(4)) == (1.0, 1.0)


def test_summary_gives_every_subset_its_line_and_the_file_another():
    rows = [
        {**r, "subset": s} for s in ("a", "b") for r in rows_of((0, 0), (-1, -1 if s == "a" else 0))
    ]
    parts = summary(rows)
    assert [(p["subset"], p["rows"], p["f1"]) for p in parts] == [
        ("a", 2, 1.0),
        ("b", 2, 0.0),
        ("all", 4, pytest.approx(2 / 3)),
    ]
    assert parts[-1]["f1_mean"] == 0.5


# --- labelled data -------------------------------------------------------------------------------
GOOD = [
    {
        "id": "gsm8k-1",
        "problem": "2+3*4?",
        "steps": ["3*4 = 12", "2 + 12 = 15", "\\boxed{15}"],
        "label": 1,
        "gold": 14,
    },
    {
        "id": "gsm8k-2",
        "problem": "2+3*4?",
        "steps": ["3*4 = 12", "2 + 12 = 14", "\\boxed{14}"],
        "label": -1,
        "gold": "14",
    },
    {
        "id": "math-1",
        "problem": "1/3?",
        "steps": ["1/3 = 0.33", "so \\boxed{\\frac13}"],
        "label": -1,
        "gold": "\\frac{1}{3}",
    },
    {
        "id": "math-2",
        "question": "6?",
        "steps": [{"text": "3 x 2 = 7"}, {"text": ""}],
        "ratings": [-1, 1],
        "answer": 6,
    },
]
BAD = [
    ({"id": "a", "steps": ["x"], "label": 0}, "no question"),
    ({"id": "b", "problem": "q", "label": 0}, "no steps"),
    ({"id": "c", "problem": "q", "steps": "x", "label": 0}, "its steps are no list"),
    ({"id": "d", "problem": "q", "steps": ["x", 3], "label": 0}, "a step is no text"),
    ({"id": "e", "problem": "q", "steps": ["x"]}, "no label"),
    ({"id": "f", "problem": "q", "steps": ["x"], "label": 1}, "its label is none of its steps"),
    ({"id": "g", "problem": "q", "steps": ["x"], "label": -2}, "its label is none of its steps"),
    ({"id": "h", "problem": "q", "steps": ["x"], "label": True}, "its label is no whole number"),
    ({"id": "i", "problem": "q", "steps": ["x"], "label": 0.5}, "its label is no whole number"),
    ({"id": "gsm8k-1", "problem": "q", "steps": ["x"], "label": 0}, "its id occurs twice"),
    ({"id": "j", "problem": "q", "steps": ["", " "], "label": 0}, "no steps"),
    ({"id": "k", "problem": "q", "steps": ["x"], "label": "N/A"}, "its label is no whole number"),
    (
        {"id": "l", "problem": "q", "steps": ["x", "y"], "ratings": [1]},
        "it has not one rating for each step",
    ),
]


def write(file: Path, rows: list) -> str:
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(file)


def test_rows_that_do_not_fit_are_set_aside_with_their_reason(tmp_path):
    found = read_labelled([write(tmp_path / "steps.jsonl", [*GOOD, *(r for r, _ in BAD), [1]])])
    assert [(r.uid, r.subset, r.label, len(r.steps), r.problem.answer) for r in found.rows] == [
        ("gsm8k-1", "gsm8k", 1, 3, "14"),
        ("gsm8k-2", "gsm8k", -1, 3, "14"),
        ("math-1", "math", -1, 2, "\\frac{1}{3}"),
        ("math-2", "math", 0, 2, "6"),
    ]
    assert [q["reason"] for q in found.quarantine] == [reason for _, reason in BAD] + [
        "not a JSON object"
    ]
    assert found.quarantine[0]["place"] == "steps.jsonl:5"
    assert found.reasons()["no steps"] == 2


def test_limit_takes_the_first_rows_of_each_subset_and_solutions_are_joined(tmp_path):
    file = write(tmp_path / "steps.jsonl", GOOD)
    write(
        tmp_path / "s.jsonl",
        [{"problem": "2 + 3*4 ?", "solution": "3*4=12, 2+12=14", "answer": "14"}],
    )
    found = read_labelled([file], limit=1, solutions=[str(tmp_path / "s.jsonl")])
    assert [r.uid for r in found.rows] == ["gsm8k-1", "math-1"]
    assert [r.problem.solution for r in found.rows] == ["3*4=12, 2+12=14", None]


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_other_file_types_of_steps_are_read(suffix, tmp_path):
    frame = pd.DataFrame(GOOD[:3])
    file = tmp_path / f"steps{suffix}"
    (
        file.write_text(frame.to_json(orient="records"))
        if suffix == ".json"
        else frame.astype({"gold": str}).to_parquet(file)
    )
    assert [(r.uid, r.steps, r.label) for r in read_labelled([str(file)]).rows] == [
        (r["id"], tuple(r["steps"]), r["label"]) for r in GOOD[:3]
    ]


def test_nothing_usable_and_no_such_file_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"no usable row \(1 x no label\)"):
        read_labelled([write(tmp_path / "a.jsonl", [BAD[4][0]])])
    with pytest.raises(UsageError, match="no such data file"):
        read_labelled([str(tmp_path / "none.jsonl")])
    with pytest.raises(UsageError, match="two files are called"):
        read_labelled([str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl")])


def test_the_real_files_are_read_whole(shared):
    found = read_labelled([str(f) for f in sorted((shared / "data/steps").glob("*.jsonl"))])
    assert found.reasons() == {
        "no steps": 123,
        "its id occurs twice": 1,
    }  # marks of whole solutions, no steps; one repeated PRMBench id
    assert {r.subset for r in found.rows if r.file == "processbench"} == {
        "gsm8k",
        "math",
        "olympiadbench",
        "omnimath",
    }
    assert all(r.label == -1 for r in found.rows if r.file == "prm800k_ratings_300")
    assert len(found.rows) == 2479


# --- running a judge -----------------------------------------------------------------------------
class Counting(Reference):
    """The reference judge, counting what it is asked; it abstains from questions with `1/3`."""

    def __init__(self):
        self.asked: list[str] = []

    def judge(self, ctx, prob, responses, votes):
        self.asked.append(prob.uid)
        said = yield from super().judge(ctx, prob, responses, votes)
        return [[] for _ in said] if "1/3" in prob.question else said


def test_rows_already_judged_are_not_judged_again(tmp_path):
    found = read_labelled([write(tmp_path / "steps.jsonl", GOOD)])
    config = JudgeConfig("reference", tmp_path / "out", batch=2)
    first = Counting()
    rows = judge_rows(config, lambda: first, found, quiet=True)
    assert [r["judgement"] for r in rows] == [1, -1, None, 0]
    assert [r["votes"] for r in rows] == [
        [2],
        [None],
        [],
        [1],
    ]
    store = (tmp_path / "out/judgements.jsonl").read_text()
    (tmp_path / "out/judgements.jsonl").write_text(
        "\n".join(store.splitlines()[:2]) + '\n{"name": "steps/ma'
    )  # killed while it wrote the third
    second = Counting()
    again = judge_rows(config, lambda: second, found, quiet=True)
    assert second.asked == ["steps/math-1", "steps/math-2"]
    assert [(r["name"], r["judgement"]) for r in again] == [
        (r["name"], r["judgement"]) for r in rows
    ]

    def never():
        raise AssertionError("nothing is left to judge")

    assert judge_rows(config, never, found, quiet=True) == again  # not even the judge is made
    third = Counting()
    judge_rows(
        JudgeConfig("reference", tmp_path / "out", retry=True), lambda: third, found, quiet=True
    )
    assert third.asked == ["steps/math-1"]  # --retry: what was abstained from
    changed = [{**GOOD[0], "steps": ["3*4 = 12", "2 + 12 = 14"]}, *GOOD[1:]]
    fourth = Counting()
    judge_rows(
        config,
        lambda: fourth,
        read_labelled([write(tmp_path / "steps.jsonl", changed)]),
        quiet=True,
    )
    assert fourth.asked == ["steps/gsm8k-1"]  # a row that changed is another row
    with pytest.raises(UsageError, match=r"another judge \(votes: 1 then, 3 now"):
        judge_rows(JudgeConfig("reference", tmp_path / "out", votes=3), never, found, quiet=True)


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", "judge-eval", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


def test_the_verb_prints_the_table_and_writes_it(tmp_path):
    write(tmp_path / "steps.jsonl", [*GOOD, BAD[0][0]])
    done = run("--judge", "reference", "steps.jsonl", "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "| steps/gsm8k | 2 | 2 | 0 | 100.0 ± –" in done.stdout
        or "| steps/gsm8k | 2 | 2 | 0 | 100.0 |" in done.stdout
    )
    assert "set aside: 1 x no question" in done.stdout
    assert "4/4" in done.stderr
    assert done.stdout.rstrip().endswith("o")
    parts = json.loads((tmp_path / "o/summary.json").read_text())["parts"]
    assert [(p["subset"], p["rows"], p["exact"], p["f1"]) for p in parts] == [
        ("gsm8k", 2, 1.0, 1.0),
        ("math", 2, 1.0, 1.0),
        ("all", 4, 1.0, 1.0),
    ]
    assert len(list(read_jsonl(tmp_path / "o/judgements.jsonl"))) == 4
    assert list(pd.read_csv(tmp_path / "o/summary.csv").subset) == ["gsm8k", "math", "all"]
    before = (tmp_path / "o/judgements.jsonl").read_bytes()
    assert (
        run("--judge", "reference", "steps.jsonl", "--out", "o", cwd=tmp_path).stdout == done.stdout
    )
    assert (tmp_path / "o/judgements.jsonl").read_bytes() == before


def test_a_killed_run_goes_on(tmp_path, shared):
    """Killed with -9 while it judges; the same command then judges the rest only, and ends in the
    judgements of an undisturbed run."""
    words = [
        "--judge",
        "reference",
        str(shared / "data/steps/mr_gsm8k.jsonl"),
        "--batch",
        "8",
        "-q",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "sage_bench", "judge-eval", *words, "--out", "killed"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    store = tmp_path / "killed/judgements.jsonl"
    deadline = time.monotonic() + 240
    while (
        process.poll() is None
        and time.monotonic() < deadline
        and not (store.exists() and store.stat().st_size)
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = store.read_text().rpartition("\n")[0]
    assert 0 < before.count("\n") + 1 < 293
    assert run(*words, "--out", "killed", cwd=tmp_path).returncode == 0
    assert run(*words, "--out", "whole", cwd=tmp_path).returncode == 0
    assert store.read_text().startswith(before)
    facts = [
        {
            r["name"]: (r["judgement"], r["votes"])
            for r in read_jsonl(tmp_path / d / "judgements.jsonl")
        }
        for d in ("killed", "whole")
    ]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 293 == len(list(read_jsonl(store)))


def test_the_policy_needs_a_model_and_a_tiny_one_abstains(tmp_path):
    write(tmp_path / "steps.jsonl", GOOD)
    done = run("--judge", "policy", "steps.jsonl", "--out", "o", cwd=tmp_path)
    assert done.returncode == 2
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(
        "--judge",
        "policy",
        "max_tokens=16",
        "steps.jsonl",
        "--model",
        "tiny-llama",
        "--votes",
        "2",
        "--out",
        "p",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = list(read_jsonl(tmp_path / "p/judgements.jsonl"))
    # it knows only its own arithmetic, and says no JSON
    assert [r["judgement"] for r in rows] == [None] * 4
    assert all(r["events"] for r in rows)
    assert json.loads((tmp_path / "p/summary.json").read_text())["parts"][-1]["abstained"] == 4
    assert "| steps/all | 4 | 0 | 4 | 0.0" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--judge", "referense", "steps.jsonl"], 2, "did you mean `reference`"),
        (["--judge", "reference", "none.jsonl"], 2, "no such data file"),
        (["--judge", "reference", "votes=3"], 2, "no file"),
        (["--judge", "reference", "steps.jsonl", "depth=3"], 2, "options of the judge"),
        (
            ["--judge", "openai", "steps.jsonl", "model=x", "base_url=localhost"],
            2,
            "judge: base_url",
        ),
        (
            [
                "--judge",
                "openai",
                "steps.jsonl",
                "model=x",
                "base_url=http://localhost/v1",
                "api_key=sk-secret",
            ],
            2,
            "key_env",
        ),
        (["--judge", "policy", "steps.jsonl", "--model", "/none"], 1, "no such model folder"),
    ],
)
def test_wrong_usage_of_the_verb(words, code, said, tmp_path):
    write(tmp_path / "steps.jsonl", GOOD)
    done = run(*words, "--out", "o", cwd=tmp_path)
    assert done.returncode == code
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "sk-secret" not in done.stderr + done.stdout
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"sk-secret" in f.read_bytes()]
    assert not (tmp_path / "o/judgements.jsonl").exists()


def test_judges_are_listed():
    assert JUDGES.names() == ["openai", "policy", "reference"]
    done = subprocess.run(
        [sys.executable, "-m", "sage_bench", "ls", "judges", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert {r["name"] for r in json.loads(done.stdout)} == set(JUDGES.names())
    assert all(r["about"] for r in json.loads(done.stdout))
