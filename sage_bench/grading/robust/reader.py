"""From a text to its readings: lists, tuples, sets, intervals, relations, names, matrices, quantities, words."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from sage_bench.grading.robust.clean import clean
from sage_bench.grading.robust.forms import Clock, Combined, Form, Many, Matrix, Named, Ratio, Reading, Relation, Value, Whole, Words
from sage_bench.grading.robust.nodes import Conditional, Node, Unreadable, signs, symbols
from sage_bench.grading.robust.parser import parse
from sage_bench.grading.robust.quantity import quantity
from sage_bench.grading.robust.tokens import OPENING, RELATIONS, Token, depth_of, split, text_of, tokenize
from sage_bench.grading.robust.words import is_filler, sentence, whole

_CONDITIONS = {"for", "where", "with", "when", "if", "such", "given", "whenever", "provided", "assuming", "whose", "as", "because", "since", "on", "over", "in", "which"}
_BRANCHES = {"if", "when", "otherwise", "unless"}
_CUTS = {"\\forall"}
_SETS = {"\\reals", "\\integers", "\\naturals", "\\rationals", "\\complexes", "\\emptyset"}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:«?\s*([ap])\.?\s*m\.?\s*»?)?", re.I)
_CHOICE = re.compile(r"\(([A-J])\)\s+(\S.*)|([A-J])\s*[.):]\s+(\S.*)", re.S)


def read(text: str) -> list[Reading]:
    r"""The readings of an answer, the likeliest first; empty when it is empty. Raises `Unreadable` when there is none.

    >>> read("(1, 2]")[0].form.closing, type(read("x = 3")[0].form).__name__, len(read("1,234"))
    (']', 'Named', 2)
    """
    cleaned = clean(text)
    if not cleaned:
        return []
    clock = _CLOCK.fullmatch(cleaned)
    out: list[Reading] = []
    if clock and int(clock[2]) < 60 and (int(clock[1]) < 25):
        out.append(Reading(Clock(int(clock[1]) * 3600 + int(clock[2]) * 60 + int(clock[3] or 0), clock[4] and clock[4].lower() + "m")))
    problem: Unreadable | None = None
    for thousands in (True, False) if re.search(r"\d,\d{3}", cleaned) else (True,):
        try:
            out.append(_Reader().read(tokenize(cleaned, thousands=thousands)))
        except Unreadable as error:
            problem = error
    if choice := _CHOICE.fullmatch(cleaned):
        try:
            out.append(_Reader().read(tokenize(choice[2] or choice[4])))
        except Unreadable as error:
            problem = error
    if "\\approx" in cleaned and not cleaned.startswith("\\approx"):  # "exact ≈ decimal": either is the answer
        out += read(cleaned.rsplit("\\approx", 1)[1])
    if not out and problem:
        raise problem
    return out


class _Reader:
    def __init__(self) -> None:
        self.integers: set[str] = set()

    def read(self, tokens: list[Token]) -> Reading:
        for i in range(len(tokens) - 2):
            if tokens[i].kind == "sym" and tokens[i + 1].text == "\\in" and tokens[i + 2].text in {"\\integers", "\\naturals"}:
                self.integers.add(tokens[i].text)
        for i, t in enumerate(tokens[:-1]):
            if t.kind == "sym" and tokens[i + 1].kind == "word" and re.search(r"\binteger", tokens[i + 1].text):
                self.integers.add(t.text)
        return Reading(self.form(tokens), frozenset(self.integers))

    # --- lists -------------------------------------------------------------------------------------------------------
    def form(self, tokens: list[Token]) -> Form:
        tokens = self.without_condition(tokens)
        if not tokens:
            raise Unreadable("nothing is said")
        if any(t.kind == "word" for t in tokens) and (worded := sentence(text_of(tokens)) or whole(text_of(tokens))) is not None:
            return worded
        if (groups := self.groups(tokens)) is not None:
            return groups
        parts = split(tokens, lambda t: t.kind == "sep" and t.text != "\u2003")
        parts = [q for p in parts for q in self.at_spaces(p)]
        parts = [p for p in parts if p and not self.is_membership(p)]
        if not parts:
            return Words(text_of(tokens))
        items = [self.item(p) for p in parts]
        if len(items) == 1:
            return items[0]
        either = {t.text for t, d in zip(tokens, depth_of(tokens), strict=True) if d == 0 and t.kind == "sep"} <= {"or", "and", "\u2003"}
        if either and all(isinstance(i, Relation) for i in items):
            return Combined("or" if any(t.text == "or" for t in tokens) else "and", tuple(items))
        flat: list[Form] = []
        for item in items:
            flat.extend(item.items if isinstance(item, Many) and not item.opening else (item,))
        return Many(tuple(flat))

    def groups(self, tokens: list[Token]) -> Form | None:
        """`p=5, q=2; p=7, q=2`: groups of equal size between semicolons are tuples."""
        parts = [p for p in split(tokens, lambda t: t.text == ";") if p]
        sizes = {len([q for q in split(p, lambda t: t.text == ",") if q]) for p in parts}
        if len(parts) < 2 or len(sizes) != 1 or sizes == {1}:
            return None
        return Many(tuple(Many(tuple(self.item(q) for q in split(p, lambda t: t.text == ",") if q), "(", ")") for p in parts))

    def at_spaces(self, part: list[Token]) -> list[list[Token]]:
        """A wide space separates finished things (`(1,2)  (3,4)`, `x = 1   y = 2`); tuples side by side are separate as well."""
        pieces = [p for p in split(part, lambda t: t.text == "\u2003") if p]
        if len(pieces) > 1 and not all(any(t.kind == "rel" for t in p) or p[0].kind == "open" for p in pieces):
            pieces = [[t for t in part if t.text != "\u2003"]]
        out = []
        for piece in pieces:
            ends = [i for i, d in enumerate(depth_of(piece)) if piece[i].kind == "close" and d == 0]
            starts = [0, *(e + 1 for e in ends)]
            chunks = [piece[a:b] for a, b in pairwise(starts)]
            if len(ends) > 1 and ends[-1] == len(piece) - 1 and all(c and c[0].kind == "open" and c[0].text in "([" and any(t.text == "," for t in c) for c in chunks):
                out.extend(chunks)
            else:
                out.append(piece)
        return out

    def is_membership(self, part: list[Token]) -> bool:
        """`k ∈ ℤ` beside an answer is a condition."""
        return len(part) >= 3 and part[0].kind == "sym" and part[1].text == "\\in" and part[2].text in _SETS

    def without_condition(self, tokens: list[Token]) -> list[Token]:
        """What stands before "where ...", "for all ...", "∀ ..."."""
        for i, (t, d) in enumerate(zip(tokens, depth_of(tokens), strict=True)):
            first = t.text.split()[0].lower() if t.kind == "word" else ""
            if first in _BRANCHES and any(u.kind == "sep" for u in tokens[i:]):
                raise Conditional("an answer in cases")
            if d == 0 and i and any(u.kind != "word" for u in tokens[:i]) and (first in _CONDITIONS or t.text in _CUTS):
                self.check_condition(first, tokens[:i])
                tokens = tokens[:i]
                break
        while tokens and tokens[-1].kind == "sep":
            tokens = tokens[:-1]
        while tokens and tokens[0].kind == "sep":
            tokens = tokens[1:]
        return tokens

    def check_condition(self, word: str, before: list[Token]) -> None:
        """`(x, y) with x + y even` says nothing without its condition."""
        if word not in {"for", "in", "on", "over", "as", ""} and all(t.kind in {"sym", "open", "close", "sep"} for t in before):
            raise Conditional("everything is in the condition")

    # --- one item ----------------------------------------------------------------------------------------------------
    def item(self, tokens: list[Token]) -> Form:
        while tokens and tokens[0].kind == "word" and is_filler(tokens[0].text) and len(tokens) > 1:
            tokens = tokens[1:]
        if len(tokens) == 1 and tokens[0].text == "\\ldots":
            return Words("...")
        if all(t.kind == "word" for t in tokens):
            return whole(text_of(tokens)) or Words(text_of(tokens))
        cuts = [i for i, (t, d) in enumerate(zip(tokens, depth_of(tokens), strict=True)) if d == 0 and t.kind == "rel"]
        if cuts:
            return self.relation(tokens, cuts)
        for command, how in (("\\cup", "union"), ("\\setminus", "difference"), ("\\cap", "intersection")):
            pieces = split(tokens, lambda t, c=command: t.text == c)
            if len(pieces) > 1:
                return Combined(how, tuple(self.item(p) if p else _nothing() for p in pieces))
        if any(d == 0 and (t.kind == "colon" or t.text == "to") for t, d in zip(tokens, depth_of(tokens), strict=True)):
            return self.ratio([Token("colon", ":") if t.text == "to" else t for t in tokens])
        if tokens[0].text == "\\begin":
            return self.matrix(tokens)
        if len(tokens) == 1 and tokens[0].text in _SETS:
            return Whole(tokens[0].text[1:])
        if _is_bracketed(tokens):
            inner = self.bracketed(tokens)
            if inner is not None:
                return inner
        return self.value(tokens)

    def value(self, tokens: list[Token]) -> Form:
        try:
            node, unit = quantity(tokens)
        except Unreadable:
            if any(t.kind == "word" for t in tokens) and not any(t.kind == "cmd" for t in tokens):
                return whole(text_of(tokens)) or Words(text_of(tokens))
            raise
        both = signs(node)
        return Value(node, unit) if len(both) == 1 else Many(tuple(Value(n, unit) for n in both))

    def bracketed(self, tokens: list[Token]) -> Form | None:
        """A set, a tuple, an interval, or what stands alone in brackets; None for a bracket of an expression."""
        opening, closing, inner = tokens[0].text, tokens[-1].text, tokens[1:-1]
        if opening == "\\{":
            bar = next((i for i, (t, d) in enumerate(zip(inner, depth_of(inner), strict=True)) if d == 0 and (t.text == "|" or t.kind == "colon")), None)
            if bar and not any(t.text == "|" for t in inner[bar + 1 :]):
                return self.form(inner[bar + 1 :])
            if not inner:
                return Whole("emptyset")
        if opening in {"\\lfloor", "\\lceil"} or not inner:
            return None
        parts = split(inner, lambda t: t.kind == "sep")
        if opening in {"\\{", "{"} and (len(parts) > 1 or opening == "\\{"):
            items = [self.item(p) for p in parts if p]
            flat = [x for i in items for x in (i.items if isinstance(i, Many) and not i.opening else (i,))]
            return Many(tuple(flat), *(("{", "}") if opening == "\\{" else ("", "")))
        if len(parts) == 1:
            return self.form(inner) if closing == OPENING[opening] and opening != "[" else None
        if not all(parts):
            raise Unreadable("an empty place in a tuple")
        opening = "(" if opening == "\\langle" else opening
        return Many(tuple(self.item(p) for p in parts), opening, ")" if closing == "\\rangle" else closing)

    def ratio(self, tokens: list[Token]) -> Form:
        pieces = split(tokens, lambda t: t.kind == "colon")
        if any(t.kind == "word" for t in pieces[0]) and len(pieces) == 2:
            return Named(text_of(pieces[0]), self.item(pieces[1]), in_words=True)
        if all(p and not any(t.kind == "colon" for t in p) for p in pieces) and len(pieces) > 1:
            return Ratio(tuple(self.value(p) for p in pieces))
        return Value(parse(tokens, ratio=True))

    def matrix(self, tokens: list[Token]) -> Form:
        end = next((i for i, t in enumerate(tokens) if t.text == "\\end"), None)
        if end is None or end + 4 != len(tokens):
            raise Unreadable("a matrix among other things")
        rows = [r for r in split(tokens[4:end], lambda t: t.text == "\\\\") if r]
        return Matrix(tuple(tuple(self.item(c) for c in split(r, lambda t: t.text == "&")) for r in rows))

    # --- relations and names -----------------------------------------------------------------------------------------
    def relation(self, tokens: list[Token], cuts: list[int]) -> Form:
        modulus = next((i for i, t in enumerate(tokens) if t.text in {"\\pmod", "\\mod", "\\bmod"}), None)
        if modulus is not None and len(cuts) == 1 and RELATIONS[tokens[cuts[0]].text] == "=":
            return Relation((parse(tokens[: cuts[0]]), parse(tokens[cuts[0] + 1 : modulus]), parse(tokens[modulus + 1 :])), ("=", "mod"))
        ops = [RELATIONS[tokens[i].text] for i in cuts]
        sides = [tokens[a:b] for a, b in zip([0, *(c + 1 for c in cuts)], [*cuts, len(tokens)], strict=True)]
        if "=>" in ops:
            last = len(ops) - ops[::-1].index("=>")
            ops, sides = ops[last:], sides[last:]
            if not ops:
                return self.form(sides[0])
        if ("~" in ops and len(ops) > 1) or ("~" in ops and self.name(sides[0]) is None):  # "exact ≈ decimal": the exact one
            keep = ops.index("~")
            ops, sides = ops[:keep], sides[: keep + 1]
            if not ops:
                return self.item(sides[0])
        if not all(sides):
            if not sides[0] and len(sides) == 2:
                return self.item(sides[1])
            raise Unreadable("a relation without a side")
        if ops[0] == "in" and len(ops) == 1:
            name = self.name(sides[0])
            return replace(name, value=self.form(sides[1])) if name else self.form(sides[1])
        if set(ops) <= {"=", "~"}:
            name = self.name(sides[0])
            if name is not None:
                return replace(name, value=self.item(sides[-1]))
        return Relation(tuple(self.side(s) for s in sides), tuple(ops))

    def side(self, tokens: list[Token]) -> Node | Words:
        if all(t.kind == "word" for t in tokens):
            return Words(text_of(tokens))
        try:
            return parse(tokens)
        except Unreadable:
            return quantity(tokens)[0] if all(t.kind not in {"colon"} for t in tokens) else parse(tokens, ratio=True)

    def name(self, tokens: list[Token]) -> Named | None:
        r"""The tokens as a name: `x`, `f(x)`, `m_{\max}`, `(x, y)`, `\frac{AB}{CD}`, "Maximum"; None for anything else. Its value is a placeholder."""
        blank = Words("")
        if not tokens:
            return None
        if any(t.kind == "word" for t in tokens):
            return Named(text_of(tokens), blank, in_words=True)
        if any(t.kind == "colon" for t in tokens):
            return Named(text_of(tokens), blank)
        m = re.fullmatch(r"((?:\\?[A-Za-z]+)(?:_(?:\{[^{}]*\}|\w))?'*)\(([A-Za-z](?:,[A-Za-z])*)\)", text_of(tokens).replace(" ", ""))
        if m and tokens[0].kind == "sym":
            return Named(m[1], blank, tuple(m[2].split(",")))
        if _is_bracketed(tokens) and tokens[0].text == "(" and all(len(p) and self.name(p) for p in split(tokens[1:-1], lambda t: t.text == ",")):
            return Named(text_of(tokens), blank)
        try:
            node = parse(tokens)
        except Unreadable:
            return None
        capitals = symbols(node) and all(re.fullmatch(r"[A-Z](_.*)?'*|\\.*", s) for s in symbols(node))
        if node.op == "sym" or (capitals and node.op in {"mul", "div", "abs"} and not any(t.kind == "num" and tokens[i - 1].text != "_" for i, t in enumerate(tokens) if i)):
            return Named(str(node.args[0]) if node.op == "sym" else text_of(tokens), blank)
        return None


def _is_bracketed(tokens: list[Token]) -> bool:
    """Does the first bracket close with the last token?"""
    if len(tokens) < 2 or tokens[0].kind != "open" or tokens[-1].kind != "close":
        return False
    return all(d > 0 for d in depth_of(tokens)[1:-1])


def _nothing() -> Form:
    raise Unreadable("a set is missing")
