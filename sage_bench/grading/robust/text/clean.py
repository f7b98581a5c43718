r"""One spelling for an answer.

Typesetting, synonyms and Unicode are gone, words stand in «guillemets». What has a meaning stays:
brackets, commas, decimals, units, powers. Every rule is about notation, none about one answer; the
rules and an example of each are the table in `rules`.
"""

from __future__ import annotations

from sage_bench.grading.extract import last_boxed
from sage_bench.grading.robust.text.rules import RULES

LONGEST = 4000  # characters; no answer is longer


def clean(text: str) -> str:
    r"""The canonical spelling.

    >>> clean(r"$\dfrac{1}{2}$."), clean(r"\left( -\sqrt3,\ 2 \right]"), clean("x ≥ 3")
    ('\\frac{1}{2}', '( -\\sqrt 3, 2 ]', 'x \\ge 3')
    >>> clean(r"1{,}234"), clean(r"12\,345"), clean("11,\\! 111"), clean("½")
    ('1234', '12345', '11111', '\\frac{1}{2}')
    >>> clean(r"3 \text{ cm}^2"), clean(r"90^{\circ}"), clean("\text{odd}")
    ('3 «cm» ^2', '90^\\circ', '«odd»')
    """
    text = text[:LONGEST]
    if "\\boxed" in text or "\\fbox" in text:
        text = last_boxed(text) or text
    for rule in RULES:
        text = rule.apply(text)
    return text
