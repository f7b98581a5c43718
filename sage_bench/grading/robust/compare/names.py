"""When two names are those of the same thing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sage_bench.grading.robust.compare.equations import equation_of, same_relation
from sage_bench.grading.robust.read.forms import Form, Many, Named, Value
from sage_bench.grading.robust.read.nodes import renaming, substitute

_PLACE = re.compile(
    r"(?:.*\b(?:attained|achieved|reached|occurs|occurring|minimum|maximum)\b.*\s)?(?:at|when|where)\b",
    re.I,
)


def same_name(g: Named, a: Named) -> bool:
    """`x_1` and `x`, `f(x)` and `f(t)`, `y` and `f(x)`, "Maximum" and "Maximum value"."""
    if g.in_words or a.in_words:
        shorter, longer = sorted((g.name.casefold(), a.name.casefold()), key=len)
        return longer.startswith(shorter) or not (g.in_words and a.in_words)
    ours_indexed, theirs_indexed = _indexed(g.name), _indexed(a.name)
    if ours_indexed and theirs_indexed:
        return ours_indexed[0] == theirs_indexed[0]
    if _root_of(g.name) == a.name or _root_of(a.name) == g.name:
        return True
    ours, theirs = (n.name.partition("(")[0] for n in (g, a))
    if ours == theirs and len(g.parameters) == len(a.parameters):
        return True
    if (ours == "y" and a.parameters == ("x",)) or (theirs == "y" and g.parameters == ("x",)):
        return True
    return _bare(g.name) == _bare(a.name)


def names_place(name: str) -> bool:
    """ "Attained at x", "at x", "when n": where a value is taken rather than the value."""
    return bool(_PLACE.match(name))


def as_equations(g: Named, a: Named) -> bool:
    """`y = 2x` and `x = y/2`: the same equation, named by another symbol."""
    if g.in_words or a.in_words:
        return False
    return same_relation(equation_of(g), equation_of(a))


def in_order_of(name: str, a: Named) -> Form | None:
    """The value of `(q, p) = (2, 3)` in the order of `(p, q)`.

    As it is where the letters are others; None where it is not a single tuple.
    """
    ours, theirs = ([p.strip() for p in n.strip("()").split(",")] for n in (name, a.name))
    if ours == theirs or sorted(ours) != sorted(theirs):
        return a.value
    if not isinstance(a.value, Many) or not a.value.ordered or len(a.value.items) != len(ours):
        return None
    moved = tuple(a.value.items[theirs.index(n)] for n in ours)
    return Many(moved, a.value.opening, a.value.closing)


def as_named_items(g: Form, a: Form) -> tuple[Many, Many] | None:
    """`(b, a) = (1, 2)` beside `a = 2, b = 1`: both as lists of named values.

    None where it is not one of each, or their names are others.
    """
    spread, listed = _spread(g) or g, _spread(a) or a
    if not isinstance(spread, Many) or not isinstance(listed, Many) or (g, a) == (spread, listed):
        return None
    ours, theirs = ([i.name for i in m.items if isinstance(i, Named)] for m in (spread, listed))
    whole = len(ours) == len(spread.items) and len(theirs) == len(listed.items)
    return (spread, listed) if whole and sorted(ours) == sorted(theirs) else None


def _spread(form: Form) -> Many | None:
    """`(a, b) = (1, 2)` as `a = 1, b = 2`; None for anything else."""
    if not isinstance(form, Named) or form.name[:1] != "(" or not isinstance(form.value, Many):
        return None
    names = [part.strip() for part in form.name.strip("()").split(",")]
    if not form.value.ordered or len(names) != len(form.value.items):
        return None
    return Many(tuple(Named(n, v) for n, v in zip(names, form.value.items, strict=True)))


def with_parameters(g: Named, a: Named) -> Form:
    """The answer's value with its parameters called as in the gold: `f(z) = z` and `f(x) = x`."""
    ours, theirs = _indexed(g.name), _indexed(a.name)
    if ours and theirs and isinstance(a.value, Value):
        return Value(substitute(a.value.node, renaming({theirs[1]: ours[1]})), a.value.unit)
    if not isinstance(a.value, Value) or not g.parameters or g.parameters == a.parameters:
        return a.value
    if len(g.parameters) != len(a.parameters):
        return a.value
    names = dict(zip(a.parameters, g.parameters, strict=True))
    return Value(substitute(a.value.node, renaming(names)), a.value.unit)


def are_roots(names: Sequence[str]) -> bool:
    """x_1, x_2, x_3: all solutions of one equation, in no order."""
    parts = [n.partition("_") for n in names]
    numbered = sorted(index for _, _, index in parts)
    one_letter = len({letter for letter, _, _ in parts}) == 1
    return one_letter and numbered == [str(i + 1) for i in range(len(parts))]


def _indexed(name: str) -> tuple[str, str] | None:
    """(`a`, `n`) of `a_n`, a sequence told by its general term."""
    m = re.fullmatch(r"([A-Za-z])_\{?([i-nr])\}?", name)
    return (m[1], m[2]) if m else None


def _root_of(name: str) -> str | None:
    """`x` for `x_1` and `x_max`: the first, second ... value of the same unknown."""
    base, _, index = name.partition("_")
    return base if index.isdigit() or index.strip("{\\} ") in {"max", "min"} else None


def _bare(name: str) -> str:
    return "".join(c for c in name if c not in "{}() \\")
