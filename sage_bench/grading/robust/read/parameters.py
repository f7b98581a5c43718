r"""Letters that stand for any number of a stated set: `k ∈ ℤ` in `π/4 + kπ`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sage_bench.grading.robust.text.tokens import Token

_KINDS = {
    "\\integers": "integers",
    "\\naturals": "naturals",
    "\\reals": "reals",
    "\\rationals": "rationals",
    "\\complexes": "complexes",
}
_POSITIVE = ("^+", "^{+", "_+", "_{+", "_{>", "_{\\ge", "^*", "^{*")


def domains(tokens: Sequence[Token]) -> tuple[tuple[str, str], ...]:
    r"""(symbol, kind of number) for each `k \in \mathbb{Z}` among the tokens.

    `\mathbb{Z}^+` and `\mathbb{N}` are both the naturals.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> def found(text): return domains(tokenize(clean(text)))
    >>> found(r"k\pi, k \in \mathbb{Z}"), found(r"k\pi, k \in \mathbb{Z}^+")
    ((('k', 'integers'),), (('k', 'naturals'),))
    >>> found(r"s, t \in \mathbb{R}")
    (('t', 'reals'), ('s', 'reals'))
    """
    found = []
    for i, t in enumerate(tokens[:-2]):
        kind = _KINDS.get(tokens[i + 2].text)
        if t.kind != "sym" or tokens[i + 1].text != "\\in" or kind is None:
            continue
        decoration = "".join(u.text for u in tokens[i + 3 : i + 6])
        if kind == "integers" and decoration.startswith(_POSITIVE):
            kind = "naturals"
        found.append((t.text, kind))
        while i >= 2 and tokens[i - 1].text == "," and tokens[i - 2].kind == "sym":
            i -= 2  # `s, t \in ...` is about both
            found.append((tokens[i].text, kind))
    return tuple(found)


def arbitrary_names(tokens: Sequence[Token]) -> frozenset[str]:
    """Symbols beside "any constant", "where c is arbitrary" and the like."""
    found: set[str] = set()
    for i, t in enumerate(tokens):
        if t.kind == "word" and re.search(
            r"\bconstant|\barbitrary\b|\b(?:any|some) real\b", t.text
        ):
            found.update(u.text for u in tokens[max(0, i - 1) : i + 2] if u.kind == "sym")
    return frozenset(found)
