"""What stated arithmetic says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_bench.judges.arithmetic import equations

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
