"""The oat grader's steps one by one, the string and the multiple-choice grader, the canaries, the
registry of graders."""

from __future__ import annotations

import pytest
from data_files import rows_of

from sage_bench.grading.canary import canaries, packages
from sage_bench.grading.extract import boxes, extract
from sage_bench.grading.graders.mcq import Mcq
from sage_bench.grading.graders.oat import Oat
from sage_bench.grading.graders.string import String
from sage_bench.grading.oat import by_sympy, equivalent, mathd, plain, repetitive
from sage_bench.grading.pool import Pool
from sage_bench.grading.registry import GRADERS


@pytest.fixture(scope="module")
def pool():
    pool = Pool(workers=1, timeout=5.0)
    yield pool
    pool.close()


def box(answer: str) -> str:
    return rf"so \boxed{{{answer}}}"


@pytest.mark.parametrize(
    ("gold", "answer"),
    rows_of("oat_spellings.jsonl"),
)
def test_step_a_is_equal_spelling(gold, answer):
    assert mathd(gold) == mathd(answer)


def test_a_text_command_in_the_middle_must_be_single():
    assert (
        mathd(r"5\text{ cm} or 6\text{ cm} x") == r"5\text{ cm} or 6\text{ cm} x"
    )  # two: left as it is
    assert mathd("m/n") != "m/n"
    assert mathd("xy") == "xy"


def test_step_b_reads_elements_numbers_and_scale_words():
    assert by_sympy("(1,2)", "(1, 2)")
    assert by_sympy("3/2", "1 1/2")
    assert by_sympy("[0,1)", "[0,1)")
    assert by_sympy(r"\sqrt{12}", r"2\sqrt{3}")
    assert not by_sympy("(1,2)", "[1,2]")
    assert not by_sympy("(1,2)", "(2,1)")
    assert not by_sympy("1/2", "2/4")
    assert not by_sympy("5", "5.5")
    assert not by_sympy("5", "")
    assert plain("2 billion") == "2*10^9"
    assert plain("5 minutes") == "5"
    assert plain("1,234,567") == "1234567"


def test_step_c_needs_math_verify_and_refuses_long_repetitions():
    assert equivalent(r"\frac{1}{2}", r"\frac{2}{4}")["correct"]
    assert not equivalent(r"\frac{1}{2}", r"\frac{2}{4}", fast=True)["correct"]
    assert repetitive("1+" * 100)
    assert not repetitive("1+" * 40)
    import random

    assert not repetitive("".join(random.Random(0).choices("abcdefghijklmnop", k=300)))


def test_oat_takes_lists_numbers_and_boxed_golds(pool):
    oat = Oat(pool=pool)
    texts = [box("5"), box("6"), "5"]
    for gold in ("5", 5, 5.0, ["4", "5"], r"\boxed{5}"):
        assert [v.correct for v in oat.grade(gold, texts)] == [True, False, False], gold
    assert [v.status for v in oat.grade("5", texts)] == ["ok", "ok", "no_answer"]


def test_oat_survives_a_hang(pool):
    verdicts = Oat(pool=pool).grade("1", [box("9^{9^{9^9}}"), box("1")])
    assert not verdicts[0].correct
    assert verdicts[1].correct


@pytest.mark.parametrize(
    ("text", "several", "answer", "status"),
    [
        (r"\boxed{3} wait \boxed{4}", False, "4", "boxed"),
        (r"\boxed{3} wait \boxed{4}", True, "4", "boxed"),
        (r"<think>\boxed{1}</think>\boxed{2}", False, "2", "boxed"),
        (r"so $\boxed{1}$ and $\boxed{2}$", True, "1, 2", "boxed_joined"),
        (r"step \boxed{9}. Then $\boxed{1}$, $\boxed{2}$", True, "1, 2", "boxed_joined"),
        (r"\boxed{1}" + "\n\n" + r"so \boxed{2}", True, "2", "boxed"),
        ("nothing", True, None, "none"),
        (r"<think>\boxed{1}", True, None, "truncated"),
        (r"<think>a</think><think>\boxed{1}", False, None, "truncated"),
    ],
)
def test_where_the_answer_is(text, several, answer, status):
    found = extract(text, several=several)
    assert (found.answer, found.status) == (answer, status)
    assert found.span is None or text[slice(*found.span)].strip()
    assert len(boxes(text)) == text.count("\\boxed")


def test_the_last_box_counts():
    for name in ("string", "math_verify", "mcq"):
        gold, before = ("4", "3") if name != "mcq" else ("B", "A")
        (verdict,) = GRADERS.get(name)().grade(gold, [rf"\boxed{{{before}}} wait \boxed{{{gold}}}"])
        assert verdict.correct and verdict.extracted == gold, name


def test_letters_to_j_are_read_and_bounded_by_the_options():
    letters = "ABCDEFGHIJ"
    ten, four = Mcq([f"option {c}" for c in letters]), Mcq(["w", "x", "y", "z"])
    for c in letters:
        assert [
            v.correct
            for v in ten.grade(
                c,
                [
                    box(c),
                    f"The answer is ({c}).",
                    f"**Answer: {c}**",
                    box(rf"\text{{({c})}}"),
                    f"**({c})**",
                ],
            )
        ] == [True] * 5
    assert four.letter("E") is None
    assert four.gold_error("E")
    assert Mcq().letter("J") == "J"
    assert Mcq().letter("K") is None


def test_a_word_that_begins_with_a_letter_is_not_that_letter():
    texts = [
        "The answer is Boron.",
        "answer is Boron",
        "The answer is a mystery",
        box(r"\text{Boron}"),
        "The correct answer is B",
        "The answer is (A), no: the answer is (B).",
    ]
    assert [v.correct for v in Mcq().grade("B", texts)] == [False, False, False, False, True, True]


def test_option_texts_stand_for_their_letter_when_only_one_has_them():
    m = Mcq(["3 m", "4 m", "4 m", r"$\frac{1}{2}$"])
    assert m.letter("3 m") == "A"
    assert m.letter("4 m") is None
    assert m.letter(r"\dfrac12") == "D"
    assert m.letter("A. 4 m") is None
    assert m.letter("A) 3 m") == "A"
    assert [v.status for v in m.grade("A", [box("9 m"), "no idea", box("(d)")])] == [
        "parse_error",
        "no_answer",
        "ok",
    ]


def test_string_is_only_spelling():
    assert [
        v.correct for v in String().grade("1,2", [box("1, 2"), box("2,1"), box("$1,2$."), "1,2"])
    ] == [True, False, True, False]
    assert String().gold_error(" $ ")
    assert not String().gold_error("x")


def test_the_canaries_sing_and_versions_are_known(pool):
    assert all(c.well for c in canaries(pool))
    assert {p: v for p, v in packages().items() if v == "not installed"} == {}


def test_every_grader_keeps_the_protocol():
    assert {"math_verify", "mcq", "oat", "oat_fast", "sage_eval", "sage_train", "string"} <= set(
        GRADERS.names()
    )
    for name, make in GRADERS.items():
        grader = make()
        gold = "B" if name == "mcq" else "12"
        verdicts = grader.grade(
            gold, [box(gold), "", "no box", box("\\"), box("}{"), "\x00", box("7" * 5000)]
        )
        assert [v.correct for v in verdicts] == [True] + [False] * 6, name
        assert isinstance(grader.version, str)
        assert len(grader.grade(gold, [])) == 0
        assert grader.gold_error(gold) is None
        assert all(
            v.status in {"ok", "no_answer", "parse_error", "timeout", "crash"} for v in verdicts
        )
