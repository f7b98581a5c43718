"""When an answer is the gold in another form. Strict: the order of a tuple, every solution, the
unit and the brackets count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from sage_bench.grading.robust.compare.equations import equation_of, is_quantity, same_relation
from sage_bench.grading.robust.compare.families import family, same_families
from sage_bench.grading.robust.read.forms import (
    Clock,
    Combined,
    Form,
    Many,
    Matrix,
    Named,
    Ratio,
    Reading,
    Relation,
    Value,
    Whole,
    Words,
)
from sage_bench.grading.robust.read.nodes import Node, exact, rename, symbols
from sage_bench.grading.robust.read.parameters import aligned
from sage_bench.grading.robust.read.ranges import pieces, same_pieces
from sage_bench.grading.robust.compare.same import same, same_number
from sage_bench.grading.robust.compare.values import same_clock, same_value
from sage_bench.grading.robust.compare.vectors import components
from sage_bench.grading.robust.text.words import fraction_word, same_words

MOST_ITEMS = 200


def same_reading(gold: Reading, answer: Reading) -> bool:
    r"""Do two readings mean the same?

    >>> from sage_bench.grading.robust.read.reader import read
    >>> def check(gold, answer): return any(same_reading(g, a) for g in read(gold) for a in read(answer))
    >>> check("(1,2)", "(2,1)"), check("1,2", "2,1"), check("1,2", "1"), check("3 hours", "180 minutes"), check("3 hours", "3 minutes")
    (False, True, False, True, False)
    >>> check(r"x = \pm 2", "2, -2"), check("x=1, y=2", "2, 1"), check("k=45, n=2", "n=2, k=45"), check(r"2\pi/3", r"120^\circ")
    (True, False, True, True)
    """
    integers = (
        None
        if "naturals" in {kind for _, kind in (*gold.domains, *answer.domains)}
        else gold.integers | answer.integers
    )
    if (answer := aligned(gold, answer)) is None:  # type: ignore[assignment]
        return False
    if (
        isinstance(gold.condition, Relation)
        and isinstance(answer.condition, Relation)
        and not same_form(gold.condition, answer.condition)
    ):
        return False
    return same_form(gold.form, answer.form, integers)


def same_form(g: Form, a: Form, integers: frozenset[str] | None = frozenset()) -> bool:
    """`same_reading` of forms; integers: symbols that stand for any whole number (None: none does,
    not even beside π)."""
    if isinstance(g, Value) != isinstance(a, Value):
        g, a = components(g, a) or g, components(a, g) or a
    if isinstance(g, Named) or isinstance(a, Named):
        return _named(g, a, integers)
    if isinstance(g, Value) and isinstance(a, Value):
        return same_value(g, a) or _same_families([g], [a], integers)
    if isinstance(g, Words) or isinstance(a, Words):
        return _worded(g, a)
    if isinstance(g, Clock) or isinstance(a, Clock):
        return isinstance(g, Clock) and isinstance(a, Clock) and same_clock(g, a)
    if isinstance(g, Matrix) or isinstance(a, Matrix):
        return _matrices(_as_matrix(g), _as_matrix(a), integers)
    if isinstance(g, Ratio) or isinstance(a, Ratio):
        return _ratios(g, a)
    if _are_ranges(g, a):
        p, q = pieces(g), pieces(a)
        if p is not None and q is not None:
            return same_pieces(p, q) or (
                isinstance(g, Relation) and isinstance(a, Relation) and same_relation(g, a)
            )
    if isinstance(g, Combined) and isinstance(a, Combined) and g.how == a.how:
        return _unordered(g.parts, a.parts, integers)
    if isinstance(g, Relation) or isinstance(a, Relation):
        return _relations(g, a, integers)
    if isinstance(g, Whole) or isinstance(a, Whole):
        return g == a
    if isinstance(g, Many) or isinstance(a, Many):
        return _many(g, a, integers)
    return False


def _are_ranges(g: Form, a: Form) -> bool:
    """Two bracketed pairs are compared place by place (they may be points of the plane), other sets
    of reals as sets."""
    return not (isinstance(g, Many) and isinstance(a, Many))


# --- families and names --------------------------------------------------------------------------
def _same_families(g: Sequence[Form], a: Sequence[Form], integers: frozenset[str] | None) -> bool:
    if integers is None:
        return False
    found = [
        [family(v.node, integers) if isinstance(v, Value) else None for v in map(_value_of, side)]
        for side in (g, a)
    ]
    return all(f is not None for side in found for f in side) and same_families(*found)  # type: ignore[arg-type]


def _value_of(form: Form) -> Form:
    return form.value if isinstance(form, Named) else form


def _named(g: Form, a: Form, integers: frozenset[str] | None) -> bool:
    if isinstance(g, Named) and isinstance(a, Named):
        if g.name[:1] == a.name[:1] == "(":
            moved = _in_order_of(g.name, a)
            return moved is not None and same_form(g.value, moved, integers)
        if _same_name(g, a):
            return same_form(g.value, _with_parameters(g, a), integers)
        return not g.in_words and not a.in_words and same_relation(equation_of(g), equation_of(a))
    if (isinstance(g, Named) and isinstance(a, Relation)) or (
        isinstance(a, Named) and isinstance(g, Relation)
    ):
        p, q = pieces(g), pieces(a)
        if p is not None and q is not None:
            return same_pieces(p, q)
        return same_relation(equation_of(g), equation_of(a))
    return same_form(_value_of(g), _value_of(a), integers)


def _same_name(g: Named, a: Named) -> bool:
    if g.in_words or a.in_words:
        one, two = sorted((g.name.casefold(), a.name.casefold()), key=len)
        return two.startswith(one) or not (g.in_words and a.in_words)
    if _root_of(g.name) == a.name or _root_of(a.name) == g.name:
        return True
    base = [n.name.partition("(")[0] for n in (g, a)]
    if base[0] == base[1] and len(g.parameters) == len(a.parameters):
        return True
    return bool(
        (base[0] == "y" and a.parameters == ("x",)) or (base[1] == "y" and g.parameters == ("x",))
    ) or _bare(g.name) == _bare(a.name)


def _in_order_of(name: str, a: Named) -> Form | None:
    """The value of `(q, p) = (2, 3)` in the order of `(p, q)`; as it is where the letters are
    others; None where it is no single tuple."""
    ours, theirs = ([p.strip() for p in n.strip("()").split(",")] for n in (name, a.name))
    if ours == theirs or sorted(ours) != sorted(theirs):
        return a.value
    if not isinstance(a.value, Many) or not a.value.ordered or len(a.value.items) != len(ours):
        return None
    return Many(
        tuple(a.value.items[theirs.index(n)] for n in ours), a.value.opening, a.value.closing
    )


def _root_of(name: str) -> str | None:
    """`x` for `x_1` and `x_max`: the first, second ... value of the same unknown."""
    base, _, index = name.partition("_")
    return base if index.isdigit() or index.strip("{\\} ") in {"max", "min"} else None


def _bare(name: str) -> str:
    return "".join(c for c in name if c not in "{}() \\")


def _with_parameters(g: Named, a: Named) -> Form:
    """The answer's value with its parameters called as in the gold: `f(z) = z` and `f(x) = x`."""
    if (
        isinstance(a.value, Value)
        and g.parameters
        and len(g.parameters) == len(a.parameters)
        and g.parameters != a.parameters
    ):
        return Value(
            rename(a.value.node, dict(zip(a.parameters, g.parameters, strict=True))), a.value.unit
        )
    return a.value


# --- words, matrices, ratios, relations ----------------------------------------------------------
def _worded(g: Form, a: Form) -> bool:
    if isinstance(g, Words) and isinstance(a, Words):
        return same_words(g.said, a.said)
    words, other = (g, a) if isinstance(g, Words) else (a, g)
    if (
        isinstance(other, Value)
        and other.unit is None
        and (v := exact(other.node)) is not None
        and v.denominator == 1
    ):
        return same_words(words.said, str(v))
    if (
        isinstance(other, Value)
        and other.unit is None
        and (said := fraction_word(words.said)) is not None
    ):
        return exact(other.node) == said
    if isinstance(other, Value) and other.unit is None and other.node.op == "sym":
        return same_words(words.said, other.node.args[0])
    return False


def _as_matrix(form: Form) -> Form:
    """`[[1, 2], [3, 4]]` is a matrix."""
    if (
        isinstance(form, Many)
        and form.items
        and all(isinstance(r, Many) and r.ordered for r in form.items)
    ):
        return Matrix(tuple(r.items for r in form.items))  # type: ignore[union-attr]
    return form


def _matrices(g: Form, a: Form, integers: frozenset[str] | None) -> bool:
    """Entry by entry; a row or a column is also a tuple."""
    if isinstance(g, Matrix) and isinstance(a, Matrix):
        if [len(r) for r in g.rows] != [len(r) for r in a.rows]:
            return False
        return all(
            same_form(x, y, integers)
            for r, s in zip(g.rows, a.rows, strict=True)
            for x, y in zip(r, s, strict=True)
        )
    matrix, other = (g, a) if isinstance(g, Matrix) else (a, g)
    if not isinstance(matrix, Matrix) or not isinstance(other, Many) or other.opening == "{":
        return False
    if len(matrix.rows) > 1 and any(len(r) > 1 for r in matrix.rows):
        return False
    entries = tuple(x for r in matrix.rows for x in r)
    return _ordered(*((entries, other.items) if matrix is g else (other.items, entries)), integers)


def _ratios(g: Form, a: Form) -> bool:
    parts = [
        [v.node for v in f.parts if isinstance(v, Value)] if isinstance(f, Ratio) else None
        for f in (g, a)
    ]
    one, two = parts
    if one and two:
        return len(one) == len(two) and all(
            bool(same(Node("mul", (one[i], two[j])), Node("mul", (one[j], two[i]))))
            for i, j in combinations(range(len(one)), 2)
        )
    ratio, other = (one, a) if one else (two, g)
    return bool(
        ratio
        and len(ratio) == 2
        and isinstance(other, Value)
        and other.unit is None
        and same_number(Node("div", tuple(ratio)), other.node)
    )


def _relations(g: Form, a: Form, integers: frozenset[str] | None) -> bool:
    if isinstance(g, Relation) and isinstance(a, Relation):
        return same_relation(g, a)
    relation, other = (g, a) if isinstance(g, Relation) else (a, g)
    assert isinstance(relation, Relation)
    if (
        isinstance(other, Value)
        and set(relation.ops) == {"="}
        and all(isinstance(s, Node) for s in relation.sides)
    ):
        if (relation is a and not symbols(other.node)) or is_quantity(
            relation.sides[0]
        ):  # an answer may say what its number is the value of
            return same_form(
                *(
                    (g, Value(relation.sides[-1]))
                    if relation is a
                    else (Value(relation.sides[-1]), a)
                ),
                integers,
            )  # type: ignore[arg-type]
        identity = bool(same(*relation.sides[:2])) if len(relation.sides) == 2 else False  # type: ignore[arg-type]
        return identity and bool(same(relation.sides[1], other.node))  # type: ignore[arg-type]
    if (
        isinstance(other, Many)
        and len(set(relation.ops)) == 1
        and relation.ops[0] in {"<", ">"}
        and len(relation.sides) > 2
    ):
        named = [
            s.args[0] if isinstance(s, Node) and s.op == "sym" else None for s in relation.sides
        ]  # "from smallest to largest: b, a, d"
        return None not in named and named == [
            i.node.args[0] if isinstance(i, Value) and i.node.op == "sym" else ""
            for i in other.items
        ]
    return False


# --- several things ------------------------------------------------------------------------------
def _many(g: Form, a: Form, integers: frozenset[str] | None) -> bool:
    if not (isinstance(g, Many) and isinstance(a, Many)):
        several, other = (g, a) if isinstance(g, Many) else (a, g)
        if several is a and isinstance(several, Many) and not several.ordered:
            several = a = _distinct(several, integers)  # "3/4 or 0.75"
        return (
            isinstance(several, Many)
            and len(several.items) == 1
            and several.opening in {"", "{"}
            and same_form(
                *((several.items[0], other) if several is g else (other, several.items[0])),
                integers,
            )
        )
    if len(g.items) > MOST_ITEMS or len(a.items) > MOST_ITEMS:
        return False
    if g.ordered and a.ordered:
        if len(g.items) == 2 and (g.opening, g.closing) != (a.opening, a.closing):
            return False
        return _ordered(g.items, a.items, integers)
    if g.ordered or a.ordered:
        pair = g if g.ordered else a
        if "{" in {g.opening, a.opening} or (
            len(pair.items) == 2 and (pair.opening, pair.closing) != ("(", ")")
        ):
            return False  # an interval is no list of its ends
        return _ordered([_value_of(i) for i in g.items], [_value_of(i) for i in a.items], integers)
    if _same_families(g.items, a.items, integers):
        return True
    if "{" in {g.opening, a.opening} or all(
        isinstance(i, Many) for i in (*g.items, *a.items)
    ):  # a solution named twice is one solution
        g, a = _distinct(g, integers), _distinct(a, integers)
    return _by_names(g.items, a.items, integers) or (
        len(g.items) != len(a.items) and _flat(g, a, integers)
    )


def _by_names(g: Sequence[Form], a: Sequence[Form], integers: frozenset[str] | None) -> bool:
    """Lists whose items may be named. Different names on one side fix an order; on both sides they
    are matched by name."""
    if len(g) != len(a):
        return False
    names = [[i.name if isinstance(i, Named) else None for i in side] for side in (g, a)]
    distinct = [all(n) and len(set(n)) == len(n) > 1 and not _are_roots(n) for n in names]  # type: ignore[arg-type]
    values = [[_value_of(i) for i in side] for side in (g, a)]
    if all(all(n) for n in names):
        return _unordered(g, a, integers)
    if distinct[0]:
        return _ordered(*values, integers)
    return _unordered(*values, integers)


def _are_roots(names: Sequence[str]) -> bool:
    """x_1, x_2, x_3: all solutions of one equation, in no order."""
    parts = [n.partition("_") for n in names]
    return len({p[0] for p in parts}) == 1 and sorted(p[2] for p in parts) == [
        str(i + 1) for i in range(len(parts))
    ]


def _ordered(g: Sequence[Form], a: Sequence[Form], integers: frozenset[str] | None) -> bool:
    """Place by place. A letter in several places is one number, so that `(k, k + 1)` is no pair of
    families."""
    integers = None if len(g) > 1 else integers
    return len(g) == len(a) and all(same_form(x, y, integers) for x, y in zip(g, a, strict=True))


def _unordered(g: Sequence[Form], a: Sequence[Form], integers: frozenset[str] | None) -> bool:
    """A one-to-one match (equality is transitive but for decimals, so the first match will do)."""
    if len(g) != len(a):
        return False
    left = list(a)
    for x in g:
        at = next((i for i, y in enumerate(left) if same_form(x, y, integers)), None)
        if at is None:
            return False
        del left[at]
    return True


def _distinct(many: Many, integers: frozenset[str] | None) -> Many:
    kept: list[Form] = []
    for item in many.items:
        if not any(same_form(k, item, integers) for k in kept):
            kept.append(item)
    return Many(tuple(kept), many.opening, many.closing)


def _flat(g: Many, a: Many, integers: frozenset[str] | None) -> bool:
    """A gold that lists all numbers of several groups the answer keeps apart."""

    def flat(form: Form) -> list[Form]:
        form = _value_of(form)
        return (
            [x for i in form.items for x in flat(i)]
            if isinstance(form, Many) and not form.ordered
            else [form]
        )

    one, two = flat(g), flat(a)
    return (
        len(one) == len(two)
        and Counter(map(type, one)) == Counter(map(type, two))
        and _unordered(one, two, integers)
    )
