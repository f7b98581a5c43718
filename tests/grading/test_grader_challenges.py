"""Answers written to trip a grader: right ones in another form, wrong ones that look right. No
wrong one may count; the right ones are counted by kind.

`grader_challenges.jsonl` holds gold, answer, label and kind. The labels are a mathematician's,
written before the grader was run on them.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.robust import equivalent

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("grader_challenges.jsonl").read_text().splitlines()
]
KINDS = list(dict.fromkeys(r["kind"] for r in ROWS))
MISSED = {  # kind: right answers we do not take, as measured; every other kind has none
    "words": 1,
    "intervals": 2,
    "polynomials": 1,
    "equations": 2,
    "bases": 1,
    "families": 2,
    "polynomials and inequalities with words": 3,
    "calculus": 1,
    "geometry": 1,
    "more traps": 1,
}


@pytest.fixture(scope="module")
def taken(robust) -> dict[tuple[str, str], bool]:
    """(gold, answer): does it count?"""
    return grade(robust, [(r["gold"], r["answer"]) for r in ROWS])


def grade(grader, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], bool]:
    by_gold = defaultdict(list)
    for gold, answer in pairs:
        by_gold[gold].append(answer)
    verdicts = {}
    for gold, answers in by_gold.items():
        for answer, verdict in zip(
            answers, grader.grade(gold, [rf"\boxed{{{a}}}" for a in answers]), strict=True
        ):
            assert verdict.status in {"ok", "parse_error"}, (gold, answer, verdict)
            verdicts[gold, answer] = verdict.correct
    return verdicts


# --- the hand-written rows
# ---------------------------------------------------------------------------------------------
def test_the_set_is_large_and_mixed():
    labels = Counter(r["label"] for r in ROWS)
    assert len(ROWS) > 2000
    assert min(labels.values()) > 800
    assert len(KINDS) > 30
    assert len({(r["gold"], r["answer"]) for r in ROWS}) == len(ROWS)
    assert all(len(r["answer"]) < 200 for r in ROWS)


def test_no_wrong_answer_counts(taken):
    assert not [
        (r["kind"], r["gold"], r["answer"])
        for r in ROWS
        if not r["label"] and taken[r["gold"], r["answer"]]
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_right_answers_count(kind, taken):
    right = [r for r in ROWS if r["kind"] == kind and r["label"]]
    missed = [(r["gold"], r["answer"]) for r in right if not taken[r["gold"], r["answer"]]]
    print(f"{kind}: {len(right) - len(missed)} of {len(right)} right answers count")
    assert len(missed) <= MISSED.get(kind, 0), missed


@pytest.mark.slow
def test_math_verify_takes_more_wrong_and_fewer_right_answers(taken, pool):
    """On every fifth row (it is slow)."""
    rows = ROWS[::5]
    theirs = grade(MathVerify(pool), [(r["gold"], r["answer"]) for r in rows])
    wrong, right = (
        sum(theirs[r["gold"], r["answer"]] for r in rows if r["label"] is label)
        for label in (False, True)
    )
    assert wrong > 10
    assert right < sum(taken[r["gold"], r["answer"]] for r in rows if r["label"])


# --- what holds for any pair ---------------------------------------------------------------------
def test_every_gold_and_every_answer_is_itself(robust):
    texts = list(dict.fromkeys(t for r in ROWS for t in (r["gold"], r["answer"])))
    assert not [
        gold for (gold, _), same in grade(robust, [(t, t) for t in texts]).items() if not same
    ]


def test_forms_without_conventions_compare_both_ways_alike(taken, robust):
    """Lists, sets, intervals, tuples, matrices, functions: no rounding, no unit that may be left
    out."""
    kinds = {
        "lists",
        "sets",
        "intervals",
        "tuples",
        "matrices",
        "functions",
        "complex",
        "symbolic",
        "polynomials",
        "linear inequalities",
        "words",
        "ratios",
        "choices",
    }
    rows = [r for r in ROWS if r["kind"] in kinds]
    turned = grade(robust, [(r["answer"], r["gold"]) for r in rows])
    assert not [
        (r["gold"], r["answer"])
        for r in rows
        if turned[r["answer"], r["gold"]] != taken[r["gold"], r["answer"]]
    ]


def spaced(text: str) -> str:
    return re.sub(r"(?<!\\)([=<>+])", r" \1 ", text)


def sized(text: str) -> str:
    if (
        "\\left" in text
        or "\\text" in text
        or "sqrt[" in text
        or Counter(text)["("] != Counter(text)[")"]
        or Counter(text)["["] != Counter(text)["]"]
    ):
        return text
    return re.sub(r"(?<!\\)([(\[])", r"\\left\1", re.sub(r"(?<!\\)([)\]])", r"\\right\1", text))


def in_dollars(text: str) -> str:
    return text if "$" in text else f"${text}$"


@pytest.mark.parametrize(
    "change",
    [
        spaced,
        sized,
        in_dollars,
        lambda t: rf"\displaystyle {t}",
        lambda t: f" {t} ",
        lambda t: t if t[-1] in "-/?,!" else f"{t}.",
    ],
)
def test_typesetting_changes_no_verdict(change, taken, robust):
    changed = {(r["gold"], r["answer"]): (r["gold"], change(r["answer"])) for r in ROWS}
    verdicts = grade(robust, list(changed.values()))
    assert not [pair for pair, other in changed.items() if verdicts[other] != taken[pair]]


# --- made systematically -------------------------------------------------------------------------
SMALL = st.integers(-30, 30)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    SMALL,
    st.integers(1, 30),
    st.sampled_from(["[]", "[)", "(]", "()"]),
    st.sampled_from(["[]", "[)", "(]", "()"]),
)
def test_brackets_of_an_interval_count(low, width, ours, theirs):
    gold = f"{ours[0]}{low}, {low + width}{ours[1]}"
    below, above = ("\\le" if b in "[]" else "<" for b in theirs)
    inequality, turned = (
        f"{low} {below} x {above} {low + width}",
        (
            f"{low + width} {above.replace('le', 'ge').replace('<', '>')} x"
            f" {below.replace('le', 'ge').replace('<', '>')} {low}"
        ),
    )
    for answer in (
        f"{theirs[0]}{low}, {low + width}{theirs[1]}",
        inequality,
        turned,
        rf"\{{x \mid {inequality}\}}",
    ):
        assert equivalent(gold, answer)["correct"] == (ours == theirs), answer
    assert not equivalent(gold, f"{ours[0]}{low}, {low + width + 1}{ours[1]}")["correct"]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(SMALL, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_order_counts_in_tuples_and_vectors_only(values, chance):
    moved = list(values)
    chance.shuffle(moved)
    one, two = (", ".join(map(str, v)) for v in (values, moved))
    column = r"\begin{pmatrix} " + r" \\ ".join(map(str, moved)) + r" \end{pmatrix}"
    assert (
        equivalent(f"({one})", f"({two})")["correct"]
        == equivalent(f"({one})", column)["correct"]
        == (values == moved)
    )
    assert equivalent(rf"\{{{one}\}}", rf"\{{{two}\}}")["correct"]
    assert equivalent(one, two)["correct"]
    assert not equivalent(one, ", ".join(map(str, [*moved[1:], 77])))["correct"]
    assert not equivalent(one, ", ".join(map(str, [*moved, 77])))["correct"]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(SMALL, min_size=3, max_size=3), SMALL.filter(bool), st.integers(0, 2))
def test_a_polynomial_is_its_expansion_and_no_other(roots, lead, at):
    a, b, c = roots
    factored = f"{lead}(x-({a}))(x-({b}))(x-({c}))"
    coefficients = [lead, -lead * (a + b + c), lead * (a * b + b * c + c * a), -lead * a * b * c]
    right = "".join(f"{v:+d}x^{{{3 - i}}}" for i, v in enumerate(coefficients))
    coefficients[at] += 1
    assert equivalent(factored, right)["correct"]
    assert not equivalent(
        factored, "".join(f"{v:+d}x^{{{3 - i}}}" for i, v in enumerate(coefficients))
    )["correct"]


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    st.integers(1, 5000),
    st.sampled_from(
        [
            ("cm", "m", 100),
            ("minutes", "hours", 60),
            ("grams", "kg", 1000),
            ("cents", "dollars", 100),
            ("inches", "feet", 12),
            ("seconds", "minutes", 60),
            ("mL", "L", 1000),
        ]
    ),
)
def test_a_unit_is_converted_and_never_ignored(n, units):
    small, large, size = units
    gold = rf"{n} \text{{ {large}}}"
    assert equivalent(gold, rf"{n * size} \text{{ {small}}}")["correct"]
    assert equivalent(gold, str(n))["correct"]
    assert not equivalent(gold, rf"{n} \text{{ {small}}}")["correct"]
    assert not equivalent(gold, str(n * size))["correct"]
    assert not equivalent(gold, rf"{n * size} \text{{ {large}}}")["correct"]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.integers(2, 10**7), st.sampled_from(["ten times", "tenth", "minus", "next", "swap", "half"])
)
def test_a_slip_in_a_number_is_a_wrong_answer(n, slip):
    digits = str(n)
    other = {
        "ten times": f"{n}0",
        "tenth": f"{n / 10:.1f}",
        "minus": f"-{n}",
        "next": str(n + 1),
        "swap": digits[::-1],
        "half": rf"\frac{{{n}}}{{2}}",
    }[slip]
    assume(other.lstrip("0") != digits)
    for gold in (digits, f"{n:,}", rf"{n}\pi", rf"x = {n}"):
        wrong = gold.replace(f"{n:,}", digits).replace(digits, other)
        assert not equivalent(gold, wrong)["correct"], wrong


@settings(max_examples=60, derandomize=True, deadline=None)
@given(SMALL, st.integers(1, 12), st.integers(1, 6), st.sampled_from("kmn"))
def test_families_of_solutions(start, part, period, letter):
    gold = rf"x = \frac{{{start}\pi}}{{{part}}} + {period}k\pi, k \in \mathbb{{Z}}"
    assert equivalent(
        gold,
        rf"\frac{{{start + 2 * part * period}\pi}}{{{part}}} - {period}\pi {letter}, {letter} \in"
        r" \mathbb{Z}",
    )["correct"]
    for wrong in (
        rf"\frac{{{start}\pi}}{{{part}}} + {2 * period}{letter}\pi, {letter} \in \mathbb{{Z}}",
        rf"\frac{{{start}\pi}}{{{part}}} + {period}{letter}\pi, {letter} \in \mathbb{{N}}",
        rf"\frac{{{start}\pi}}{{{part}}}",
    ):
        assert not equivalent(gold, wrong)["correct"], wrong


# --- noise ---------------------------------------------------------------------------------------
BITS = [
    *"\\{}[]()|,.;:=<>+-*/^_!'%$&~ 0123456789abcdefijkmnxyzAC",
    "\\frac",
    "\\sqrt",
    "\\text{",
    "\\left",
    "\\right",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\pm",
    "\\mp",
    "\\cup",
    "\\infty",
    "\\le",
    "^\\circ",
    " and ",
    " or ",
    "\\ldots",
    "\\ne",
    "\\mathbb{R}",
    "\\setminus",
    "\\in",
    "\\log",
    "\\sin",
    "^{",
    "_{",
    "\\binom",
    "\\overline{",
    "9^{9^",
    "10^{",
    "\\%",
    "\\$",
]


def damaged(text: str, chance: random.Random) -> str:
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        i, j = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        text = chance.choice(
            (
                text[:i] + chance.choice(BITS) + text[i:],
                text[:i] + text[i + 2 :],
                text[:i] + text[i:j] * 2 + text[j:],
                text[:i] + "10000" + text[i:],
                text + chance.choice(BITS),
            )
        )[:400]
    return text


@pytest.mark.slow
def test_noise_is_graded_quickly_and_breaks_nothing(robust):
    chance = random.Random(7)
    texts = [r["answer"] for r in ROWS]
    for _ in range(1000):
        gold = chance.choice(texts)
        answer = (
            damaged(gold, chance)
            if chance.random() < 0.85
            else "".join(chance.choice(BITS) for _ in range(chance.randint(1, 40)))
        )
        began = time.monotonic()
        (verdict,) = robust.grade(gold, [rf"\boxed{{{answer}}}"])
        assert (
            verdict.status in {"ok", "parse_error", "no_answer"} and time.monotonic() - began < 8
        ), (gold, answer, verdict)
