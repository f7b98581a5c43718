"""Find the answer in a completion."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{...}` (or `\fbox`) whose braces balance, or None.

    An unfinished box at the end (a truncated completion) does not hide a finished one before it. Escaped braces do not count.

    >>> last_boxed(r"first \boxed{3}, no: \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> last_boxed(r"\boxed{7} and then \boxed{8") , last_boxed("7")
    ('7', None)
    """
    for start in reversed([m.end() for m in _BOX.finditer(text)]):
        end = closing_brace(text, start)
        if end is not None:
            return text[start + 1 : end].strip()
    return None


def closing_brace(text: str, start: int) -> int | None:
    r"""Index of the brace that closes the one at `start`, or None. `\{` and `\}` are set braces, not delimiters."""
    depth = 0
    i = start
    while i < len(text):
        c = text[i]
        if c == "\\":
            i += 2
            continue
        if c == "{":
            depth += 1
        elif c == "}":
            depth -= 1
            if depth == 0:
                return i
        i += 1
    return None
