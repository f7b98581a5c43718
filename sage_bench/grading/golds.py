"""What is wrong with a gold however it is compared."""

from __future__ import annotations

from sage_bench.grading.extract import closing_brace


def written_error(gold: str) -> str | None:
    r"""Why a gold cannot be an answer, or None.

    >>> written_error("?!"), written_error(r"\frac{1}{2"), written_error("x")
    ('the answer is empty', "the answer's braces do not balance", None)
    """
    if not any(c.isalnum() for c in gold):
        return "the answer is empty"
    box = "\\boxed{" + gold + "}"
    if closing_brace(box, len("\\boxed")) != len(box) - 1:
        return "the answer's braces do not balance"
    return None
