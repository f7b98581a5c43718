"""The robust grader: what holds for any answer."""

from __future__ import annotations

import re
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage_bench.grading.robust import equivalent
from sage_bench.grading.robust.compare.readings import same_reading
from sage_bench.grading.robust.read.nodes import Unreadable
from sage_bench.grading.robust.read.readings import read
from sage_bench.grading.robust.text.clean import clean


def box(answer: str) -> str:
    return rf"so the answer is $\boxed{{{answer}}}$."


whole = st.integers(-(10**6), 10**6).map(str)
fraction = st.tuples(st.integers(-500, 500), st.integers(1, 99)).map(
    lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"
)
decimal = st.decimals(-1000, 1000, places=3, allow_nan=False).map(str)
surd = st.tuples(st.integers(1, 30), st.integers(2, 50)).map(lambda t: rf"{t[0]}\sqrt{{{t[1]}}}")
term = st.one_of(
    whole,
    fraction,
    decimal,
    surd,
    st.sampled_from(
        ["x", "2x+1", r"\pi", "x^2", r"\sin x", r"\frac{x}{y}", "n!", r"\ln 2", "e^{2t}", r"x_{1}"]
    ),
)
number = st.one_of(whole, fraction, surd)


@st.composite
def answers(draw):
    """Answers of every form."""
    some = draw(st.lists(term, min_size=2, max_size=4))
    a, b = draw(number), draw(number)
    return draw(
        st.sampled_from(
            [
                some[0],
                ", ".join(some),
                "(" + ", ".join(some) + ")",
                r"\{" + ", ".join(some) + r"\}",
                f"[{a}, {b})",
                f"x = {some[0]}",
                f"f(x) = {some[0]}",
                rf"{a} < x \le {b}",
                rf"\begin{{pmatrix}} {some[0]} \\ {some[1]} \end{{pmatrix}}",
                rf"{a} \text{{ cm}}",
                rf"\${abs(hash(a)) % 1000}",
                rf"{a}\%",
                rf"{a}^\circ",
                rf"{some[0]} \text{{ or }} {some[1]}",
                rf"(-\infty, {a}) \cup ({b}, \infty)",
                rf"\pm {surd_of(a)}",
                r"\text{Alice}",
                f"{some[0]} = {some[1]}",
            ]
        )
    )


def surd_of(text: str) -> str:
    return text.lstrip("-")


def compare(gold: str, answer: str) -> bool | None:
    """The reading alone, without math-verify; None for what we leave to it."""
    try:
        return any(same_reading(g, a) for g in read(gold) for a in read(answer))
    except Unreadable:
        return None


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(answers())
def test_every_answer_is_itself(answer):
    assert compare(answer, answer) is True


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    answers(),
    st.sampled_from(["spaces", "dfrac", "left", "dollars", "display", "stop", "box", "text"]),
)
def test_typesetting_changes_nothing(answer, how):
    other = {
        "spaces": lambda s: re.sub(r"([,=<+])", r" \1 ", s),
        "dfrac": lambda s: s.replace(r"\frac", r"\dfrac"),
        "dollars": lambda s: f"${s}$" if r"\$" not in s else s,
        "left": lambda s: re.sub(
            r"(?<!\\)([(\[])", r"\\left\1", re.sub(r"(?<!\\)([)\]])", r"\\right\1", s)
        ),
        "display": lambda s: r"\displaystyle " + s,
        "stop": lambda s: s + ".",
        "box": lambda s: rf"\boxed{{{s}}}",
        "text": lambda s: r"\text{The answer is } " + s,
    }[how](answer)
    assert equivalent(answer, other)["correct"], (clean(answer), clean(other))


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(number, min_size=1, max_size=4, unique=True),
    st.lists(number, min_size=1, max_size=4, unique=True),
    st.sampled_from(["{}", "()", ""]),
)
def test_exact_collections_compare_both_ways_alike(a, b, kind):
    left, right = {"{}": (r"\{", r"\}"), "()": ("(", ")"), "": ("", "")}[kind]
    one, two = (left + ", ".join(x) + right for x in (a, b))
    assert compare(one, two) == compare(two, one)
    if kind != "()":
        assert compare(one, left + ", ".join(reversed(a)) + right)
    elif len(a) > 1:
        assert (
            not compare(one, left + ", ".join(reversed(a)) + right)
            or a == a[::-1]
            or compare(a[0], a[-1]) is not False
        )


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(number, min_size=2, max_size=5, unique=True), st.data())
def test_a_missing_or_another_solution_is_never_right(values, data):
    distinct = [v for i, v in enumerate(values) if not any(compare(v, w) for w in values[:i])]
    if len(distinct) < 2:
        return
    fewer = data.draw(
        st.lists(st.sampled_from(distinct), min_size=1, max_size=len(distinct) - 1, unique=True)
    )
    for opening, closing in ((r"\{", r"\}"), ("", "")):
        assert not compare(", ".join(distinct), opening + ", ".join(fewer) + closing)
    assert not compare(", ".join(distinct), ", ".join([*distinct[:-1], "98765"]))


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_numbers_are_compared_exactly(a, b):
    value = Fraction(a, b)
    assert compare(f"{a}/{b}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}")
    assert compare(f"{a:,}", str(a))
    assert not compare(f"{a}/{b}", rf"\frac{{{value.numerator + 1}}}{{{value.denominator}}}")
    assert not compare(str(a), str(a + 1))


@settings(
    derandomize=True, max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(
        st.sampled_from(
            list("\\{}[]()|,.;:=<>+-*/^_!'%$&~ 0123456789abdefinopqrstxy")
            + [
                "\\frac",
                "\\sqrt",
                "\\text{",
                "\\left",
                "\\right",
                "\\begin{pmatrix}",
                "\\end{pmatrix}",
                "\\pm",
                "\\cup",
                "\\infty",
                "\\le",
                "^\\circ",
                " and ",
                " or ",
                "½",
                "π",
                "×10^",
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_no_text_breaks_the_reader(text):
    assert compare(text, text) in {True, False, None}
    assert compare("x", text) in {True, False, None}
    assert isinstance(clean(text), str)


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(max_size=80))
def test_the_grader_answers_any_text(robust, text):
    for verdict in robust.grade("12", [text, box(text)]):
        assert verdict.status in {"ok", "no_answer", "parse_error", "timeout", "crash"}
        assert verdict.status == "ok" or not verdict.correct
