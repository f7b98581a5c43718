"""Values of expressions to many digits, at chosen values of their symbols."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import mpmath

from sage_bench.grading.robust.read.nodes import Node, exact, walk

DIGITS = 50
CLOSE = (
    mpmath.mpf(10) ** -30
)  # relative difference below which two values computed to DIGITS are the same
mpmath.mp.dps = DIGITS


class Undefined(ArithmeticError):
    """No finite value here (division by zero, out of the domain)."""


def evaluate(node: Node, at: Mapping[str, Any], log_base: Any = None, real: bool = False) -> Any:
    """The value as an mpf or mpc. log_base: what `\\log` without a base means (natural unless
    given). Raises `Undefined`.

    real: roots, fractional powers and logarithms of negative numbers are undefined.

    >>> from sage_bench.grading.robust.read.nodes import number
    >>> str(evaluate(Node("root", (number(2), number(2))), {}))[:8]
    '1.414213'
    """
    try:
        value = _value(node, at, log_base if log_base is not None else mpmath.e, real)
    except (
        ZeroDivisionError,
        ValueError,
        OverflowError,
        TypeError,
        mpmath.libmp.NoConvergence,
    ) as error:
        raise Undefined(str(error)) from error
    if isinstance(value, mpmath.mpc) and abs(value.imag) <= CLOSE * max(1, abs(value.real)):
        value = value.real
    if not mpmath.isfinite(value):
        raise Undefined("not finite")
    return value


def _value(node: Node, at: Mapping[str, Any], base: Any, real: bool) -> Any:
    op, args = node
    if op == "num":
        return mpmath.mpf(args[0].numerator) / args[0].denominator
    if op == "sym":
        return at[args[0]]
    if op == "const":
        return {
            "pi": mpmath.pi,
            "e": mpmath.e,
            "i": mpmath.mpc(0, 1),
            "log": base,
            "oo": mpmath.inf,
        }[args[0]] * 1
    if op in {"pm", "mp", "ellipsis"}:
        raise Undefined("no single value")
    if op == "based":
        return mpmath.mpf(int(args[0], args[1]))
    if op == "app":
        return _stand_in(args[0], [_value(a, at, base, real) for a in args[1:]])
    if op == "dots":  # the ends in either order; where they count in numbers, the step as well
        first, second = exact(args[1]), exact(args[3]) if len(args) > 3 else None
        step = "" if first is None else str(abs(second - first) if second is not None else 1)
        return _stand_in(
            f"{args[0]} by {step}", [_value(a, at, base, real) for a in args[1:3]], symmetric=True
        )
    values = [_value(a, at, base, real) if isinstance(a, Node) else a for a in args]
    if real and op in {"pow", "root", "log"}:
        inner, how = (
            (values[0], values[1])
            if op == "pow"
            else (values[1], 1 / values[0] if op == "root" else 0.5)
        )
        if (
            not isinstance(inner, mpmath.mpc)
            and inner < 0
            and (isinstance(how, mpmath.mpc) or how != int(how))
            and not (op == "root" and values[0] == int(values[0]) and int(values[0]) % 2)
        ):
            raise Undefined("outside the real domain")
    return _FUNCTIONS[op](*values)


def _stand_in(name: str, values: list[Any], symmetric: bool = False) -> Any:
    """An unknown function is some fixed smooth function of its own: equal arguments give equal
    values, others do not."""
    seed = hashlib.sha256(name.encode()).digest()
    total = mpmath.mpf(seed[0] + 1) / 97
    for k, v in enumerate(values):
        a, b = (
            1 + mpmath.mpf(seed[1 + (0 if symmetric else k) % 15]) / 301,
            mpmath.mpf(seed[16 + (0 if symmetric else k) % 15]) / 53,
        )
        total += mpmath.sin(a * v + b) + a * v / 3
    return total


def _power(a: Any, b: Any) -> Any:
    if a == 0 and (mpmath.re(b) <= 0):
        raise Undefined("0 to a power that is not positive")
    if not isinstance(b, mpmath.mpc) and abs(b) > 10**7 and abs(a) != 1:
        raise Undefined("too large a power")
    return mpmath.power(a, b)


def _root(n: Any, x: Any) -> Any:
    if not isinstance(x, mpmath.mpc) and x < 0 and n == int(n) and int(n) % 2:
        return -mpmath.root(-x, int(n))
    return mpmath.power(x, 1 / n)


def _whole(f: Any) -> Any:
    def of(x: Any) -> Any:
        near = mpmath.nint(x)
        return near if abs(x - near) < CLOSE * max(1, abs(x)) else f(x)

    return of


def _factorial(x: Any) -> Any:
    if abs(x) > 10**6:
        raise Undefined("too large a factorial")
    return mpmath.gamma(x + 1)


def _sum(*values: Any) -> Any:
    return sum(values[1:], values[0])


def _times(*values: Any) -> Any:
    out = values[0]
    for v in values[1:]:
        out = out * v
    return out


def _named(name: str, *x: Any) -> Any:
    if name in {"max", "min"}:
        return (max if name == "max" else min)(x)
    if name in {"gcd", "lcm", "det"}:
        raise Undefined(name)
    short = {
        "arcsin": "asin",
        "arccos": "acos",
        "arctan": "atan",
        "arccot": "acot",
        "arcsec": "asec",
        "arccsc": "acsc",
        "arcsinh": "asinh",
        "arccosh": "acosh",
        "arctanh": "atanh",
    }
    return getattr(mpmath, short.get(name, name))(*x)


_FUNCTIONS = {
    "add": _sum,
    "mul": _times,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "pow": _power,
    "root": _root,
    "abs": abs,
    "fact": _factorial,
    "floor": _whole(mpmath.floor),
    "ceil": _whole(mpmath.ceil),
    "binom": mpmath.binomial,
    "deg": lambda a: a * mpmath.pi / 180,
    "pct": lambda a: a / 100,
    "fn": _named,
    "log": lambda b, x: mpmath.log(x) / mpmath.log(b),
}
_WHOLE_ONLY = {"fact", "binom", "floor", "ceil"}


def is_for_integers(node: Node) -> bool:
    """Does the expression make sense for whole numbers in the first place: factorials, (-1)^n,
    floors, ellipses?"""
    for n in walk(node):
        if n.op in _WHOLE_ONLY or (
            n.op == "pow" and n.args[0].op == "neg" and any(m.op == "sym" for m in walk(n.args[1]))
        ):
            return True
    return False


def points(names: list[str], whole: bool, trials: int) -> list[dict[str, Any]]:
    """Values to try, the same in every run: whole numbers from 2 on, or reals of growing size, of
    both signs in every third."""
    out = []
    for t in range(trials):
        at = {}
        for name in names:
            h = int.from_bytes(hashlib.sha256(f"{t}|{name}".encode()).digest()[:8], "big")
            if whole:
                at[name] = mpmath.mpf(2 + h % (5 + 2 * t))
            else:
                size = mpmath.mpf(h) / 2**64 * (0.9, 1.7, 3.1)[t % 3] + mpmath.mpf(1) / 19
                at[name] = -size if t % 3 == 2 and h & 1 else size
        out.append(at)
    return out
