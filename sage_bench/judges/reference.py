"""A judge without a model: compares what each step states with the reference solution."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from fractions import Fraction

from sage_bench.judges.base import Judging
from sage_bench.method import Context
from sage_bench.registry import register_judge
from sage_bench.rollout import Problem

_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
_EQUATION = re.compile(rf"((?:[\d.,()]|[-+*/^×÷·]|\s)*\d\)?)\s*=\s*\$?\s*({_NUMBER})")
_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


@register_judge("reference")
class Reference:
    """Deterministic: a step is wrong when an equation it states has another result than the reference's equation with the same
    left side, when its arithmetic is false and the reference does not state it, or when its boxed answer is not the gold."""

    def judge(self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int) -> Judging:
        known = dict(equations(problem.solution or ""))
        return [[first_wrong(steps, known, problem.answer)] for steps in responses]
        yield  # a generator that asks for nothing


def first_wrong(steps: Sequence[str], known: dict[str, Fraction], answer: str) -> int | None:
    """The first wrong step (1-based), or None.

    >>> first_wrong(["3*9=7", "7+6=4"], {"3*9": Fraction(7), "7+6": Fraction(3)}, "73"), first_wrong(["2+2=4", "4*3=13"], {}, "12")
    (2, 2)
    """
    for i, step in enumerate(steps, 1):
        for left, right in equations(step):
            if left in known:
                if known[left] != right:
                    return i
            elif (value := evaluate(left)) is not None and value != right:
                return i
        box = _BOX.search(step)
        if box and answer and _plain(box[1]) != _plain(answer):
            return i
    return None


def equations(text: str) -> list[tuple[str, Fraction]]:
    """Numeric equations a text states: (left side without blanks, right side); chains `a = b = c` give each pair.

    >>> equations("so 3 * 9 = 27 apples and 27+6=33")
    [('3*9', Fraction(27, 1)), ('27+6', Fraction(33, 1))]
    """
    text = text.replace(r"\times", "*").replace(r"\cdot", "*").replace(r"\div", "/").replace("×", "*").replace("÷", "/").replace("·", "*").replace("$", " ")
    found = []
    for m in _EQUATION.finditer(text):
        left = re.sub(r"[\s,]", "", m[1]).lstrip("*/+^.)")
        if re.search(r"\d.*[-+*/^].*\d", left):
            found.append((left, Fraction(m[2].replace(",", ""))))
    return found


def evaluate(left: str) -> Fraction | None:
    """Exact value of plain arithmetic, or None where it is none.

    >>> evaluate("3*(2+5)/2"), evaluate("2^3"), evaluate("1/0"), evaluate("3*")
    (Fraction(21, 2), Fraction(8, 1), None, None)
    """
    try:
        return _value(ast.parse(left.replace("^", "**"), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        return -_value(node.operand) if isinstance(node.op, ast.USub) else _value(node.operand)
    if isinstance(node, ast.BinOp):
        a, b = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult):
            return a * b
        if isinstance(node.op, ast.Div):
            return a / b
        if isinstance(node.op, ast.Pow) and b.denominator == 1 and abs(b) <= 20:
            return a**b
    raise ValueError("no plain arithmetic")


def _plain(text: str) -> str:
    return re.sub(r"[\s$,]|\\[!,;]", "", text).rstrip(".")
