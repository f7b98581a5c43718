"""What neither reading understands is left to math-verify, except what it would never finish."""

from __future__ import annotations

import re

from sage_bench.grading.robust.text.clean import clean
from sage_bench.grading.worker import Reply
from sage_bench.grading.worker import equivalent as verify

# powers of powers, sums, limits: math-verify would work them out, and may never end
_COSTLY = re.compile(
    r"\\(?:sum|prod|int|lim)(?![a-z])|\^\s*\{?\s*\(?-?\d+\)?\s*\^|\^\s*\{?\s*-?\d{5,}|\d{5,}\s*!"
)
_STYLE = re.compile(r"\\(?:display|text)style(?![a-z])")


def by_math_verify(gold: str, answer: str) -> Reply:
    """math-verify's verdict; costly expressions are the same only as they are written."""
    if _COSTLY.search(answer) or _COSTLY.search(gold):
        one, two = (re.sub(r"[\s{}]", "", clean(t)) for t in (gold, answer))
        return {"correct": one == two, "status": "ok"}
    return verify(_prepared(gold), _prepared(answer))


def _prepared(text: str) -> str:
    text = _STYLE.sub(" ", text).strip()
    # a sentence keeps its full stop: math-verify looks for it
    return text if "$" in text else text.removesuffix(".")
