"""Words against words and numbers, ratios against ratios and numbers."""

from __future__ import annotations

from itertools import combinations

from sage_bench.grading.robust.compare.decimals import same_number
from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.compare.values import same_value
from sage_bench.grading.robust.compare.wording import same_words
from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Form, Ratio, Value, Words
from sage_bench.grading.robust.read.nodes import Kind, Node, Unreadable
from sage_bench.grading.robust.read.quantity import quantity
from sage_bench.grading.robust.text.tokens import Token
from sage_bench.grading.robust.text.words import counted_things, fraction_word


def same_worded(g: Form, a: Form) -> bool:
    """At least one is words: "twelve" is 12, "two-thirds" is 2/3, "x" is x."""
    if isinstance(g, Words) and isinstance(a, Words):
        return same_words(g.text, a.text)
    words, other = (g, a) if isinstance(g, Words) else (a, g)
    if not isinstance(words, Words) or not isinstance(other, Value):
        return False
    if (things := _quantity_of(words)) is not None:
        return same_value(things, other) if words is g else same_value(other, things)
    if other.unit is not None:
        return False
    value = exact(other.node)
    if value is not None and value.denominator == 1:
        return same_words(words.text, str(value))
    if (fraction := fraction_word(words.text)) is not None:
        return value == fraction
    return other.node.kind is Kind.SYM and same_words(words.text, other.node.args[0])


def _quantity_of(words: Words) -> Value | None:
    """ "Fifty percent" and "twelve ways", as 50 % and 12 ways are read."""
    if (counted := counted_things(words.text)) is None:
        return None
    n, things = counted
    try:
        return Value(*quantity([Token("num", str(n)), Token("word", things, True)]))
    except Unreadable:
        return None


def same_ratio(g: Form, a: Form) -> bool:
    """At least one is a ratio: 3:4 is 6:8 and 3/4."""
    ours, theirs = _parts(g), _parts(a)
    if ours and theirs:
        return len(ours) == len(theirs) and all(
            same(Node(Kind.MUL, (p, y)), Node(Kind.MUL, (q, x)))
            for (p, x), (q, y) in combinations(zip(ours, theirs, strict=True), 2)
        )
    ratio, other = (ours, a) if ours else (theirs, g)
    if len(ratio) != 2 or not isinstance(other, Value) or other.unit is not None:
        return False
    return bool(same_number(Node(Kind.DIV, tuple(ratio)), other.node))


def _parts(form: Form) -> list[Node]:
    if not isinstance(form, Ratio):
        return []
    return [v.node for v in form.parts if isinstance(v, Value)]
