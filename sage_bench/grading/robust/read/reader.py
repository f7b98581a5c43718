"""From tokens to a reading: lists, tuples, sets, intervals, relations, names, quantities, words."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from sage_bench.grading.robust.read.cases import cases
from sage_bench.grading.robust.read.enumerated import enumerated
from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import (
    Combined,
    Form,
    Many,
    Named,
    Ratio,
    Reading,
    Relation,
    Value,
    Whole,
    Words,
)
from sage_bench.grading.robust.read.layout import (
    SETS,
    domain_start,
    finished_parts,
    is_bracketed,
    is_expression,
    is_membership,
    label_of,
    set_minus,
    such_that,
    tuple_start,
    with_divisions,
    without_condition,
)
from sage_bench.grading.robust.read.matrices import matrix, without_dots, without_transpose
from sage_bench.grading.robust.read.names import name_of, side
from sage_bench.grading.robust.read.nodes import Conditional, Unreadable, number, signs
from sage_bench.grading.robust.read.parameters import arbitrary_names, domains
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.read.places import place_in, tells_extreme
from sage_bench.grading.robust.read.quantity import quantity, summed
from sage_bench.grading.robust.read.ranges import integers_in, pieces
from sage_bench.grading.robust.read.sentences import sentence, whole
from sage_bench.grading.robust.read.sets import (
    all_excluded,
    as_set,
    choices,
    combined_conditions,
    flattened,
    is_domain,
    number_set,
)
from sage_bench.grading.robust.text.rules import WIDE
from sage_bench.grading.robust.text.tokens import (
    OPENING,
    RELATIONS,
    Token,
    at_commas,
    outermost,
    split,
    text_of,
    tokenize,
)
from sage_bench.grading.robust.text.words import half_line, is_filler

_EXCEPT = re.compile(
    r"(.*?)\s*\b(?:of [a-z] )?(?:except|excluding|other than|but|different from)(?: for)?"
)
_ALL = {"all", "any", "every", "all values"}
_EXTREME = re.compile(
    r"(?:the |an? )?(?:max|min|maximum|minimum|largest|smallest|greatest|least)(?: value)?"
    r"(?: is| of)?",
    re.I,
)
_SET_OPERATIONS = (
    ("\\cup", "union"),
    ("\\setminus", "difference"),
    ("\\cap", "intersection"),
)


class Reader:
    """Reads one answer.

    chained: "x = y = 1" says what x is and what y is, rather than what x = y comes to.
    """

    def __init__(self, *, chained: bool = False) -> None:
        self.chained = chained
        self.integers: set[str] = set()
        self.condition: Form | None = None

    def read(self, tokens: list[Token]) -> Reading:
        stated = domains(tokens)
        self.integers.update(name for name, kind in stated if kind == "integers")
        for t, following in pairwise(tokens):
            worded = following.kind == "word" and re.search(r"\binteger", following.text)
            if t.kind == "sym" and worded:
                self.integers.add(t.text)
        form = self.form(tokens)
        arbitrary = arbitrary_names(tokens) | {name for name, kind in stated if kind == "reals"}
        known = (form, frozenset(self.integers), self.condition, stated, arbitrary)
        return Reading(*known, self.place(tokens), tells_extreme(tokens))

    def place(self, tokens: list[Token]) -> Named | None:
        """Where the value is taken; None where that is not said, or not understood."""
        equation = place_in(tokens)
        try:
            form = self.item(equation) if equation else None
        except Unreadable:
            return None
        return form if isinstance(form, Named) and not form.in_words else None

    # --- several things -------------------------------------------------------------------------
    def form(self, tokens: list[Token]) -> Form:
        """Whatever stands between two brackets, or the whole answer: items and their condition."""
        if (told := cases(tokens, self.form)) is not None:
            return told
        tokens = with_divisions(tokens)
        if sum(t.text == "|" for _, t in outermost(tokens)) % 2:
            raise Conditional("a divides b")
        at = next((i for i, t in enumerate(tokens) if t.kind == "word"), 0)
        if at and (listed := enumerated(tokens[:at], tokens[at:])) is not None:
            return listed
        tokens = self.without_domain(without_condition(tokens))
        if not tokens:
            raise Unreadable("nothing is said")
        if (worded := self.worded(tokens)) is not None:
            return worded
        if (groups := self.groups(tokens)) is not None:
            return groups
        parts = split(tokens, lambda t: t.kind == "sep" and t.text != WIDE)
        parts = [p for part in parts for p in finished_parts(part) if p]
        parts = [p for p in parts if not is_membership(p)] or parts[:1]
        items = all_excluded(without_dots([self.item(p) for p in parts]))
        if len(items) > 1 and is_domain(items[-1], items[:-1]):
            self.condition = items.pop()
        if len(items) == 1:
            return items[0]
        between = {t.text for _, t in outermost(tokens) if t.kind == "sep"}
        if (joined := combined_conditions(items, between)) is not None:
            return joined
        if "or" not in between and (total := summed(items)) is not None:
            return total
        word = next((w for w in ("or", "and") if w in between), "")
        return Many(flattened(items), joined=word)

    def worded(self, tokens: list[Token]) -> Form | None:
        """A sentence, or a set told in words; None for anything else."""
        text = text_of(tokens)
        if any(t.kind == "word" for t in tokens) and (said := sentence(text) or whole(text)):
            return said
        if tokens[0].kind != "word":
            return None
        if half := self.half(text):
            return half
        return self.exception(tokens)

    def exception(self, tokens: list[Token]) -> Form | None:
        """ "All real x except x = 2", "all integers other than 0"; None for anything else."""
        for i, t in outermost(tokens):
            m = _EXCEPT.fullmatch(t.text.lower()) if t.kind == "word" else None
            if m is None or i + 1 == len(tokens) or i > 2:
                continue
            kind = " ".join(u.text for u in tokens[:i] if u.kind == "word") + " " + m[1]
            base = Whole("reals") if kind.strip() in _ALL else whole(kind)
            if base is not None:
                return Combined("difference", (base, as_set(self.form(tokens[i + 1 :]))))
        return None

    def half(self, text: str) -> Form | None:
        """All positive reals and the like."""
        interval = half_line(text)
        return self.form(tokenize(interval)) if interval else None

    def groups(self, tokens: list[Token]) -> Form | None:
        """`p=5, q=2; p=7, q=2`: groups of equal size between semicolons are tuples."""
        parts = [p for p in split(tokens, lambda t: t.text == ";") if p]
        groups = [[q for q in at_commas(p) if q] for p in parts]
        sizes = {len(g) for g in groups}
        if len(parts) < 2 or len(sizes) != 1 or sizes == {1}:
            return None
        return Many(tuple(Many(tuple(map(self.item, g)), "(", ")") for g in groups))

    def without_domain(self, tokens: list[Token]) -> list[Token]:
        """`y = 2x (x > 0)`: the relation in brackets at the end becomes the condition."""
        start = domain_start(tokens)
        if not start:
            return tokens
        inner = tokens[start + 1 : -1]
        if not any(t.kind == "word" or t.text in SETS for t in inner):
            self.condition = self.item(inner)
        return tokens[:start]

    # --- one thing ------------------------------------------------------------------------------
    def item(self, tokens: list[Token]) -> Form:
        """One item of a list."""
        tokens = without_transpose(_without_lead(tokens))
        if len(tokens) == 1 and tokens[0].text == "\\ldots":
            return Words("...")
        if all(t.kind == "word" for t in tokens):
            text = text_of(tokens)
            return whole(text) or self.half(text) or Words(text)
        if _EXTREME.fullmatch(tokens[0].text) and tokens[0].kind == "word":
            if not any(t.kind in {"word", "rel", "colon"} for t in tokens[1:]):
                return Named(tokens[0].text, self.value(tokens[1:]), in_words=True)
        if (label := label_of(tokens)) is not None:
            return Named(label, self.item(tokens[tuple_start(tokens) :]))
        outside = outermost(tokens)
        if cuts := [i for i, t in outside if t.kind == "rel"]:
            return self.relation(tokens, cuts)
        for command, how in _SET_OPERATIONS:
            parts = split(tokens, lambda t, c=command: t.text == c)  # type: ignore[misc]  # bound now
            if len(parts) > 1:
                if not all(parts):
                    raise Unreadable("a set is missing")
                return Combined(how, tuple(map(self.item, parts)))
        if (minus := set_minus(tokens)) is not None:
            return Combined(
                "difference", (self.item(tokens[:minus]), self.item(tokens[minus + 1 :]))
            )
        if tokens[0].text in SETS and (found := self.decorated(tokens[0].text, tokens[1:])):
            return found
        if any(t.kind == "colon" or t.text == "to" for _, t in outside):
            return self.ratio([Token("colon", ":") if t.text == "to" else t for t in tokens])
        if any(t.text == "\\begin" for _, t in outside):
            return matrix(tokens, self.item)
        inner = self.bracketed(tokens) if is_bracketed(tokens) else None
        return inner if inner is not None else self.value(tokens)

    def decorated(self, name: str, rest: list[Token]) -> Form | None:
        r"""`\mathbb{R}`, `\mathbb{R}^+`, `\mathbb{Z}_{\ge 0}`, `\mathbb{R} - \{1\}`; else None."""
        if rest and rest[0].text in {"-", "/"} and rest[1:2] and rest[1].text == "\\{":
            return Combined("difference", (Whole(name[1:]), self.item(rest[1:])))
        return number_set(name, "".join(t.text for t in rest if t.text not in "{}"))

    def value(self, tokens: list[Token]) -> Form:
        try:
            node, unit = quantity(tokens)
        except Unreadable:
            kinds = {t.kind for t in tokens}
            if "word" not in kinds or "cmd" in kinds:
                raise
            return whole(text_of(tokens)) or Words(text_of(tokens))
        both = signs(node)
        return Value(node, unit) if len(both) == 1 else Many(tuple(Value(n, unit) for n in both))

    def bracketed(self, tokens: list[Token]) -> Form | None:
        """A set, a tuple, an interval, or what stands alone in brackets.

        None for a bracket of an expression.
        """
        opening, closing, inner = tokens[0].text, tokens[-1].text, tokens[1:-1]
        if opening == "\\{":
            bar = such_that(inner)
            if bar and sum(t.text == "|" for t in inner[bar + 1 :]) % 2 == 0:
                return self.described(inner[:bar], inner[bar + 1 :])
            if not inner:
                return Whole("emptyset")
        if opening in {"\\lfloor", "\\lceil"} or not inner:
            return None
        parts = split(inner, lambda t: t.kind == "sep")
        if opening == "\\{" or (opening == "{" and len(parts) > 1):
            items = without_dots([self.item(p) for p in parts if p])
            brackets = ("{", "}") if opening == "\\{" else ("", "")
            return Many(flattened(items), *brackets)
        if len(parts) == 1:
            return self.form(inner) if closing == OPENING[opening] and opening != "[" else None
        if not all(parts):
            raise Unreadable("an empty place in a tuple")
        opening = "(" if opening == "\\langle" else opening
        closing = ")" if closing == "\\rangle" else closing
        linked = any(t.text == "\\mp" for t in inner)
        rows = choices([self.item(p) for p in parts], linked=linked)
        found = tuple(Many(tuple(without_dots(row)), opening, closing) for row in rows)
        return found[0] if len(found) == 1 else Many(found)

    def described(self, left: list[Token], right: list[Token]) -> Form:
        r"""`\{x | 0 < x < 3\}`: what the condition describes; finitely many integers are listed."""
        if (listed := enumerated(left, right)) is not None:
            return listed
        if is_membership(right) and any(t.kind != "sym" for t in left) and is_expression(left):
            return Many((self.value(left),), "{", "}")  # every k\pi
        form = self.form(right)
        texts = {t.text for t in (*left, *right)}
        found = pieces(form) if texts & {"\\integers", "\\naturals"} else None
        if found is None:
            return form
        numbers = integers_in(found, from_one="\\naturals" in texts)
        if numbers is None:
            raise Conditional("infinitely many whole numbers")
        return Many(tuple(Value(n) for n in numbers), "{", "}")

    def ratio(self, tokens: list[Token]) -> Form:
        parts = split(tokens, lambda t: t.kind == "colon")
        if any(t.kind == "word" for t in parts[0]) and len(parts) == 2:
            return Named(text_of(parts[0]), self.item(parts[1]), in_words=True)
        nested = any(t.kind == "colon" for p in parts for t in p)
        if all(parts) and len(parts) > 1 and not nested:
            return Ratio(tuple(map(self.value, parts)))
        return Value(parse(tokens, ratio=True))

    # --- relations ------------------------------------------------------------------------------
    def relation(self, tokens: list[Token], cuts: list[int]) -> Form:
        """A relation, or a name with its value; cuts are the places of its signs."""
        if (congruence := _congruence(tokens, cuts)) is not None:
            return congruence
        ops = [RELATIONS[tokens[i].text] for i in cuts]
        begins, ends = [0, *(c + 1 for c in cuts)], [*cuts, len(tokens)]
        sides = [tokens[a:b] for a, b in zip(begins, ends, strict=True)]
        if "=>" in ops:  # only the last step is the answer
            last = len(ops) - ops[::-1].index("=>")
            ops, sides = ops[last:], sides[last:]
            if not ops:
                return self.form(sides[0])
        if "~" in ops and (len(ops) > 1 or name_of(sides[0]) is None):
            keep = ops.index("~")  # "exact ≈ decimal": the exact one
            ops, sides = ops[:keep], sides[: keep + 1]
            if not ops:
                return self.item(sides[0])
        if not all(sides):
            return self.one_sided(sides, ops)
        if ops in (["|"], ["!|"]):
            return _division(sides, ops)
        if ops == ["in"]:
            name = name_of(sides[0])
            return replace(name, value=self.form(sides[1])) if name else self.form(sides[1])
        if set(ops) <= {"=", "~"} and (named := self.named(sides)) is not None:
            return named
        if ops == ["!="] and len(both := signs(parse(sides[1]))) == 2:
            left = side(sides[0])
            return Combined("and", tuple(Relation((left, n), ("!=",)) for n in both))
        return Relation(tuple(map(side, sides)), tuple(ops))

    def one_sided(self, sides: list[list[Token]], ops: list[str]) -> Form:
        """`= 5`, `< 3`: what it is about is left out."""
        if sides[0] or len(sides) != 2:
            raise Unreadable("a relation without a side")
        if ops[0] in {"=", "~"}:
            return self.item(sides[1])
        return Relation((Words(""), side(sides[1])), tuple(ops))

    def named(self, sides: list[list[Token]]) -> Form | None:
        """`x = 3`, chained also `x = y = 3`; None where the first side is not a name."""
        first = name_of(sides[0])
        if first is None:
            return None
        names = [name_of(s) for s in sides[:-1]] if self.chained else [first]
        value = self.item(sides[-1])
        known = [n for n in names if n is not None]
        if len(names) > 1 and len(known) == len(names):
            return Many(tuple(replace(n, value=value) for n in known))
        return replace(first, value=value)


def _without_lead(tokens: list[Token]) -> list[Token]:
    """An item without what introduces it: "the answer is", "the line l:", "the point"."""
    while len(tokens) > 1 and tokens[0].kind == "word" and is_filler(tokens[0].text):
        if tokens[0].text.lower() == "at" and tokens[1].kind == "sym":
            break  # "at n = 12" says where
        tokens = tokens[1:]
    kinds = [t.kind for t in tokens]
    if len(tokens) > 2 and kinds[:2] == ["sym", "colon"] and "rel" in kinds:
        tokens = tokens[2:]  # "l: x + y = 3", the line l
    if not tokens or tokens[0].kind != "word":
        return tokens
    if is_bracketed(tokens[1:]) and any(t.text == "," for t in tokens):
        tokens = tokens[1:]  # "the point (2, 3)"
    if tokens[0].kind == "word" and kinds[1:2] == ["sym"] and "rel" in kinds:
        if whole(tokens[0].text) == Whole("reals"):
            tokens = tokens[1:]  # "all real numbers x != 3"
    if tokens[0].kind == "word" and label_of(tokens[1:]) is not None:
        tokens = tokens[1:]  # "the point P(2, 3)"
    lead = tokens[0].text.lower() if tokens[0].kind == "word" else ""
    if lead in {"negative", "minus"} and len(tokens) > 1 and tokens[1].kind == "num":
        tokens = [Token("op", "-"), *tokens[1:]]
    return tokens


def _division(sides: list[list[Token]], ops: list[str]) -> Relation:
    r"""`a \mid b`; with a number on the left it is a congruence: `3 \mid n` is `n \equiv 0`."""
    left, right = (parse(s) for s in sides)
    if ops == ["|"] and exact(left) is not None:
        return Relation((right, number(0), left), ("=", "mod"))
    return Relation((left, right), tuple(ops))


def _congruence(tokens: list[Token], cuts: list[int]) -> Relation | None:
    r"""`x \equiv 3 \pmod{7}`; None where there is no modulus."""
    texts = [t.text for t in tokens]
    at = next((i for i, t in enumerate(texts) if t in {"\\pmod", "\\mod", "\\bmod"}), None)
    if at is None or len(cuts) != 1 or RELATIONS[texts[cuts[0]]] != "=":
        return None
    parts = (tokens[: cuts[0]], tokens[cuts[0] + 1 : at], tokens[at + 1 :])
    return Relation(tuple(map(parse, parts)), ("=", "mod"))
