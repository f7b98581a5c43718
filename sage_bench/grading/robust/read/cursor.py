"""A place in a row of tokens."""

from __future__ import annotations

import re

from sage_bench.grading.robust.read.nodes import Unreadable
from sage_bench.grading.robust.text.tokens import Token, text_of

_END = Token("end", "")


class Cursor:
    """Looks at tokens and takes them one after the other."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.i = 0

    def peek(self, offset: int = 0) -> Token:
        j = self.i + offset
        return self.tokens[j] if j < len(self.tokens) else _END

    def take(self) -> Token:
        t = self.peek()
        if t.kind == "end":
            raise Unreadable("the expression ends too early")
        self.i += 1
        return t

    def accept(self, *texts: str) -> str | None:
        """Take the next token if it is one of these."""
        t = self.peek()
        if t.text not in texts or t.kind in {"word", "end"}:
            return None
        self.i += 1
        return t.text

    def expect(self, text: str) -> None:
        if self.accept(text) is None:
            raise Unreadable(f"`{text}` is missing")

    def index(self) -> str:
        """A subscript as text, without spaces and brackets."""
        if not self.accept("{"):
            return self.take().text
        begin, depth = self.i, 1
        while depth:
            t = self.take()
            depth += (t.text == "{") - (t.text == "}")
        return re.sub(r"[\s{}]", "", text_of(self.tokens[begin : self.i - 1]))

    def primes(self, offset: int = 0) -> int:
        """Number of tokens of `'` or `{'}` at an offset."""
        i = self.i + offset
        if self.peek(offset).text == "'":
            return 1
        return 3 if [t.text for t in self.tokens[i : i + 3]] == ["{", "'", "}"] else 0
