"""What stands between operators: numbers, symbols with indices, brackets, functions, roots,
fractions."""

from __future__ import annotations

import re
from fractions import Fraction

from sage_bench.grading.robust.text.commands import FUNCTIONS
from sage_bench.grading.robust.read.nodes import Node, Unreadable, exact, number, symbols
from sage_bench.grading.robust.text.tokens import Token, text_of
from sage_bench.grading.robust.text.words import number_word

PLAIN_FUNCTIONS = {"\\" + f for f in FUNCTIONS} - {"\\log", "\\lg", "\\sqrt", "\\ln", "\\exp"}
CONSTANTS = {"\\pi": "pi", "\\infty": "oo"}
ACCENTS = {"\\bar", "\\overline", "\\dot", "\\ddot", "\\tilde"}
_APPLIED = {
    "f",
    "g",
    "h",
    "F",
    "G",
    "H",
}  # letters that are functions when a bracket follows at once


class Notation:
    """A cursor over tokens and the rules for atoms; `sum`, `power` and `exponent` are the grammar's
    (see `parser`)."""

    def __init__(self, tokens: list[Token], ratio: bool):
        self.tokens, self.ratio, self.i, self.depth, self.bars = tokens, ratio, 0, 0, 0

    def sum(self) -> Node:
        raise NotImplementedError

    def power(self) -> Node:
        raise NotImplementedError

    def exponent(self) -> Node:
        raise NotImplementedError

    # --- looking at tokens ----------------------------------------------------------------------
    def peek(self, offset: int = 0) -> Token:
        j = self.i + offset
        return self.tokens[j] if j < len(self.tokens) else Token("end", "")

    def take(self) -> Token:
        t = self.peek()
        if t.kind == "end":
            raise Unreadable("the expression ends too early")
        self.i += 1
        return t

    def accept(self, *texts: str) -> str | None:
        if self.peek().text in texts and self.peek().kind not in {"word", "end"}:
            return self.take().text
        return None

    def expect(self, text: str) -> None:
        if self.accept(text) is None:
            raise Unreadable(f"`{text}` is missing")

    # --- atoms ----------------------------------------------------------------------------------
    def atom(self) -> Node:
        t = self.take()
        if t.kind == "num":
            return self.based(number_of(t.text), t.text)
        if t.kind == "sym":
            return self.symbol(t.text)
        if t.kind == "open":
            self.i -= 1
            return self.bracket()
        if t.text == "|":
            self.bars += 1
            inner = self.sum()
            self.expect("|")
            self.bars -= 1
            return Node("abs", (inner,))
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
        closing = {"(": ")", "[": "]", "{": "}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}.get(
            opening
        )
        if closing is None:
            raise Unreadable(f"`{opening}` is no bracket of an expression")
        self.expect(closing)
        if (
            opening == "("
            and self.peek().text == "_"
            and self.tokens[self.i - 2].kind == "num"
            and node.op == "num"
        ):  # (52)_8
            return self.based(node, self.tokens[self.i - 2].text)
        return (
            Node({"\\lfloor": "floor", "\\lceil": "ceil"}[opening], (node,))
            if opening in {"\\lfloor", "\\lceil"}
            else node
        )

    def based(self, node: Node, digits: str) -> Node:
        """`52_8`: a number with its base."""
        if self.peek().text != "_" or not digits.isdigit():
            return node
        self.take()
        base = self.index()
        base = str(number_word(base) or base)
        if (
            not base.isdigit()
            or not 2 <= int(base) <= 36
            or any(int(d, 36) >= int(base) for d in digits)
        ):
            raise Unreadable(f"no number in base {base}")
        return Node("based", (digits, int(base)))

    def index(self) -> str:
        """A subscript as text, without spaces and brackets."""
        if self.accept("{"):
            begin, depth = self.i, 1
            while depth:
                t = self.take()
                depth += (t.text == "{") - (t.text == "}")
            return re.sub(r"[\s{}]", "", text_of(self.tokens[begin : self.i - 1]))
        return self.take().text

    def symbol(self, name: str) -> Node:
        if name == "e" and self.peek().text != "_":
            return Node("const", ("e",))
        if name == "i" and self.peek().text != "_":
            return Node("const", ("i",))
        while self.peek().text in {"_", "'"}:
            name += "'" if self.take().text == "'" else "_" + self.index()
        if name == "C" and self.peek().text == "(" and (chosen := self.chosen()):
            return chosen
        at_a_number = [t.kind for t in self.tokens[self.i : self.i + 3]] == [
            "open",
            "num",
            "close",
        ]  # I(0) is no product
        if (
            self.peek().text == "("
            and not self.peek().spaced
            and (name[0] in _APPLIED or at_a_number)
        ):
            return Node("app", (name, *self.arguments()))
        return Node("sym", (name,))

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
                return Node("binom", tuple(args))
        self.i = begin
        return None

    def arguments(self) -> list[Node]:
        self.expect("(")
        out = [self.sum()]
        while self.accept(",", ";"):
            out.append(self.sum())
        self.expect(")")
        return out

    def command(self, name: str) -> Node:
        if name in CONSTANTS:
            return Node("const", (CONSTANTS[name],))
        if name in {"\\frac", "\\binom"}:
            top, bottom = self.argument(digit=True), self.argument(digit=True)
            return Node("div" if name == "\\frac" else "binom", (top, bottom))
        if name == "\\sqrt":
            degree = number(2)
            if self.accept("["):
                degree = self.sum()
                self.expect("]")
            return Node("root", (degree, self.argument()))
        if name in PLAIN_FUNCTIONS or name in {"\\log", "\\ln", "\\lg", "\\exp"}:
            return self.function(name)
        if name == "\\ldots":
            return Node("ellipsis")
        if name in ACCENTS:
            inner = self.argument()
            names = [
                n.args[0] for n in (inner.args if inner.op == "mul" else (inner,)) if n.op == "sym"
            ]
            if names and len(names) == (len(inner.args) if inner.op == "mul" else 1):
                return self.symbol(name[1:] + " " + "".join(names))
        if name in {"\\angle", "\\triangle"}:
            letters = []
            while self.peek().kind == "sym":
                letters.append(self.symbol(self.take().text))
            return Node("sym", (name + "".join(str(n.args[0]) for n in letters),))
        raise Unreadable(f"`{name}` is not understood")

    def argument(self, *, digit: bool = False) -> Node:
        r"""A braced argument, or one token; with `digit` one digit: `\frac12` is a half, but `√12`
        is the root of twelve."""
        t = self.peek()
        if t.kind == "open":
            return self.bracket()
        if digit and t.kind == "num" and len(t.text) > 1 and t.text.isdigit():
            self.tokens[self.i : self.i + 1] = [Token("num", t.text[0]), Token("num", t.text[1:])]
        return self.atom()

    def function(self, name: str) -> Node:
        base, exponent = None, None
        while self.peek().text in {"_", "^"}:
            if self.take().text == "_":
                base = self.bracket() if self.peek().text == "{" else self.atom()
            else:
                exponent = self.exponent()
        if self.peek().text in {"(", "[", "{"}:
            args = self.arguments() if self.peek().text == "(" else [self.bracket()]
        else:
            args = [self.function_argument()]
        inverse = (
            exponent is not None
            and exponent.op == "neg"
            and exponent.args[0] == number(1)
            and name in PLAIN_FUNCTIONS
        )
        if name in {"\\log", "\\ln", "\\lg"}:
            natural = (
                Node("const", ("e",))
                if name == "\\ln"
                else number(10)
                if name == "\\lg"
                else Node("const", ("log",))
            )
            node = Node("log", (base or natural, args[0]))
        elif name == "\\exp":
            node = Node("pow", (Node("const", ("e",)), args[0]))
        else:
            node = Node("fn", (("arc" if inverse else "") + name[1:], *args))
        return node if exponent is None or inverse else Node("pow", (node, exponent))

    def function_argument(self) -> Node:
        r"""What stands behind a function without brackets: `\sin 2\pi x`, but not beyond an
        operator or another function."""
        sign = self.accept("-", "+")
        parts = [self.power()]
        while (t := self.peek()).kind in {"num", "sym"} or t.text in {"\\pi", "\\frac", "\\sqrt"}:
            parts.append(self.power())
        node = product_of(parts)
        return Node("neg", (node,)) if sign == "-" else node


def product_of(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))


def number_of(text: str) -> Node:
    m = re.fullmatch(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}", text)
    if m:
        whole, fixed, repeated = m[1] or "0", m[2], m[3]
        value = Fraction(
            int(whole + fixed + repeated) - int(whole + fixed),
            (10 ** len(repeated) - 1) * 10 ** len(fixed),
        )
        return number(value)
    mantissa, _, power = text.lower().partition("e")
    places = len(mantissa.partition(".")[2]) or None
    if power:
        if abs(int(power)) > 400:
            raise Unreadable("out of range")
        return Node(
            "mul",
            (number(Fraction(mantissa), places), Node("pow", (number(10), number(int(power))))),
        )
    return number(Fraction(mantissa), places)
