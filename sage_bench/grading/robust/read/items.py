"""One item of an answer: an expression, a bracketed thing, a relation, a name with its value, a
ratio, a matrix."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

from sage_bench.grading.robust.read.enumerated import enumerated
from sage_bench.grading.robust.read.forms import (
    Combined,
    Form,
    Many,
    Matrix,
    Named,
    Ratio,
    Relation,
    Value,
    Whole,
    Words,
)
from sage_bench.grading.robust.read.nodes import (
    Conditional,
    Node,
    Unreadable,
    number,
    signs,
    symbols,
)
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.read.quantity import quantity
from sage_bench.grading.robust.read.ranges import integers_in, pieces
from sage_bench.grading.robust.text.tokens import (
    OPENING,
    RELATIONS,
    Token,
    depth_of,
    split,
    text_of,
    tokenize,
)
from sage_bench.grading.robust.compare.vectors import scaled, transposed, without_dots
from sage_bench.grading.robust.text.words import half_line, is_filler, whole

EXTREME = re.compile(
    r"(?:the )?(?:max|min|maximum|minimum|largest|smallest|greatest|least)(?: value)?(?: is)?", re.I
)
SETS = {"\\reals", "\\integers", "\\naturals", "\\rationals", "\\complexes", "\\emptyset"}


class Items:
    """How one item is read; `form` (several items, conditions) is the reader's."""

    chained = False  # "x = y = 1" says what x is and what y is, rather than what x = y comes to

    def form(self, tokens: list[Token]) -> Form:
        raise NotImplementedError

    def item(self, tokens: list[Token]) -> Form:
        while tokens and tokens[0].kind == "word" and is_filler(tokens[0].text) and len(tokens) > 1:
            tokens = tokens[1:]
        if len(tokens) == 1 and tokens[0].text == "\\ldots":
            return Words("...")
        if all(t.kind == "word" for t in tokens):
            return whole(text_of(tokens)) or self.half(text_of(tokens)) or Words(text_of(tokens))
        if (
            len(tokens) > 2
            and tokens[0].kind == "sym"
            and tokens[1].kind == "colon"
            and any(t.kind == "rel" for t in tokens)
        ):
            tokens = tokens[2:]  # "l: x + y = 3", the line l
        if (
            tokens[0].kind == "word"
            and is_bracketed(tokens[1:])
            and any(t.text == "," for t in tokens)
        ):
            tokens = tokens[1:]  # "the point (2, 3)"
        if (
            tokens[0].kind == "word"
            and tokens[0].text.lower() in {"negative", "minus"}
            and len(tokens) > 1
            and tokens[1].kind == "num"
        ):
            tokens = [Token("op", "-"), *tokens[1:]]
        if (
            tokens[0].kind == "word"
            and EXTREME.fullmatch(tokens[0].text)
            and not any(t.kind in {"word", "rel", "colon"} for t in tokens[1:])
        ):
            return Named(tokens[0].text, self.value(tokens[1:]), in_words=True)  # "maximum 3"
        cuts = [
            i
            for i, (t, d) in enumerate(zip(tokens, depth_of(tokens), strict=True))
            if d == 0 and t.kind == "rel"
        ]
        if cuts:
            return self.relation(tokens, cuts)
        for command, how in (
            ("\\cup", "union"),
            ("\\setminus", "difference"),
            ("\\cap", "intersection"),
        ):
            pieces = split(tokens, lambda t, c=command: t.text == c)
            if len(pieces) > 1:
                return Combined(how, tuple(self.item(p) if p else _nothing() for p in pieces))
        if tokens[0].text in SETS and (found := self.decorated(tokens[0].text, tokens[1:])):
            return found
        if any(
            d == 0 and (t.kind == "colon" or t.text == "to")
            for t, d in zip(tokens, depth_of(tokens), strict=True)
        ):
            return self.ratio([Token("colon", ":") if t.text == "to" else t for t in tokens])
        if any(
            t.text == "\\begin" and d == 0 for t, d in zip(tokens, depth_of(tokens), strict=True)
        ):
            return self.matrix(tokens)
        if is_bracketed(tokens):
            inner = self.bracketed(tokens)
            if inner is not None:
                return inner
        return self.value(tokens)

    def half(self, text: str) -> Form | None:
        """All positive reals and the like."""
        said = half_line(text)
        return self.form(tokenize(said)) if said else None

    def decorated(self, name: str, rest: list[Token]) -> Form | None:
        r"""`\mathbb{R}`, `\mathbb{R}^+`, `\mathbb{Z}_{\ge 0}`, `\mathbb{R} - \{1\}`; None for
        anything else."""
        if not rest:
            return Whole(name[1:])
        if rest[0].text in {"-", "/"} and rest[1:2] and rest[1].text == "\\{":
            return Combined("difference", (Whole(name[1:]), self.item(rest[1:])))
        said = "".join(t.text for t in rest if t.text not in "{}")
        kind = {
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
        }.get(said)
        if name == "\\reals" and kind:
            zero, infinity = Value(number(0)), Value(Node("const", ("oo",)))
            positive = Many((zero, infinity), "[" if kind == ">=" else "(", ")")
            negative = Many(
                (Value(Node("neg", (infinity.node,))), zero), "(", "]" if kind == "<=" else ")"
            )
            return (
                Combined("union", (negative, positive))
                if kind == "!="
                else positive
                if kind[0] == ">"
                else negative
            )
        if name in {"\\integers", "\\naturals"} and (
            kind in {">", ">="} or (kind == "!=" and name == "\\naturals") or said == "_0"
        ):
            return Whole("nonnegative integers" if kind == ">=" or said == "_0" else "naturals")
        return None

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
        """A set, a tuple, an interval, or what stands alone in brackets; None for a bracket of an
        expression."""
        opening, closing, inner = tokens[0].text, tokens[-1].text, tokens[1:-1]
        if opening == "\\{":
            bar = next(
                (
                    i
                    for i, (t, d) in enumerate(zip(inner, depth_of(inner), strict=True))
                    if d == 0 and (t.text == "|" or t.kind == "colon")
                ),
                None,
            )
            if bar and sum(t.text == "|" for t in inner[bar + 1 :]) % 2 == 0:
                return self.described(inner[:bar], inner[bar + 1 :])
            if not inner:
                return Whole("emptyset")
        if opening in {"\\lfloor", "\\lceil"} or not inner:
            return None
        parts = split(inner, lambda t: t.kind == "sep")
        if opening in {"\\{", "{"} and (len(parts) > 1 or opening == "\\{"):
            items = without_dots([self.item(p) for p in parts if p])
            flat = [
                x
                for i in items
                for x in (i.items if isinstance(i, Many) and not i.opening else (i,))
            ]
            return Many(tuple(flat), *(("{", "}") if opening == "\\{" else ("", "")))
        if len(parts) == 1:
            return self.form(inner) if closing == OPENING[opening] and opening != "[" else None
        if not all(parts):
            raise Unreadable("an empty place in a tuple")
        opening, closing = (
            "(" if opening == "\\langle" else opening,
            ")" if closing == "\\rangle" else closing,
        )
        rows = _choices([self.item(p) for p in parts], linked=any(t.text == "\\mp" for t in inner))
        found = tuple(Many(tuple(without_dots(row)), opening, closing) for row in rows)
        return found[0] if len(found) == 1 else Many(found)

    def described(self, left: list[Token], right: list[Token]) -> Form:
        r"""`\{x | 0 < x < 3\}`: what the condition describes; whole numbers are listed where they
        are finitely many."""
        if (listed := enumerated(left, right)) is not None:
            return listed
        form = self.form(right)
        if (
            not any(t.text in {"\\integers", "\\naturals"} for t in (*left, *right))
            or pieces(form) is None
        ):
            return form
        listed = integers_in(
            pieces(form), from_one=any(t.text == "\\naturals" for t in (*left, *right))
        )  # type: ignore[arg-type]
        if listed is None:
            raise Conditional("infinitely many whole numbers")
        return Many(tuple(Value(n) for n in listed), "{", "}")

    def ratio(self, tokens: list[Token]) -> Form:
        pieces = split(tokens, lambda t: t.kind == "colon")
        if any(t.kind == "word" for t in pieces[0]) and len(pieces) == 2:
            return Named(text_of(pieces[0]), self.item(pieces[1]), in_words=True)
        if all(p and not any(t.kind == "colon" for t in p) for p in pieces) and len(pieces) > 1:
            return Ratio(tuple(self.value(p) for p in pieces))
        return Value(parse(tokens, ratio=True))

    def matrix(self, tokens: list[Token]) -> Form:
        begin = next(i for i, t in enumerate(tokens) if t.text == "\\begin")
        end = next((i for i, t in enumerate(tokens) if t.text == "\\end"), len(tokens))
        before, after = (
            tokens[:begin],
            "".join(t.text for t in tokens[end + 4 :] if t.text not in "{}"),
        )
        if (
            tokens[begin + 2 : begin + 3] != [Token("word", "matrix")]
            or end == len(tokens)
            or after not in {"", "^T", "^\\top"}
        ):
            raise Unreadable("a matrix among other things")
        rows = [r for r in split(tokens[begin + 4 : end], lambda t: t.text == "\\\\") if r]
        found = Matrix(
            tuple(tuple(self.item(c) for c in split(r, lambda t: t.text == "&")) for r in rows)
        )
        if before and before[-1].text in {"\\cdot", "\\times", "*"}:
            before = before[:-1]
        if before:
            found = scaled(
                found, number(-1) if [t.text for t in before] == ["-"] else parse(before)
            )
        return transposed(found) if after else found

    # --- relations and names --------------------------------------------------------------------
    def relation(self, tokens: list[Token], cuts: list[int]) -> Form:
        modulus = next(
            (i for i, t in enumerate(tokens) if t.text in {"\\pmod", "\\mod", "\\bmod"}), None
        )
        if modulus is not None and len(cuts) == 1 and RELATIONS[tokens[cuts[0]].text] == "=":
            return Relation(
                (
                    parse(tokens[: cuts[0]]),
                    parse(tokens[cuts[0] + 1 : modulus]),
                    parse(tokens[modulus + 1 :]),
                ),
                ("=", "mod"),
            )
        ops = [RELATIONS[tokens[i].text] for i in cuts]
        sides = [
            tokens[a:b]
            for a, b in zip([0, *(c + 1 for c in cuts)], [*cuts, len(tokens)], strict=True)
        ]
        if "=>" in ops:
            last = len(ops) - ops[::-1].index("=>")
            ops, sides = ops[last:], sides[last:]
            if not ops:
                return self.form(sides[0])
        if ("~" in ops and len(ops) > 1) or (
            "~" in ops and self.name(sides[0]) is None
        ):  # "exact ≈ decimal": the exact one
            keep = ops.index("~")
            ops, sides = ops[:keep], sides[: keep + 1]
            if not ops:
                return self.item(sides[0])
        if not all(sides):
            if not sides[0] and len(sides) == 2:
                return (
                    self.item(sides[1])
                    if ops[0] in {"=", "~"}
                    else Relation((Words(""), self.side(sides[1])), tuple(ops))
                )
            raise Unreadable("a relation without a side")
        if ops[0] == "in" and len(ops) == 1:
            name = self.name(sides[0])
            return replace(name, value=self.form(sides[1])) if name else self.form(sides[1])
        if set(ops) <= {"=", "~"}:
            name = self.name(sides[0])
            if name is not None:
                names = [self.name(s) for s in sides[:-1]] if self.chained else [name]
                value = self.item(sides[-1])
                return (
                    Many(tuple(replace(n, value=value) for n in names if n))
                    if len(names) > 1 and all(names)
                    else replace(name, value=value)
                )
        if ops == ["!="] and len(both := signs(parse(sides[1]))) == 2:
            return Combined("and", tuple(Relation((self.side(sides[0]), n), ("!=",)) for n in both))
        return Relation(tuple(self.side(s) for s in sides), tuple(ops))

    def side(self, tokens: list[Token]) -> Node | Words:
        if all(t.kind == "word" for t in tokens):
            return Words(text_of(tokens))
        try:
            return parse(tokens)
        except Unreadable:
            return (
                quantity(tokens)[0]
                if all(t.kind not in {"colon"} for t in tokens)
                else parse(tokens, ratio=True)
            )

    def name(self, tokens: list[Token]) -> Named | None:
        r"""The tokens as a name: `x`, `f(x)`, `m_{\max}`, `(x, y)`, `\frac{AB}{CD}`, "Maximum";
        None for anything else. Its value is a placeholder."""
        blank = Words("")
        if not tokens:
            return None
        if any(t.kind == "word" for t in tokens) or [t.text for t in tokens] in (
            ["\\max"],
            ["\\min"],
        ):
            return Named(text_of(tokens).lstrip("\\"), blank, in_words=True)
        if any(t.kind == "colon" for t in tokens):
            return Named(text_of(tokens), blank)
        m = re.fullmatch(
            r"((?:\\?[A-Za-z]+)(?:_(?:\{[^{}]*\}|\w))?(?:\^\{-1\})?'*)\(([A-Za-z](?:,[A-Za-z])*)\)",
            text_of(tokens).replace(" ", ""),
        )
        if m and tokens[0].kind == "sym":
            return Named(m[1], blank, tuple(m[2].split(",")))
        if any(t.text in {"\\cap", "\\cup", "\\setminus"} for t in tokens) and not any(
            t.kind in {"open", "num"} for t in tokens
        ):
            return Named(text_of(tokens), blank)
        if (
            is_bracketed(tokens)
            and tokens[0].text == "("
            and all(len(p) and self.name(p) for p in split(tokens[1:-1], lambda t: t.text == ","))
        ):
            return Named(text_of(tokens), blank)
        try:
            node = parse(tokens)
        except Unreadable:
            return None
        capitals = symbols(node) and all(
            re.fullmatch(r"[A-Z](_.*)?'*|\\.*", s) for s in symbols(node)
        )
        if node.op == "sym" or (
            capitals
            and node.op in {"mul", "div", "abs"}
            and not any(
                t.kind == "num" and (not i or tokens[i - 1].text != "_")
                for i, t in enumerate(tokens)
            )
        ):
            return Named(str(node.args[0]) if node.op == "sym" else text_of(tokens), blank)
        return None


def is_bracketed(tokens: list[Token]) -> bool:
    """Does the first bracket close with the last token?"""
    if len(tokens) < 2 or tokens[0].kind != "open" or tokens[-1].kind != "close":
        return False
    return all(d > 0 for d in depth_of(tokens)[1:-1])


def _choices(items: list[Form], *, linked: bool) -> list[list[Form]]:
    r"""The tuples that `(\pm 1, \pm 2)` stands for: all four; with a `\mp` among the signs (linked)
    they go together."""
    free = [
        i.items if isinstance(i, Many) and not i.opening and len(i.items) == 2 else (i,)
        for i in items
    ]
    if linked:
        return [[f[k] if len(f) == 2 else f[0] for f in free] for k in (0, 1)]
    return [list(row) for row in product(*free)] if sum(len(f) == 2 for f in free) <= 6 else [items]


def _nothing() -> Form:
    raise Unreadable("a set is missing")
