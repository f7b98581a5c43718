"""Items put together: sets of numbers by their sign, what is excluded, conditions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from sage_bench.grading.robust.read.forms import (
    Combined,
    Form,
    Many,
    Named,
    Relation,
    Value,
    Whole,
    Words,
)
from sage_bench.grading.robust.read.nodes import INFINITY, names_in, negative, number, symbols
from sage_bench.grading.robust.text.rules import WIDE

_DECORATIONS = {
    "^+": ">",
    "_+": ">",
    "_>0": ">",
    "^>0": ">",
    "^-": "<",
    "_-": "<",
    "_<0": "<",
    "_\\ge0": ">=",
    "^\\ge0": ">=",
    "_0^+": ">=",
    "^+_0": ">=",
    "_\\le0": "<=",
    "^*": "!=",
}
_INEQUALITIES = {"<", "<=", ">", ">="}


def number_set(name: str, decoration: str) -> Form | None:
    r"""`\reals` and the like with what stands at its foot and head; None where that is unknown."""
    if not decoration:
        return Whole(name[1:])
    kind = _DECORATIONS.get(decoration)
    if name == "\\reals" and kind:
        return _half_reals(kind)
    if name not in {"\\integers", "\\naturals"}:
        return None
    if kind == ">=" or decoration == "_0":
        return Whole("nonnegative integers")
    if kind == ">" or (kind == "!=" and name == "\\naturals"):
        return Whole("naturals")
    return None


def _half_reals(kind: str) -> Form:
    """The reals above, below or other than zero."""
    zero, infinity, minus_infinity = map(Value, (number(0), INFINITY, negative(INFINITY)))
    positive = Many((zero, infinity), "[" if kind == ">=" else "(", ")")
    negatives = Many((minus_infinity, zero), "(", "]" if kind == "<=" else ")")
    if kind == "!=":
        return Combined("union", (negatives, positive))
    return positive if kind[0] == ">" else negatives


def flattened(items: Sequence[Form]) -> tuple[Form, ...]:
    """Items of bare lists among the others: `1, ±2` are three things."""
    out: list[Form] = []
    for item in items:
        out.extend(item.items if isinstance(item, Many) and not item.opening else (item,))
    return tuple(out)


def as_set(form: Form) -> Form:
    """What is excluded: a set of the values that are listed."""
    if isinstance(form, Many) and form.opening:
        return form
    items = form.items if isinstance(form, Many) else (form,)
    return Many(tuple(i.value if isinstance(i, Named) else i for i in items), "{", "}")


def all_excluded(items: list[Form]) -> list[Form]:
    """`x ≠ 1, 2`: the second is excluded as well."""
    out: list[Form] = []
    for item in items:
        last = out[-1] if out else None
        if isinstance(item, Value) and isinstance(last, Relation) and last.ops == ("!=",):
            item = Relation((last.sides[0], item.node), ("!=",))
        out.append(item)
    return out


def is_domain(last: Form, others: list[Form]) -> bool:
    """`y = 2x, x >= 0`: an inequality about a symbol of the formula before it."""
    if not isinstance(last, Relation) or not set(last.ops) <= _INEQUALITIES:
        return False
    if len(others) > 1 or not isinstance(others[0], Named):
        return False
    inside = others[0].value
    about = {n for s in last.sides if not isinstance(s, Words) for n in symbols(s)}
    return isinstance(inside, Value) and len(about) == 1 and about <= symbols(inside.node)


def combined_conditions(items: Sequence[Form], between: set[str]) -> Combined | None:
    """Inequalities and points joined by words, or by commas where something is excluded.

    between: the separators that stand between the items. None for anything else.
    """
    relations = [i for i in items if isinstance(i, Relation)]
    if not relations or any("=" in r.ops for r in relations):
        return None
    if not all(isinstance(i, Relation) or _is_point(i) for i in items):
        return None
    if len(relations) == len(items) and _about_different(relations):
        return Combined("or" if "or" in between else "and", tuple(items))
    if between <= {"or", "and", WIDE}:
        return Combined("or" if "or" in between else "and", tuple(items))
    if any("!=" in r.ops for r in relations):  # "-3 < a < 1, a != 0"
        return Combined("and", tuple(items))
    return None


def _about_different(relations: Sequence[Relation]) -> bool:
    """`x > 0, y > 0`: each about a symbol of its own, so that a comma can only mean "and"."""
    names = [n for r in relations for n in sorted(names_in(r))]
    inequalities = all(set(r.ops) <= _INEQUALITIES for r in relations)
    return inequalities and len(relations) > 1 and len(names) == len(set(names)) == len(relations)


def _is_point(form: Form) -> bool:
    """`x = 5`."""
    if not isinstance(form, Named) or form.in_words or form.parameters:
        return False
    return isinstance(form.value, Value)


def choices(items: list[Form], *, linked: bool) -> list[list[Form]]:
    r"""The tuples that `(\pm 1, \pm 2)` stands for: all four.

    linked: with a `\mp` among the signs they go together.
    """
    free = [i.items if _is_either(i) else (i,) for i in items]  # type: ignore[union-attr]  # Many
    if linked:
        return [[f[k] if len(f) == 2 else f[0] for f in free] for k in (0, 1)]
    few = sum(len(f) == 2 for f in free) <= 6
    return [list(row) for row in product(*free)] if few else [items]


def _is_either(form: Form) -> bool:
    return isinstance(form, Many) and not form.opening and len(form.items) == 2
