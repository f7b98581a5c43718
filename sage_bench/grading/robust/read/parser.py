"""Tokens to expression trees.

Ordinary mathematical notation: implicit products, mixed numbers, functions with and without
brackets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from sage_bench.grading.robust.read.cursor import Cursor
from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.nodes import (
    ANY_BASE,
    IMAGINARY,
    INFINITY,
    PI,
    E,
    Kind,
    Node,
    Unreadable,
    difference,
    negative,
    number,
    symbol,
    symbols,
)
from sage_bench.grading.robust.read.terms import (
    is_ellipsis,
    is_proper,
    number_of,
    product_of,
    with_dots,
    with_sign,
)
from sage_bench.grading.robust.text.commands import FUNCTIONS
from sage_bench.grading.robust.text.tokens import Token, tokenize
from sage_bench.grading.robust.text.words import number_word

DEEPEST = 60  # nested brackets
LOGARITHMS = {"\\log": ANY_BASE, "\\ln": E, "\\lg": number(10)}
PLAIN_FUNCTIONS = {"\\" + f for f in FUNCTIONS} - {*LOGARITHMS, "\\sqrt", "\\exp"}
CONSTANTS = {"\\pi": PI, "\\infty": INFINITY}
ACCENTS = {"\\bar", "\\overline", "\\dot", "\\ddot", "\\tilde"}
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_ROUNDING = {"\\lfloor": Kind.FLOOR, "\\lceil": Kind.CEIL}
_NAMED_ROUNDING = {"\\floor": Kind.FLOOR, "\\ceil": Kind.CEIL}
_OTHER_FACTORS = {
    "\\pointing",
    *_NAMED_ROUNDING,
    "\\frac",
    "\\sqrt",
    "\\exp",
    "\\binom",
    "\\ldots",
    "\\angle",
    "\\triangle",
}
_FACTORS = {*PLAIN_FUNCTIONS, *LOGARITHMS, *CONSTANTS, *ACCENTS, *_OTHER_FACTORS}
_APPLIED = set("fghFGH")  # letters that are functions when a bracket follows at once
_CHOICES = re.compile(r"[CA]_\d+|C_\d*[a-z][a-z+-]*\d*")  # C_5, A_5, C_{2n}


def parse(tokens: Sequence[Token], *, ratio: bool = False) -> Node:
    r"""The expression the tokens spell. ratio: a colon divides. Raises `Unreadable`.

    >>> [parse(tokenize(t)).kind.value for t in (r"1\frac{1}{2}", "2x", r"\sin^2 x")]
    ['add', 'mul', 'pow']
    """
    p = _Parser(list(tokens), ratio)
    node = p.sum()
    if p.i != len(p.tokens):
        raise Unreadable(f"`{p.tokens[p.i].text}` does not belong to the expression")
    return node


def parse_text(text: str) -> Node:
    """`parse` of a cleaned text."""
    return parse(tokenize(text))


class _Parser(Cursor):
    """Recursive descent: one method a level of binding, from sums down to atoms."""

    def __init__(self, tokens: list[Token], ratio: bool):
        super().__init__(tokens)
        self.ratio = ratio
        self.depth = 0
        self.bars = 0  # open bars of absolute values: inside one, `|` closes

    # --- operators ------------------------------------------------------------------------------
    def sum(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deeply")
        terms = [self.signed()]
        while (t := self.peek()).text in {"+", "-", "\\pm", "\\mp"} and t.kind in {"op", "cmd"}:
            self.take()
            terms.append(with_sign(t.text, self.signed()))
        self.depth -= 1
        if any(is_ellipsis(n) for n in terms):
            if len(terms) == 1:
                raise Unreadable("nothing but an ellipsis")
            return with_dots(Kind.ADD, terms)
        return terms[0] if len(terms) == 1 else Node(Kind.ADD, tuple(terms))

    def signed(self) -> Node:
        sign = self.accept("+", "-", "\\pm", "\\mp")
        return with_sign(sign, self.signed()) if sign else self.product()

    def product(self) -> Node:
        node = self.power()
        factors: list[Node] = []
        dotted = node.kind is Kind.ELLIPSIS
        while True:
            t = self.peek()
            if t.text in {"*", "\\cdot", "\\times"}:
                self.take()
                right = self.signed_power()
                dotted |= right.kind is Kind.ELLIPSIS
                factors.append(right)
            elif t.text in {"/", "\\div"} or (self.ratio and t.kind == "colon"):
                self.take()
                node = Node(Kind.DIV, (product_of([node, *factors]), self.signed_power()))
                factors = []
            elif not self.starts_factor(t):
                break
            elif t.kind == "num" and self.tokens[self.i - 1].kind == "num":
                if factors or not _is_whole(node):
                    raise Unreadable("two numbers side by side")
                node = Node(Kind.ADD, (node, self.slashed()))
            else:
                right = self.power()
                dotted |= right.kind is Kind.ELLIPSIS
                mixed = _mixed(node, right) if not factors else None
                if mixed is None:
                    factors.append(right)
                else:
                    node = mixed
        if not dotted:
            return product_of([node, *factors])
        alone = node.kind is Kind.ELLIPSIS and not factors
        return node if alone else with_dots(Kind.MUL, [node, *factors])

    def signed_power(self) -> Node:
        sign = self.accept("-", "+")
        return with_sign(sign, self.power())

    def slashed(self) -> Node:
        """The `1/2` of `1 1/2`."""
        top, slash, bottom = (self.peek(i) for i in range(3))
        kinds = (top.kind, slash.text, bottom.kind)
        digits = top.text.isdigit() and bottom.text.isdigit()
        if kinds != ("num", "/", "num") or not digits or int(top.text) >= int(bottom.text):
            raise Unreadable("two numbers side by side")
        self.i += 3
        return Node(Kind.DIV, (number(int(top.text)), number(int(bottom.text))))

    def starts_factor(self, t: Token) -> bool:
        if t.kind in {"num", "sym", "open"}:
            return True
        if t.text == "|":
            return not self.bars
        return t.kind == "cmd" and t.text in _FACTORS

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if not self.accept("^"):
            return base
        raised = self.exponent()
        if base.kind is Kind.SYM and self.peek().text == "_":  # v^2_0
            self.take()
            base = symbol(f"{base.args[0]}_{self.index()}")
        if base.kind is Kind.SYM and _CHOICES.fullmatch(base.args[0]):
            named = base.args[0]
            if raised.kind is Kind.NUM or named[-1] not in "0123456789":
                return self.postfix(_number_of_choices(named, raised))
        return self.postfix(Node(Kind.POW, (base, raised)))

    def exponent(self) -> Node:
        sign = self.accept("-", "+")
        if self.peek().text == "{":
            node = self.bracket()
        else:
            node = self.atom()
            if self.accept("^"):  # a^b^c is a^(b^c)
                node = Node(Kind.POW, (node, self.exponent()))
        return with_sign(sign, node)

    def postfix(self, node: Node) -> Node:
        while True:
            t = self.peek()
            if t.text == "!":
                self.take()
                node = Node(Kind.FACT, (node,))
            elif t.text == "%":
                self.take()
                node = Node(Kind.PCT, (node,))
            elif t.text == "^" and self.peek(1).text == "\\circ":
                self.i += 2
                node = self.minutes(node)
            elif t.text == "^" and self.primes(1) and node.kind in (Kind.SYM, Kind.APP):
                self.i += 1 + self.primes(1)
                node = Node(node.kind, (f"{node.args[0]}'", *node.args[1:]))
            elif t.text == "'" and node.kind is Kind.SYM:
                self.take()
                node = symbol(node.args[0] + "'")
            else:
                return node

    def minutes(self, degrees: Node) -> Node:
        """`60° 30' 15''`: what follows a degree sign."""
        parts = [degrees]
        for mark in ("'", "''"):
            if self.peek().kind == "num" and self.peek(1).text == "'":
                parts.append(number(Fraction(self.take().text) / 60 ** len(parts)))
                while self.accept("'"):
                    continue
            elif mark == "'":
                break
        return Node(Kind.DEG, (Node(Kind.ADD, tuple(parts)) if len(parts) > 1 else degrees,))

    # --- atoms ----------------------------------------------------------------------------------
    def atom(self) -> Node:
        t = self.take()
        if t.kind == "num":
            return self.based(number_of(t.text), t.text)
        if t.kind == "sym":
            return self.letter(t.text)
        if t.kind == "open":
            self.i -= 1
            return self.bracket()
        if t.text == "|":
            self.bars += 1
            inner = self.sum()
            self.expect("|")
            self.bars -= 1
            return Node(Kind.ABS, (inner,))
        if t.kind == "cmd":
            return self.command(t.text)
        if t.text == "\\$" and self.peek().kind == "num":
            return self.atom()
        raise Unreadable(f"`{t.text}` starts no expression")

    def bracket(self) -> Node:
        opening = self.take().text
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        closing = _BRACKETS.get(opening)
        if closing is None:
            raise Unreadable(f"`{opening}` is not a bracket of an expression")
        self.expect(closing)
        if opening == "(" and self.peek().text == "_" and node.kind is Kind.NUM:
            inside = self.tokens[self.i - 2]
            if inside.kind == "num":  # (52)_8
                return self.based(node, inside.text)
        return Node(_ROUNDING[opening], (node,)) if opening in _ROUNDING else node

    def based(self, node: Node, digits: str) -> Node:
        """`52_8`: a number with its base."""
        if self.peek().text != "_" or not digits.isdigit():
            return node
        self.take()
        base = self.index()
        base = str(number_word(base) or base)
        valid = base.isdigit() and 2 <= int(base) <= 36
        if not valid or any(int(d, 36) >= int(base) for d in digits):
            raise Unreadable(f"not a number in base {base}")
        return Node(Kind.BASED, (digits, int(base)))

    def letter(self, name: str) -> Node:
        """A letter with its indices and primes, a constant, or a function applied."""
        if name in {"e", "i"} and self.peek().text != "_":
            return E if name == "e" else IMAGINARY
        while self.peek().text in {"_", "'"}:
            name += "'" if self.take().text == "'" else "_" + self.index()
        if name == "C" and self.peek().text == "(" and (chosen := self.chosen()):
            return chosen
        if self.peek().text == "(" and not self.peek().spaced:
            following = [t.kind for t in self.tokens[self.i : self.i + 3]]
            at_a_number = following == ["open", "num", "close"]  # I(0) is not a product
            if name[0] in _APPLIED or at_a_number:
                return Node(Kind.APP, (name, *self.arguments()))
        return symbol(name)

    def chosen(self) -> Node | None:
        """`C(n, k)` is a binomial coefficient where it can be one; else nothing is taken."""
        begin = self.i
        try:
            args = self.arguments()
        except Unreadable:
            args = []
        if len(args) == 2:
            n, k = exact(args[0]), exact(args[1])
            if symbols(args[0]) or (n is not None and k is not None and n >= k >= 0):
                return Node(Kind.BINOM, tuple(args))
        self.i = begin
        return None

    def arguments(self) -> list[Node]:
        self.expect("(")
        out = [self.sum()]
        while self.accept(",", ";"):
            out.append(self.sum())
        self.expect(")")
        return out

    # --- commands -------------------------------------------------------------------------------
    def command(self, name: str) -> Node:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in {"\\frac", "\\binom"}:
            top, bottom = self.argument(digit=True), self.argument(digit=True)
            return Node(Kind.DIV if name == "\\frac" else Kind.BINOM, (top, bottom))
        if name == "\\sqrt":
            degree = number(2)
            if self.accept("["):
                degree = self.sum()
                self.expect("]")
            return Node(Kind.ROOT, (degree, self.argument()))
        if name in PLAIN_FUNCTIONS or name in LOGARITHMS or name == "\\exp":
            return self.function(name)
        if name == "\\ldots":
            return Node(Kind.ELLIPSIS)
        if name in _NAMED_ROUNDING:
            return Node(_NAMED_ROUNDING[name], (self.bracket(),))
        if name == "\\pointing":  # from A to B: as the difference of places, so that AB is -BA
            places = self.index()
            begin, end = places[0], places[-1]
            return difference(symbol(f"place {end}"), symbol(f"place {begin}"))
        if name in ACCENTS and (accented := self.accented(name)):
            return accented
        if name in {"\\angle", "\\triangle"}:
            letters = []
            while self.peek().kind == "sym":
                letters.append(self.letter(self.take().text))
            return symbol(name + "".join(str(n.args[0]) for n in letters))
        raise Unreadable(f"`{name}` is not understood")

    def accented(self, accent: str) -> Node | None:
        r"""`\bar{x}`, `\overline{AB}`: a symbol of its own; None over anything but letters."""
        inner = self.argument()
        parts = inner.args if inner.kind is Kind.MUL else (inner,)
        names = [n.args[0] for n in parts if n.kind is Kind.SYM]
        if not names or len(names) != len(parts):
            return None
        return self.letter(f"{accent[1:]} {''.join(names)}")

    def argument(self, *, digit: bool = False) -> Node:
        r"""A braced argument, or one token.

        digit: one digit only, because `\frac12` is a half, while `√12` is the root of twelve.
        """
        t = self.peek()
        if t.kind == "open":
            return self.bracket()
        if digit and t.kind == "num" and len(t.text) > 1 and t.text.isdigit():
            self.tokens[self.i : self.i + 1] = [Token("num", t.text[0]), Token("num", t.text[1:])]
        return self.atom()

    def function(self, name: str) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        while self.peek().text in {"_", "^"}:
            if self.take().text == "^":
                exponent = self.exponent()
            else:
                base = self.bracket() if self.peek().text == "{" else self.atom()
        if self.peek().text == "(":
            args = self.arguments()
        elif self.peek().text in {"[", "{"}:
            args = [self.bracket()]
        else:
            args = [self.function_argument()]
        if name in LOGARITHMS:
            node = Node(Kind.LOG, (base or LOGARITHMS[name], args[0]))
        elif name == "\\exp":
            node = Node(Kind.POW, (E, args[0]))
        elif name == "\\cis":  # cos x + i sin x
            node = Node(Kind.POW, (E, product_of([IMAGINARY, args[0]])))
        elif exponent == negative(number(1)):  # \sin^{-1} is the inverse, not the reciprocal
            return Node(Kind.FN, ("arc" + name[1:], *args))
        else:
            node = Node(Kind.FN, (name[1:], *args))
        return node if exponent is None else Node(Kind.POW, (node, exponent))

    def function_argument(self) -> Node:
        r"""What stands behind a function without brackets: `\sin 2\pi x`, up to an operator or
        another function."""
        sign = self.accept("-", "+")
        parts = [self.power()]
        while (t := self.peek()).kind in {"num", "sym"} or t.text in {"\\pi", "\\frac", "\\sqrt"}:
            parts.append(self.power())
        return with_sign(sign, product_of(parts))


def _is_whole(node: Node) -> bool:
    return node.kind is Kind.NUM and node.args[1] is None


def _mixed(node: Node, right: Node) -> Node | None:
    r"""`2\frac{3}{4}`, also of degrees or percent; None for a product."""
    if not _is_whole(node):
        return None
    if is_proper(right):
        return Node(Kind.ADD, (node, right))
    if right.kind in (Kind.DEG, Kind.PCT) and is_proper(right.args[0]):
        return Node(right.kind, (Node(Kind.ADD, (node, right.args[0])),))
    return None


def _number_of_choices(named: str, k: Node) -> Node:
    """`C_5^2` (in any order) and `A_5^2` (in order), as they are written in many countries."""
    chosen = Node(Kind.BINOM, (parse_text(named[2:]), k))
    if named[0] == "C":
        return chosen
    return Node(Kind.MUL, (chosen, Node(Kind.FACT, (k,))))
