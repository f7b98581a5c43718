"""Names of values: `x`, `f(x)`, `AB`, "Maximum", and the sides of a relation."""

from __future__ import annotations

import re

from sage_bench.grading.robust.read.forms import Named, Words
from sage_bench.grading.robust.read.layout import is_bracketed
from sage_bench.grading.robust.read.nodes import Kind, Node, Unreadable, symbols
from sage_bench.grading.robust.read.parser import parse
from sage_bench.grading.robust.read.quantity import quantity
from sage_bench.grading.robust.text.tokens import Token, at_commas, text_of

_FUNCTION = re.compile(
    r"((?:\\?[A-Za-z]+)(?:_(?:\{[^{}]*\}|\w))?(?:\^\{-1\})?'*)\(([A-Za-z](?:,[A-Za-z])*)\)"
)
_CAPITAL = re.compile(r"[A-Z](_.*)?'*|\\.*")
_SET_OPERATIONS = {"\\cap", "\\cup", "\\setminus"}
_PLAIN = {"sym", "open", "close"}
_OF_VECTORS = {"\\pointing", "\\cdot", "|"}
_BLANK = Words("")


def name_of(tokens: list[Token]) -> Named | None:
    r"""The tokens as a name: `x`, `f(x)`, `m_{\max}`, `(x, y)`, `\frac{AB}{CD}`, "Maximum".

    None for anything else. Its value is a placeholder.
    """
    if not tokens:
        return None
    texts = [t.text for t in tokens]
    if any(t.kind == "word" for t in tokens) or texts in (["\\max"], ["\\min"]):
        return Named(text_of(tokens).lstrip("\\"), _BLANK, in_words=True)
    if any(t.kind == "colon" for t in tokens):
        return Named(text_of(tokens), _BLANK)
    if "\\pointing" in texts and all(t.kind in _PLAIN or t.text in _OF_VECTORS for t in tokens):
        return Named(text_of(tokens), _BLANK)
    m = _FUNCTION.fullmatch(text_of(tokens).replace(" ", ""))
    if m and tokens[0].kind == "sym":
        return Named(m[1], _BLANK, tuple(m[2].split(",")))
    if _SET_OPERATIONS & set(texts) and not any(t.kind in {"open", "num"} for t in tokens):
        return Named(text_of(tokens), _BLANK)
    if is_bracketed(tokens) and texts[0] == "(" and all(map(name_of, at_commas(tokens[1:-1]))):
        return Named(text_of(tokens), _BLANK)
    try:
        node = parse(tokens)
    except Unreadable:
        return None
    if node.kind is Kind.SYM:
        return Named(str(node.args[0]), _BLANK)
    return Named(text_of(tokens), _BLANK) if _is_of_capitals(node, tokens) else None


def _is_of_capitals(node: Node, tokens: list[Token]) -> bool:
    """`AB`, `|AB|`, `AB/CD`: lengths and angles, without numbers but in indices."""
    if node.kind not in (Kind.MUL, Kind.DIV, Kind.ABS) or not symbols(node):
        return False
    if not all(_CAPITAL.fullmatch(s) for s in symbols(node)):
        return False
    before = [None, *tokens]
    pairs = zip(tokens, before, strict=False)
    return not any(t.kind == "num" and (b is None or b.text != "_") for t, b in pairs)


def side(tokens: list[Token]) -> Node | Words:
    """One side of a relation: an expression, or words. Raises `Unreadable`."""
    if all(t.kind == "word" for t in tokens):
        return Words(text_of(tokens))
    try:
        return parse(tokens)
    except Unreadable:
        if any(t.kind == "colon" for t in tokens):
            return parse(tokens, ratio=True)
        return quantity(tokens)[0]
