"""Values of expressions to many digits, at chosen values of their symbols."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import mpmath

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.nodes import Kind, Node, walk

DIGITS = 50
# two values computed to DIGITS digits are the same below this relative difference
CLOSE = mpmath.mpf(10) ** -30
mpmath.mp.dps = DIGITS

Value = Any  # an mpf or mpc: mpmath has no types
LARGEST_EXPONENT = 10**7
LARGEST_FACTORIAL = 10**6


class Undefined(ArithmeticError):
    """No finite value here (division by zero, out of the domain)."""


def evaluate(
    node: Node, at: Mapping[str, Value], log_base: Value = None, real: bool = False
) -> Value:
    r"""The value as an mpf or mpc. Raises `Undefined`.

    log_base: what `\log` without a base means (natural unless given). real: roots, fractional
    powers and logarithms of negative numbers are undefined.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> str(evaluate(parse_text(r"\sqrt 2"), {}))[:8]
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


def _value(node: Node, at: Mapping[str, Value], base: Value, real: bool) -> Value:
    kind, args = node
    if kind is Kind.NUM:
        return mpmath.mpf(args[0].numerator) / args[0].denominator
    if kind is Kind.SYM:
        return at[args[0]]
    if kind is Kind.CONST:
        return base * 1 if args[0] == "log" else _CONSTANTS[args[0]] * 1
    if kind in (Kind.PM, Kind.MP, Kind.ELLIPSIS):
        raise Undefined("no single value")
    if kind is Kind.BASED:
        return mpmath.mpf(int(args[0], args[1]))
    if kind is Kind.APP:
        return _stand_in(args[0], [_value(a, at, base, real) for a in args[1:]])
    if kind is Kind.DOTS:
        ends = [_value(a, at, base, real) for a in args[1:3]]
        return _stand_in(f"{args[0]} by {_step(args)}", ends, symmetric=True)
    values = [_value(a, at, base, real) if isinstance(a, Node) else a for a in args]
    if real and kind in (Kind.POW, Kind.ROOT, Kind.LOG):
        _check_real(kind, values)
    return _FUNCTIONS[kind](*values)


_CONSTANTS = {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.mpc(0, 1), "oo": mpmath.inf}


def _step(args: tuple[Any, ...]) -> str:
    """The step of an ellipsis that counts in numbers; empty where it does not."""
    first = exact(args[1])
    second = exact(args[3]) if len(args) > 3 else None
    if first is None:
        return ""
    return str(abs(second - first)) if second is not None else "1"


def _check_real(kind: Kind, values: list[Value]) -> None:
    """Refuse even roots, fractional powers and logarithms of negative numbers."""
    if kind is Kind.POW:
        inner, exponent = values[0], values[1]
    elif kind is Kind.ROOT:
        inner, exponent = values[1], 1 / values[0]
    else:
        inner, exponent = values[1], 0.5
    if isinstance(inner, mpmath.mpc) or inner >= 0:
        return
    if not isinstance(exponent, mpmath.mpc) and exponent == int(exponent):
        return
    odd_root = kind is Kind.ROOT and values[0] == int(values[0]) and int(values[0]) % 2
    if not odd_root:
        raise Undefined("outside the real domain")


def _stand_in(name: str, values: list[Value], symmetric: bool = False) -> Value:
    """An unknown function is some fixed smooth function of its own.

    Equal arguments give equal values, others do not. symmetric: in any order.
    """
    seed = hashlib.sha256(name.encode()).digest()
    total = mpmath.mpf(seed[0] + 1) / 97
    for k, v in enumerate(values):
        place = 0 if symmetric else k
        slope = 1 + mpmath.mpf(seed[1 + place % 15]) / 301
        shift = mpmath.mpf(seed[16 + place % 15]) / 53
        total += mpmath.sin(slope * v + shift) + slope * v / 3
    return total


def _power(a: Value, b: Value) -> Value:
    if a == 0 and mpmath.re(b) <= 0:
        raise Undefined("0 to a power that is not positive")
    if not isinstance(b, mpmath.mpc) and abs(b) > LARGEST_EXPONENT and abs(a) != 1:
        raise Undefined("too large a power")
    return mpmath.power(a, b)


def _root(n: Value, x: Value) -> Value:
    if not isinstance(x, mpmath.mpc) and x < 0 and n == int(n) and int(n) % 2:
        return -mpmath.root(-x, int(n))
    return mpmath.power(x, 1 / n)


def _whole(rounding: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """Floor or ceiling that leaves what is whole up to rounding errors."""

    def of(x: Value) -> Value:
        near = mpmath.nint(x)
        return near if abs(x - near) < CLOSE * max(1, abs(x)) else rounding(x)

    return of


def _factorial(x: Value) -> Value:
    if abs(x) > LARGEST_FACTORIAL:
        raise Undefined("too large a factorial")
    return mpmath.gamma(x + 1)


def _sum(*values: Value) -> Value:
    return sum(values[1:], values[0])


def _times(*values: Value) -> Value:
    out = values[0]
    for v in values[1:]:
        out = out * v
    return out


def _named(name: str, *x: Value) -> Value:
    if name in {"max", "min"}:
        return (max if name == "max" else min)(x)
    if name in {"gcd", "lcm", "det"}:
        raise Undefined(name)
    if name.startswith("arc"):
        name = "a" + name.removeprefix("arc")
    function = getattr(mpmath, name, None)
    if function is None:
        raise Undefined(name)
    return function(*x)


_FUNCTIONS: dict[Kind, Callable[..., Value]] = {
    Kind.ADD: _sum,
    Kind.MUL: _times,
    Kind.DIV: lambda a, b: a / b,
    Kind.NEG: lambda a: -a,
    Kind.POW: _power,
    Kind.ROOT: _root,
    Kind.ABS: abs,
    Kind.FACT: _factorial,
    Kind.FLOOR: _whole(mpmath.floor),
    Kind.CEIL: _whole(mpmath.ceil),
    Kind.BINOM: mpmath.binomial,
    Kind.DEG: lambda a: a * mpmath.pi / 180,
    Kind.PCT: lambda a: a / 100,
    Kind.FN: _named,
    Kind.LOG: lambda b, x: mpmath.log(x) / mpmath.log(b),
}
_WHOLE_ONLY = (Kind.FACT, Kind.BINOM, Kind.FLOOR, Kind.CEIL)


def is_for_integers(node: Node) -> bool:
    """Does it make sense for whole numbers in the first place: factorials, (-1)^n, floors?"""
    for n in walk(node):
        if n.kind in (Kind.FLOOR, Kind.CEIL) and _is_whole_anyway(n.args[0]):
            return False
        if n.kind in _WHOLE_ONLY:
            return True
        if n.kind is Kind.POW and n.args[0].kind is Kind.NEG:
            if any(m.kind is Kind.SYM for m in walk(n.args[1])):
                return True
    return False


def _is_whole_anyway(node: Node) -> bool:
    """Is it whole for whole numbers, so that rounding it means any number: a polynomial?"""
    kinds = {n.kind for n in walk(node)}
    return Kind.SYM in kinds and kinds <= {Kind.SYM, Kind.NUM, Kind.ADD, Kind.MUL, Kind.NEG}


def points(names: list[str], whole: bool, trials: int) -> list[dict[str, Value]]:
    """Values to try, the same in every run.

    Whole numbers from 2 on, or reals of growing size, of both signs in every third.
    """
    tried = [{name: _point(trial, name, whole) for name in names} for trial in range(trials)]
    # the same number for all: where one symbol divides another, chance seldom makes it even
    return [dict.fromkeys(names, mpmath.mpf(6)), *tried] if whole and len(names) > 1 else tried


def _point(trial: int, name: str, whole: bool) -> Value:
    chance = int.from_bytes(hashlib.sha256(f"{trial}|{name}".encode()).digest()[:8], "big")
    if whole:
        return mpmath.mpf(2 + chance % (5 + 2 * trial))
    size = mpmath.mpf(chance) / 2**64 * (0.9, 1.7, 3.1)[trial % 3] + mpmath.mpf(1) / 19
    return -size if trial % 3 == 2 and chance & 1 else size
