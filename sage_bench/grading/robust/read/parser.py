"""Tokens to expression trees: ordinary mathematical notation, implicit products, mixed numbers,
functions with and without brackets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from sage_bench.grading.robust.read.nodes import Node, Unreadable, number
from sage_bench.grading.robust.read.notation import (
    ACCENTS,
    CONSTANTS,
    PLAIN_FUNCTIONS,
    Notation,
    product_of,
)
from sage_bench.grading.robust.text.tokens import Token, tokenize

DEEPEST = 60  # nested brackets


def parse(tokens: Sequence[Token], *, ratio: bool = False) -> Node:
    r"""The expression the tokens spell. ratio: a colon divides. Raises `Unreadable`.

    >>> parse(tokenize(r"1\frac{1}{2}"))[0], parse(tokenize("2x")).op, parse(tokenize(r"\sin^2 x")).op
    ('add', 'mul', 'pow')
    """
    p = _Parser(list(tokens), ratio)
    node = p.sum()
    if p.i != len(p.tokens):
        raise Unreadable(f"`{p.tokens[p.i].text}` does not belong to the expression")
    return node


def parse_text(text: str) -> Node:
    """`parse` of a cleaned text."""
    return parse(tokenize(text))


class _Parser(Notation):
    def sum(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deeply")
        terms = [self.signed()]
        while (t := self.peek()).text in {"+", "-", "\\pm", "\\mp"} and t.kind in {"op", "cmd"}:
            self.take()
            terms.append(_with_sign(t.text, self.signed()))
        self.depth -= 1
        if any(n.op == "ellipsis" or (n.op == "neg" and n.args[0].op == "ellipsis") for n in terms):
            if len(terms) == 1:
                raise Unreadable("nothing but an ellipsis")
            return _dots("add", terms)
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def signed(self) -> Node:
        sign = self.accept("+", "-", "\\pm", "\\mp")
        if sign:
            return _with_sign(sign, self.signed())
        return self.product()

    def product(self) -> Node:
        node, factors = self.power(), []
        dotted = node.op == "ellipsis"
        while True:
            t = self.peek()
            if t.text in {"*", "\\cdot", "\\times"}:
                self.take()
                sign = self.accept("-", "+")
                right = self.power()
                right = Node("neg", (right,)) if sign == "-" else right
                dotted |= right.op == "ellipsis"
                factors.append(right)
            elif t.text in {"/", "\\div"} or (self.ratio and t.kind == "colon"):
                self.take()
                sign = self.accept("-", "+")
                below = self.power()
                node, factors = (
                    Node(
                        "div",
                        (
                            product_of([node, *factors]),
                            Node("neg", (below,)) if sign == "-" else below,
                        ),
                    ),
                    [],
                )
            elif self.starts_factor(t):
                whole = not factors and node.op == "num" and node.args[1] is None
                if t.kind == "num" and self.tokens[self.i - 1].kind == "num":
                    node = (
                        Node("add", (node, self.slashed()))
                        if whole
                        else self.fail("two numbers side by side")
                    )
                    continue
                right = self.power()
                dotted |= right.op == "ellipsis"
                if whole and _is_proper(right):
                    node = Node("add", (node, right))
                elif whole and right.op in {"deg", "pct"} and _is_proper(right.args[0]):
                    node = Node(right.op, (Node("add", (node, right.args[0])),))
                else:
                    factors.append(right)
            else:
                break
        if dotted:
            return node if node.op == "ellipsis" and not factors else _dots("mul", [node, *factors])
        return product_of([node, *factors])

    def fail(self, why: str) -> Node:
        raise Unreadable(why)

    def slashed(self) -> Node:
        """The `1/2` of `1 1/2`."""
        part = [self.peek(i) for i in range(3)]
        if (
            [t.kind for t in part] != ["num", "op", "num"]
            or part[1].text != "/"
            or not part[0].text.isdigit()
            or not part[2].text.isdigit()
            or int(part[0].text) >= int(part[2].text)
        ):
            self.fail("two numbers side by side")
        self.i += 3
        return Node("div", (number(int(part[0].text)), number(int(part[2].text))))

    def starts_factor(self, t: Token) -> bool:
        if t.kind in {"num", "sym"}:
            return True
        if t.kind == "open":
            return True
        if t.text == "|" and not self.bars:
            return True
        return t.kind == "cmd" and (
            t.text in PLAIN_FUNCTIONS
            or t.text in CONSTANTS
            or t.text in ACCENTS
            or t.text
            in {
                "\\frac",
                "\\sqrt",
                "\\log",
                "\\ln",
                "\\lg",
                "\\exp",
                "\\binom",
                "\\ldots",
                "\\angle",
                "\\triangle",
            }
        )

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.accept("^"):
            raised = self.exponent()
            if base.op == "sym" and self.peek().text == "_":  # v^2_0
                self.take()
                base = Node("sym", (f"{base.args[0]}_{self.index()}",))
            if (
                base.op == "sym"
                and re.fullmatch(r"[CA]_\d+|C_\d*[a-z][a-z+-]*\d*", base.args[0])
                and (raised.op == "num" or base.args[0][-1] not in "0123456789")
            ):  # C_5^2, A_5^2, C_{2n}^n
                n, k = parse(tokenize(base.args[0][2:])), raised
                chosen = Node("binom", (n, k))
                return self.postfix(
                    chosen if base.args[0][0] == "C" else Node("mul", (chosen, Node("fact", (k,))))
                )
            return self.postfix(Node("pow", (base, raised)))
        return base

    def exponent(self) -> Node:
        sign = self.accept("-", "+")
        if self.peek().text == "{":
            node = self.bracket()
        else:
            node = self.atom()
            if self.accept("^"):  # a^b^c is a^(b^c)
                node = Node("pow", (node, self.exponent()))
        return Node("neg", (node,)) if sign == "-" else node

    def postfix(self, node: Node) -> Node:
        while True:
            t = self.peek()
            if t.text == "!":
                self.take()
                node = Node("fact", (node,))
            elif t.text == "%":
                self.take()
                node = Node("pct", (node,))
            elif t.text == "^" and self.peek(1).text == "\\circ":
                self.i += 2
                node = self.minutes(node)
            elif t.text == "^" and _primes(self.tokens, self.i + 1) and node.op in {"sym", "app"}:
                self.i += 1 + _primes(self.tokens, self.i + 1)
                node = Node(node.op, (str(node.args[0]) + "'", *node.args[1:]))
            elif t.text == "'" and node.op == "sym":
                self.take()
                node = Node("sym", (node.args[0] + "'",))
            else:
                return node

    def minutes(self, degrees: Node) -> Node:
        parts = [degrees]
        for mark in ("'", "''"):
            if self.peek().kind == "num" and self.peek(1).text == "'":
                parts.append(number(Fraction(self.take().text) / 60 ** len(parts)))
                while self.accept("'"):
                    continue
            elif mark == "'":
                break
        return Node("deg", (Node("add", tuple(parts)) if len(parts) > 1 else degrees,))


def _with_sign(sign: str, node: Node) -> Node:
    return {
        "+": lambda n: n,
        "-": lambda n: Node("neg", (n,)),
        "\\pm": lambda n: Node("pm", (n,)),
        "\\mp": lambda n: Node("mp", (n,)),
    }[sign](node)


def _primes(tokens: list[Token], i: int) -> int:
    """Number of tokens of `'` or `{'}` at i."""
    if i < len(tokens) and tokens[i].text == "'":
        return 1
    return 3 if [t.text for t in tokens[i : i + 3]] == ["{", "'", "}"] else 0


def _is_proper(part: Node) -> bool:
    r"""The fraction of `2\frac{3}{4}`: whole numbers, below one. After a whole number it is added,
    not multiplied."""
    return (
        part.op == "div"
        and all(a.op == "num" and a.args[1] is None for a in part.args)
        and 0 < part.args[0].args[0] < part.args[1].args[0]
    )


def _dots(op: str, terms: list[Node]) -> Node:
    """A sum or product with an ellipsis: known by its first and last terms, and by the step where
    they are numbers."""

    def is_dots(n: Node) -> bool:
        return n.op == "ellipsis" or (n.op == "neg" and n.args[0].op == "ellipsis")

    at = next((i for i, n in enumerate(terms) if is_dots(n)), 0)
    before, after = terms[:at], [n for n in terms[at + 1 :] if not is_dots(n)]
    if not before:
        raise Unreadable("an ellipsis with nothing before it")
    return Node(
        "dots", (op, before[0], after[-1] if after else Node("const", ("oo",)), *before[1:2])
    )
