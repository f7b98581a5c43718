"""When an answer is the gold in another form.

Strict: the order of a tuple, every solution, the unit and the brackets count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sage_bench.grading.robust.compare.cases import same_cases
from sage_bench.grading.robust.compare.constants import renamings
from sage_bench.grading.robust.compare.equations import equation_of, is_quantity, same_relation
from sage_bench.grading.robust.compare.families import Family, family, same_families
from sage_bench.grading.robust.compare.names import (
    are_roots,
    as_equations,
    as_named_items,
    in_order_of,
    names_place,
    same_name,
    with_parameters,
)
from sage_bench.grading.robust.compare.parameters import aligned
from sage_bench.grading.robust.compare.places import by_place
from sage_bench.grading.robust.compare.ranges import same_pieces
from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.compare.values import same_clock, same_value
from sage_bench.grading.robust.compare.vectors import components
from sage_bench.grading.robust.compare.worded import same_ratio, same_worded
from sage_bench.grading.robust.read.forms import (
    Cases,
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
from sage_bench.grading.robust.read.nodes import (
    INFINITY,
    Kind,
    Node,
    number,
    substitute,
    symbols,
    walk,
)
from sage_bench.grading.robust.read.ranges import pieces

MOST_ITEMS = 200
# symbols that stand for any whole number; None: none does, not even beside π
Integers = frozenset[str] | None


def same_reading(gold: Reading, answer: Reading) -> bool:
    r"""Do two readings mean the same?

    >>> from sage_bench.grading.robust.read.readings import read
    >>> def check(gold, answer):
    ...     return any(same_reading(g, a) for g in read(gold) for a in read(answer))
    >>> check("(1,2)", "(2,1)"), check("1,2", "2,1"), check("1,2", "1")
    (False, True, False)
    >>> check("3 hours", "180 minutes"), check("3 hours", "3 minutes")
    (True, False)
    >>> check(r"x = \pm 2", "2, -2"), check("x=1, y=2", "2, 1"), check("k=45, n=2", "n=2, k=45")
    (True, False, True)
    """
    integers: Integers = gold.integers | answer.integers
    if "naturals" in {kind for _, kind in (*gold.domains, *answer.domains)}:
        integers = None
    renamed = aligned(gold, answer)
    if renamed is None:
        return False
    conditions = [gold.condition, renamed.condition]
    stated = [c for c in conditions if isinstance(c, Relation)]
    if len(stated) == 2 and not same_form(stated[0], stated[1]):
        return False
    placed = by_place(gold, renamed, lambda one, two: same_form(one, two, integers))
    if placed is not None:
        return placed
    if same_form(gold.form, renamed.form, integers):
        return True
    return any(
        same_form(gold.form, substitute(renamed.form, names), integers)
        for names in renamings(gold, renamed)
    )


def is_unfinished(gold: Form, answer: Form) -> bool:
    r"""Does the answer leave trigonometric values standing where the gold has worked them out?

    `-\tan 80° + 4\cos 10°` is -√3, but saying so was the problem. What computer algebra evaluates
    by itself (`\arctan 1`) is finished: math-verify decides.
    """
    if not isinstance(gold, Value) or not isinstance(answer, Value) or symbols(answer.node):
        return False
    return _has_function(answer.node) and not _has_function(gold.node)


def _has_function(node: Node) -> bool:
    return any(n.kind is Kind.FN for n in walk(node))


def same_form(g: Form, a: Form, integers: Integers = frozenset()) -> bool:
    """`same_reading` of forms."""
    g, a = _plain_whole(g), _plain_whole(a)
    if isinstance(g, Value) != isinstance(a, Value):
        g, a = components(g, a) or g, components(a, g) or a
    if isinstance(g, Named) or isinstance(a, Named):
        return _named(g, a, integers)
    if isinstance(g, Cases) or isinstance(a, Cases):
        if not isinstance(g, Cases) or not isinstance(a, Cases):
            return False
        return same_cases(g, a, lambda one, two: same_form(one, two, integers))
    if isinstance(g, Value) and isinstance(a, Value):
        return same_value(g, a) or _same_families([g], [a], integers)
    if isinstance(g, Words) or isinstance(a, Words):
        return same_worded(g, a)
    if isinstance(g, Clock) or isinstance(a, Clock):
        return isinstance(g, Clock) and isinstance(a, Clock) and same_clock(g, a)
    if isinstance(g, Matrix) or isinstance(a, Matrix):
        return _matrices(_as_matrix(g), _as_matrix(a), integers)
    if isinstance(g, Ratio) or isinstance(a, Ratio):
        return same_ratio(g, a)
    return _sets_and_relations(g, a, integers)


def _plain_whole(form: Form) -> Form:
    """Infinitely many as infinity, nonzero reals as a difference."""
    if not isinstance(form, Whole):
        return form
    if form.name == "infinite":
        return Value(INFINITY)
    kind, _, name = form.name.partition(" ")
    if kind == "nonzero":
        return Combined("difference", (Whole(name), Many((Value(number(0)),), "{", "}")))
    return form


def _sets_and_relations(g: Form, a: Form, integers: Integers) -> bool:
    # two bracketed pairs may be points of the plane: they are compared place by place below, all
    # other sets of reals as sets
    if not (isinstance(g, Many) and isinstance(a, Many)):
        p, q = pieces(g), pieces(a)
        if p is not None and q is not None:
            if same_pieces(p, q):
                return True
            return isinstance(g, Relation) and isinstance(a, Relation) and same_relation(g, a)
    ours, theirs = _excluded(g), _excluded(a)
    if ours is not None and theirs is not None:
        return same_form(ours, theirs, integers)
    if isinstance(g, Combined) and isinstance(a, Combined) and g.how == a.how:
        match = _ordered if g.how == "difference" else _unordered
        return match(g.parts, a.parts, integers)
    if isinstance(g, Relation) or isinstance(a, Relation):
        return _relations(g, a, integers)
    if isinstance(g, Whole) or isinstance(a, Whole):
        return g == a
    if isinstance(g, Many) or isinstance(a, Many):
        return _many(g, a, integers)
    return False


def _excluded(form: Form) -> Form | None:
    """What is taken out of the reals, where a set is told that way."""
    if isinstance(form, Combined) and form.how == "difference":
        base, taken = form.parts[0], form.parts[-1]
        return taken if base == Whole("reals") and len(form.parts) == 2 else None
    if isinstance(form, Relation) and form.ops == ("!=",):
        left, right = form.sides
        if isinstance(left, Node) and left.kind is Kind.SYM and isinstance(right, Node):
            return Many((Value(right),), "{", "}")
    return None


# --- families and names --------------------------------------------------------------------------
def _same_families(g: Sequence[Form], a: Sequence[Form], integers: Integers) -> bool:
    if integers is None:
        return False
    ours, theirs = _families(g, integers), _families(a, integers)
    return ours is not None and theirs is not None and same_families(ours, theirs)


def _families(forms: Sequence[Form], integers: frozenset[str]) -> list[Family] | None:
    """The families all these are, or None."""
    found = []
    for form in map(_value_of, forms):
        one = family(form.node, integers) if isinstance(form, Value) else None
        if one is None:
            return None
        found.append(one)
    return found


def _value_of(form: Form) -> Form:
    return form.value if isinstance(form, Named) else form


def _named(g: Form, a: Form, integers: Integers) -> bool:
    if (listed := as_named_items(g, a)) is not None:
        return _many(*listed, integers)
    if isinstance(g, Named) and isinstance(a, Named):
        if g.name[:1] == a.name[:1] == "(":
            moved = in_order_of(g.name, a)
            return moved is not None and same_form(g.value, moved, integers)
        if same_name(g, a):
            return same_form(g.value, with_parameters(g, a), integers)
        return as_equations(g, a)
    if isinstance(a, Named) and names_place(a.name):
        return False  # "attained at x = 3" says where, not what
    if isinstance(g, Relation) or isinstance(a, Relation):
        p, q = pieces(g), pieces(a)
        if p is not None and q is not None:
            return same_pieces(p, q)
        return same_relation(equation_of(g), equation_of(a))
    return same_form(_value_of(g), _value_of(a), integers)


# --- matrices and relations ----------------------------------------------------------------------
def _as_matrix(form: Form) -> Form:
    """`[[1, 2], [3, 4]]` is a matrix."""
    if not isinstance(form, Many) or not form.items:
        return form
    rows = [r.items for r in form.items if isinstance(r, Many) and r.ordered]
    return Matrix(tuple(rows)) if len(rows) == len(form.items) else form


def _matrices(g: Form, a: Form, integers: Integers) -> bool:
    """Entry by entry; a row or a column is also a tuple."""
    if isinstance(g, Matrix) and isinstance(a, Matrix):
        if [len(r) for r in g.rows] != [len(r) for r in a.rows]:
            return False
        pairs = zip(_entries(g), _entries(a), strict=True)
        return all(same_form(x, y, integers) for x, y in pairs)
    ours, theirs = _as_row(g), _as_row(a)
    return ours is not None and theirs is not None and _ordered(ours, theirs, integers)


def _entries(matrix: Matrix) -> tuple[Form, ...]:
    return tuple(entry for row in matrix.rows for entry in row)


def _as_row(form: Form) -> tuple[Form, ...] | None:
    """The entries of a row, a column or a list; None for other matrices and anything else."""
    if isinstance(form, Many):
        return None if form.opening == "{" else form.items
    if not isinstance(form, Matrix):
        return None
    wide = len(form.rows) > 1 and any(len(row) > 1 for row in form.rows)
    return None if wide else _entries(form)


def _relations(g: Form, a: Form, integers: Integers) -> bool:
    """At least one is a relation."""
    if isinstance(g, Relation) and isinstance(a, Relation):
        return same_relation(g, a)
    relation, other = (g, a) if isinstance(g, Relation) else (a, g)
    if not isinstance(relation, Relation):
        return False
    if isinstance(other, Value):
        return _equation_and_value(g, a, relation, other, integers)
    return isinstance(other, Many) and _is_order_of(relation, other)


def _equation_and_value(
    g: Form, a: Form, relation: Relation, other: Value, integers: Integers
) -> bool:
    """`\\sin x = 1/2` and 1/2; relation and other are g and a, or a and g."""
    sides = [s for s in relation.sides if isinstance(s, Node)]
    if set(relation.ops) != {"="} or len(sides) < len(relation.sides):
        return False
    told = relation is a and not symbols(other.node)  # an answer may say what its number is
    if told or is_quantity(sides[0]):
        value = Value(sides[-1])
        gold, answer = (g, value) if relation is a else (value, a)
        return same_form(gold, answer, integers)
    identity = len(sides) == 2 and bool(same(sides[0], sides[1]))
    return identity and bool(same(sides[1], other.node))


def _is_order_of(relation: Relation, other: Many) -> bool:
    """ "From smallest to largest: b, a, d" and b < a < d."""
    if len(relation.sides) < 3 or set(relation.ops) not in ({"<"}, {">"}):
        return False
    named = [_letter(s) for s in relation.sides]
    listed = [_letter(i.node) if isinstance(i, Value) else None for i in other.items]
    return None not in named and named == listed


def _letter(side: Node | Words) -> str | None:
    is_symbol = isinstance(side, Node) and side.kind is Kind.SYM
    return str(side.args[0]) if is_symbol else None  # type: ignore[union-attr]  # checked above


# --- several things ------------------------------------------------------------------------------
def _many(g: Form, a: Form, integers: Integers) -> bool:
    """At least one is several things."""
    if not isinstance(g, Many) or not isinstance(a, Many):
        return _one_and_many(g, a, integers)
    if _differ_in_joining(g, a):
        return False
    if len(g.items) > MOST_ITEMS or len(a.items) > MOST_ITEMS:
        return False
    if g.ordered and a.ordered:
        if len(g.items) == 2 and (g.opening, g.closing) != (a.opening, a.closing):
            return False
        return _ordered(g.items, a.items, integers)
    if g.ordered or a.ordered:
        if _must_be_set(g, a) or "or" in {g.joined, a.joined}:
            return False
        return _ordered(_values(g.items), _values(a.items), integers)
    if _same_families(g.items, a.items, integers):
        return True
    tuples = all(isinstance(i, Many) for i in (*g.items, *a.items))
    if tuples or "{" in {g.opening, a.opening}:  # a solution named twice is one solution
        g, a = _distinct(g, integers), _distinct(a, integers)
    if _by_names(g.items, a.items, integers):
        return True
    return len(g.items) != len(a.items) and _flat(g, a, integers)


def _one_and_many(g: Form, a: Form, integers: Integers) -> bool:
    """A list of one thing, and that thing."""
    if isinstance(g, Many):
        return _is_single(g) and same_form(g.items[0], a, integers)
    if not isinstance(a, Many):
        return False
    # an answer may give its value twice: "3/4 or 0.75"
    once = a if a.ordered else _distinct(a, integers)
    return _is_single(once) and same_form(g, once.items[0], integers)


def _differ_in_joining(g: Many, a: Many) -> bool:
    """`a = 0 or b = 0` is not `a = 0 and b = 0`; solutions may be listed with either word."""
    words = {g.joined, a.joined}
    if len(words) == 1 or "or" not in words:
        return False
    unlike = [_are_statements(m.items) for m in (g, a)]
    if words == {"or", "and"}:
        return all(unlike)
    return all(_have_distinct_names(m.items) for m in (g, a))


def _have_distinct_names(items: Sequence[Form]) -> bool:
    names = [i.name for i in items if isinstance(i, Named) and not i.in_words]
    return len(names) == len(items) and len(set(names)) == len(names) > 1


def _are_statements(items: Sequence[Form]) -> bool:
    """Conditions, properties or letters rather than the values of one unknown."""
    if _have_distinct_names(items) or any(isinstance(i, (Words, Relation)) for i in items):
        return True
    return all(isinstance(i, Value) and i.node.kind is Kind.SYM for i in items)


def _must_be_set(g: Many, a: Many) -> bool:
    """Of an ordered and an unordered one: is either a set of points, so that order does not help?

    An interval is not a list of its ends either.
    """
    pair = g if g.ordered else a
    interval = len(pair.items) == 2 and (pair.opening, pair.closing) != ("(", ")")
    return interval or "{" in {g.opening, a.opening}


def _is_single(many: Many) -> bool:
    return len(many.items) == 1 and many.opening in {"", "{"}


def _values(items: Sequence[Form]) -> list[Form]:
    return [_value_of(i) for i in items]


def _by_names(g: Sequence[Form], a: Sequence[Form], integers: Integers) -> bool:
    """Lists whose items may be named.

    Different names in the gold fix an order; on both sides they are matched by name.
    """
    if len(g) != len(a):
        return False
    ours = [i.name for i in g if isinstance(i, Named)]
    theirs = [i.name for i in a if isinstance(i, Named)]
    if len(ours) == len(g) and len(theirs) == len(a):
        return _unordered(g, a, integers)
    distinct = len(ours) == len(g) and len(set(ours)) == len(ours) > 1 and not are_roots(ours)
    if distinct:
        return _ordered(_values(g), _values(a), integers)
    return _unordered(_values(g), _values(a), integers)


def _ordered(g: Sequence[Form], a: Sequence[Form], integers: Integers) -> bool:
    """Place by place.

    A letter in several places is one number, so that `(k, k + 1)` is not a pair of families.
    """
    integers = None if len(g) > 1 else integers
    return len(g) == len(a) and all(same_form(x, y, integers) for x, y in zip(g, a, strict=True))


def _unordered(g: Sequence[Form], a: Sequence[Form], integers: Integers) -> bool:
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


def _distinct(many: Many, integers: Integers) -> Many:
    kept: list[Form] = []
    for item in many.items:
        if not any(same_form(k, item, integers) for k in kept):
            kept.append(item)
    return Many(tuple(kept), many.opening, many.closing)


def _flat(g: Many, a: Many, integers: Integers) -> bool:
    """A gold that lists all numbers of several groups the answer keeps apart."""
    ours, theirs = _flattened(g), _flattened(a)
    if len(ours) != len(theirs) or Counter(map(type, ours)) != Counter(map(type, theirs)):
        return False
    return _unordered(ours, theirs, integers)


def _flattened(form: Form) -> list[Form]:
    form = _value_of(form)
    if not isinstance(form, Many) or form.ordered:
        return [form]
    return [leaf for item in form.items for leaf in _flattened(item)]
