r"""Finite sets that are described: `(x, y) with x, y ∈ \{1, -1\} and x < y` is a list of pairs."""

from __future__ import annotations

import itertools
import re

import mpmath

from sage_bench.grading.robust.read.forms import Form, Many, Value
from sage_bench.grading.robust.read.nodes import Node, Unreadable, exact
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.text.tokens import RELATIONS, Token, split

MOST = 4096
_EMPTY = set(
    "with each where such that and all every for any are is both which in satisfying".split()
)
_TESTS = {
    "=": lambda d: abs(d) < CLOSE,
    "!=": lambda d: abs(d) >= CLOSE,
    "<": lambda d: d < -CLOSE,
    ">": lambda d: d > CLOSE,
    "<=": lambda d: d <= CLOSE,
    ">=": lambda d: d >= -CLOSE,
}


def enumerated(template: list[Token], condition: list[Token]) -> Form | None:
    r"""The tuples (or numbers) a template of symbols takes under a condition; None where the
    condition is not wholly understood.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> def count(template, condition): found = enumerated(*(tokenize(clean(t)) for t in (template, condition))); return found and len(found.items)
    >>> count("(x, y)", r"\text{with } x, y \in \{1, 2, 3\} \text{ and } x < y"), count("(x, y)", r"\text{with each } x, y \in \{1, -1\} \text{ and an even number of } -1's")
    (3, 2)
    >>> count("(x, y)", r"x, y \in \{1, 2\}, x \text{ beautiful}"), count("(x, y)", "x < y")
    (None, None)
    """
    names = [t.text for t in template if t.kind == "sym"]
    if (
        not names
        or len(set(names)) != len(names)
        or any(t.kind not in {"sym", "open", "close", "sep"} for t in template)
    ):
        return None
    domains, rest = _domains(condition, names)
    if set(domains) != set(names):
        return None
    try:
        tests = [_test(clause) for clause in rest]
    except (Unreadable, ValueError):
        return None
    size = 1
    for d in domains.values():
        size *= len(d)
    if size > MOST:
        return None
    rows = [
        row
        for row in itertools.product(*(domains[n] for n in names))
        if all(t(dict(zip(names, row, strict=True))) for t in tests)
    ]
    opening = template[0].text if template[0].kind == "open" else ""
    if not opening:
        return Many(tuple(Value(r[0]) for r in rows), "{", "}")
    return Many(tuple(Many(tuple(Value(v) for v in row), "(", ")") for row in rows), "{", "}")


def _domains(
    tokens: list[Token], names: list[str]
) -> tuple[dict[str, list[Node]], list[list[Token]]]:
    r"""What `x, y \in \{...\}` gives each name, and the clauses that are left."""
    domains: dict[str, list[Node]] = {}
    kept = list(tokens)
    while (at := next((i for i, t in enumerate(kept) if t.text == "\\in"), None)) is not None:
        if at + 1 >= len(kept) or kept[at + 1].text != "\\{":
            return {}, []
        end = next((i for i in range(at, len(kept)) if kept[i].text == "\\}"), None)
        start = at
        while start and (kept[start - 1].kind == "sep" or kept[start - 1].text in names):
            start -= 1
        if end is None:
            return {}, []
        try:
            values = [parse(p) for p in split(kept[at + 2 : end], lambda t: t.text == ",")]
        except Unreadable:
            return {}, []
        for t in kept[start:at]:
            if t.kind == "sym":
                domains[t.text] = values
        kept[start : end + 1] = [Token("sep", ",")]
    return domains, [
        c
        for c in split(kept, lambda t: t.kind == "sep")
        if any(t.kind != "word" or not set(t.text.lower().split()) <= _EMPTY for t in c)
    ]


def _test(clause: list[Token]):  # type: ignore[no-untyped-def]
    """A predicate over values: a relation, or the parity of how often a value occurs. Raises
    `Unreadable`."""
    words = " ".join(t.text.lower() for t in clause if t.kind == "word")
    counted = re.search(r"\b(even|odd) number of$", words)
    if counted:
        said = [t for t in clause if t.kind in {"num", "op"} and t.text != "'"]
        value, rest = exact(parse(said)), 0 if counted[1] == "even" else 1
        return lambda at: sum(exact(v) == value for v in at.values()) % 2 == rest
    clause = [t for t in clause if t.kind != "word" or not set(t.text.lower().split()) <= _EMPTY]
    cuts = [i for i, t in enumerate(clause) if t.kind == "rel"]
    if len(cuts) != 1 or RELATIONS[clause[cuts[0]].text] not in _TESTS:
        raise Unreadable("a condition that is no relation")
    left, right, holds = (
        parse(clause[: cuts[0]]),
        parse(clause[cuts[0] + 1 :]),
        _TESTS[RELATIONS[clause[cuts[0]].text]],
    )

    def test(at: dict[str, Node]) -> bool:
        numbers = {n: evaluate(v, {}) for n, v in at.items()}
        try:
            return bool(holds(mpmath.re(evaluate(left, numbers) - evaluate(right, numbers))))
        except (Undefined, KeyError):
            return False

    return test
