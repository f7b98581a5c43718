r"""Letters that stand for any number of a stated set: `k ∈ ℤ` in `π/4 + kπ`, `t ∈ ℝ` in `(t, 2t)`.
Their names do not matter, their sets do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from sage_bench.grading.robust.read.forms import Reading
from sage_bench.grading.robust.read.nodes import Node, rename, symbols
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
    r"""(symbol, kind of number) for each `k \in \mathbb{Z}` among the tokens; `\mathbb{Z}^+` and
    `\mathbb{N}` are both the naturals.

    >>> from sage_bench.grading.robust.text.clean import clean
    >>> from sage_bench.grading.robust.text.tokens import tokenize
    >>> domains(tokenize(clean(r"k\pi, k \in \mathbb{Z}"))), domains(tokenize(clean(r"k\pi, k \in \mathbb{Z}^+"))), domains(tokenize(clean(r"s, t \in \mathbb{R}")))
    ((('k', 'integers'),), (('k', 'naturals'),), (('t', 'reals'), ('s', 'reals')))
    """
    found = []
    for i, t in enumerate(tokens[:-2]):
        kind = _KINDS.get(tokens[i + 2].text)
        if t.kind != "sym" or tokens[i + 1].text != "\\in" or kind is None:
            continue
        if kind == "integers" and "".join(u.text for u in tokens[i + 3 : i + 6]).startswith(
            _POSITIVE
        ):
            kind = "naturals"
        found.append((t.text, kind))
        while i >= 2 and tokens[i - 1].text == "," and tokens[i - 2].kind == "sym":
            i -= 2
            found.append((tokens[i].text, kind))
    return tuple(found)


def aligned(gold: Reading, answer: Reading) -> Reading | None:
    """The answer with its parameter called as in the gold; None where the two say different things
    of it (`k ∈ ℤ` and `k ∈ ℕ`).

    >>> from sage_bench.grading.robust.read.reader import read
    >>> def check(g, a): found = aligned(read(g)[0], read(a)[0]); return found and found.form == read(g)[0].form
    >>> R, Z = r"\\in \\mathbb{R}", r"\\in \\mathbb{Z}"
    >>> check(f"(t, 2t), t {R}", f"(s, 2s), s {R}"), check(f"(t, 2t), t {R}", f"(s, 2s), s {Z}"), check(f"(t, 2t), t {R}", "(s, 2s)")
    (True, None, True)
    """
    ours, theirs = dict(gold.domains), dict(answer.domains)
    if len(ours) != 1 or len(theirs) > 1:
        return answer
    ((name, kind),) = ours.items()
    mine, found = names_in(gold.form), names_in(answer.form)
    if theirs:
        ((other, stated),) = theirs.items()
        if kind != stated:
            return None
    elif len(mine) == len(found) == 1:
        (other,) = found
    else:
        return answer
    if other == name or name not in mine or other in mine or name in found:
        return answer
    return replace(answer, form=_renamed(answer.form, {other: name}))


def names_in(thing: Any) -> frozenset[str]:
    """The symbols of a form."""
    if isinstance(thing, Node):
        return symbols(thing)
    parts = (
        thing
        if isinstance(thing, tuple)
        else [getattr(thing, f.name) for f in fields(thing)]
        if is_dataclass(thing)
        else []
    )
    return frozenset(n for p in parts for n in names_in(p))


def _renamed(thing: Any, names: dict[str, str]) -> Any:
    if isinstance(thing, Node):
        return rename(thing, names)
    if isinstance(thing, tuple):
        return tuple(_renamed(x, names) for x in thing)
    if is_dataclass(thing) and names_in(thing):
        return replace(
            thing, **{f.name: _renamed(getattr(thing, f.name), names) for f in fields(thing)}
        )  # type: ignore[type-var]
    return thing
