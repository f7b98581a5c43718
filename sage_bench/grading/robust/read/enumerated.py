r"""Finite sets that are described: `(x, y) with x, y ∈ \{1, -1\} and x < y` is a list of pairs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Form, Many, Value
from sage_bench.grading.robust.read.nodes import Node, Unreadable
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.text.tokens import RELATIONS, Token, at_commas, split

MOST = 4096
_EMPTY = set(
    "with each where such that and all every for any are is both which in satisfying".split()
)
_TESTS: dict[str, Callable[[Any], Any]] = {  # of the left side minus the right one
    "=": lambda d: abs(d) < CLOSE,
    "!=": lambda d: abs(d) >= CLOSE,
    "<": lambda d: d < -CLOSE,
    ">": lambda d: d > CLOSE,
    "<=": lambda d: d <= CLOSE,
    ">=": lambda d: d >= -CLOSE,
}
Predicate = Callable[[Mapping[str, Node]], bool]


def enumerated(template: list[Token], condition: list[Token]) -> Form | None:
    r"""The tuples (or numbers) a template of symbols takes under a condition.

    None where the condition is not wholly understood.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> def count(template, condition):
    ...     found = enumerated(tokenize(clean(template)), tokenize(clean(condition)))
    ...     return found and len(found.items)
    >>> count("(x, y)", r"\text{with } x, y \in \{1, 2, 3\} \text{ and } x < y")
    3
    >>> count("(x, y)", r"x, y \in \{1, 2\}, x \text{ beautiful}"), count("(x, y)", "x < y")
    (None, None)
    """
    names = [t.text for t in template if t.kind == "sym"]
    if not names or len(set(names)) != len(names):
        return None
    if any(t.kind not in {"sym", "open", "close", "sep"} for t in template):
        return None
    domains, rest = _domains(condition, names)
    if set(domains) != set(names):
        return None
    try:
        tests = [_test(clause) for clause in rest]
    except (Unreadable, ValueError):
        return None
    if math.prod(len(d) for d in domains.values()) > MOST:
        return None
    rows = []
    for row in itertools.product(*(domains[n] for n in names)):
        at = dict(zip(names, row, strict=True))
        if all(test(at) for test in tests):
            rows.append(row)
    if template[0].kind != "open" or not template[0].text:
        return Many(tuple(Value(r[0]) for r in rows), "{", "}")
    return Many(tuple(Many(tuple(map(Value, row)), "(", ")") for row in rows), "{", "}")


def _domains(
    tokens: Sequence[Token], names: Sequence[str]
) -> tuple[dict[str, list[Node]], list[list[Token]]]:
    r"""What `x, y \in \{...\}` gives each name, and the clauses that are left."""
    domains: dict[str, list[Node]] = {}
    kept = list(tokens)
    while (at := next((i for i, t in enumerate(kept) if t.text == "\\in"), None)) is not None:
        end = next((i for i in range(at, len(kept)) if kept[i].text == "\\}"), None)
        if end is None or kept[at + 1].text != "\\{":
            return {}, []
        start = at
        while start and (kept[start - 1].kind == "sep" or kept[start - 1].text in names):
            start -= 1
        try:
            values = [parse(p) for p in at_commas(kept[at + 2 : end])]
        except Unreadable:
            return {}, []
        for t in kept[start:at]:
            if t.kind == "sym":
                domains[t.text] = values
        kept[start : end + 1] = [Token("sep", ",")]
    clauses = split(kept, lambda t: t.kind == "sep")
    return domains, [c for c in clauses if not all(map(_is_empty, c))]


def _is_empty(t: Token) -> bool:
    """A word that says nothing by itself."""
    return t.kind == "word" and set(t.text.lower().split()) <= _EMPTY


def _test(clause: list[Token]) -> Predicate:
    """A predicate over values: a relation, or the parity of how often a value occurs.

    Raises `Unreadable`.
    """
    words = " ".join(t.text.lower() for t in clause if t.kind == "word")
    counted = re.search(r"\b(even|odd) number of$", words)
    if counted:
        shown = [t for t in clause if t.kind in {"num", "op"} and t.text != "'"]
        value, rest = exact(parse(shown)), 0 if counted[1] == "even" else 1
        return lambda at: sum(exact(v) == value for v in at.values()) % 2 == rest
    clause = [t for t in clause if not _is_empty(t)]
    cuts = [i for i, t in enumerate(clause) if t.kind == "rel"]
    if len(cuts) != 1 or RELATIONS[clause[cuts[0]].text] not in _TESTS:
        raise Unreadable("a condition that is not a relation")
    left, right = parse(clause[: cuts[0]]), parse(clause[cuts[0] + 1 :])
    holds = _TESTS[RELATIONS[clause[cuts[0]].text]]

    def test(at: Mapping[str, Node]) -> bool:
        numbers = {n: evaluate(v, {}) for n, v in at.items()}
        try:
            return bool(holds(mpmath.re(evaluate(left, numbers) - evaluate(right, numbers))))
        except (Undefined, KeyError):
            return False

    return test
