r"""Letters that stand for any number of a stated set: their names do not matter, their sets do."""

from __future__ import annotations

from dataclasses import replace

from sage_bench.grading.robust.read.forms import Reading
from sage_bench.grading.robust.read.nodes import names_in, renaming, substitute


def aligned(gold: Reading, answer: Reading) -> Reading | None:
    r"""The answer with its parameter called as in the gold: `t ∈ ℝ` in `(t, 2t)`, `s` in `(s, 2s)`.

    None where the two say different things of it (`k ∈ ℤ` and `k ∈ ℕ`).

    >>> from sage_bench.grading.robust.read.readings import read
    >>> def check(gold, answer):
    ...     found = aligned(read(gold)[0], read(answer)[0])
    ...     return found and found.form == read(gold)[0].form
    >>> R, Z = r"\in \mathbb{R}", r"\in \mathbb{Z}"
    >>> check(f"(t, 2t), t {R}", f"(s, 2s), s {R}"), check(f"(t, 2t), t {R}", "(s, 2s)")
    (True, True)
    >>> check(f"(t, 2t), t {R}", f"(s, 2s), s {Z}")
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
    return replace(answer, form=substitute(answer.form, renaming({other: name})))
