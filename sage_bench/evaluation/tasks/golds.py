"""Golds: one spelling for each form, and the listed corrections of those known to be wrong.

The corrections are a table (`gold_corrections.jsonl`), one row a question: what was wrong, what
stands there now, who says so. Nothing else changes a gold. A correction applies only where the data
really have the wrong gold it names, so that a repaired dataset, or another edition, is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from sage_bench.data.question_key import question_key

_SCIENTIFIC = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d+)")
_INTEGER = re.compile(r"[-+]?\d+")

Action = Literal["correct", "exclude", "none"]


def integer(gold: str) -> str:
    r"""An integer in plain digits. Raises `ValueError` when it is none.

    >>> [integer(g) for g in ("033", "27.0", "$1,008$", r"336^\circ", "-4")]
    ['33', '27', '1008', '336', '-4']
    """
    text = re.sub(r"\^\{?\\circ\}?|°|\\[,!]|[\s$]", "", gold)
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\.0*$", "", text)
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"the gold `{gold}` is no integer")
    return str(int(text))


def latex(gold: str) -> str:
    r"""LaTeX without its dollar signs; a list of formulas keeps its commas.

    >>> latex(r"$\frac{79}{128}$"), latex("$69$,$84$"), latex(r"\$32,\!348")
    ('\\frac{79}{128}', '69, 84', '\\$32,\\!348')
    """
    return re.sub(r"(?<!\\)\$", "", re.sub(r"(?<!\\)\$\s*,\s*\$", ", ", gold)).strip()


def number(gold: str) -> str:
    r"""LaTeX, or a number as a program prints it: math-verify reads `4.5e33` as 4.5 times Euler's
    number times 33.

    >>> number("4.5e33"), number("1e-8"), number("-1./3"), number(r"\frac{1}{s+a}")
    ('4.5 \\times 10^{33}', '1 \\times 10^{-8}', '-1/3', '\\frac{1}{s+a}')
    """
    text = latex(gold)
    if m := _SCIENTIFIC.fullmatch(text):
        return f"{m[1].rstrip('.')} \\times 10^{{{int(m[2])}}}"
    return re.sub(r"(?<=\d)\.(?=/)", "", text)


def letter(gold: str) -> str:
    """The letter of an option. Raises `ValueError` when it is none.

    >>> letter(" (c) ")
    'C'
    """
    m = re.fullmatch(r"\s*\(?([A-Za-z])\)?\.?\s*", gold)
    if not m:
        raise ValueError(f"the gold `{gold}` is no letter of an option")
    return m[1].upper()


FORMS: Mapping[str, Callable[[str], str]] = {
    "integer": integer,
    "latex": latex,
    "number": number,
    "letter": letter,
}


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of the table. was: wrong golds it replaces (empty: whatever stands there). gold: what
    takes their place; empty for an exclusion. action `none` records a doubt that changes
    nothing."""

    benchmark: str
    uids: tuple[str, ...]
    question: str | None
    action: Action
    was: tuple[str, ...]
    gold: str | None
    why: str
    source: str


@cache
def corrections() -> tuple[Correction, ...]:
    """The whole table, in file order."""
    text = (files("sage_bench.evaluation.tasks") / "gold_corrections.jsonl").read_text(
        encoding="utf-8"
    )
    rows = (json.loads(line) for line in text.splitlines() if line.strip())
    return tuple(
        Correction(**{**r, "uids": tuple(r["uids"]), "was": tuple(r["was"])}) for r in rows
    )


def correction_of(benchmark: str, uid: str, question: str, gold: str) -> Correction | None:
    """The correction that applies to this question with this gold, or None.

    A question is found by its text, or by the id its source gives it (only together with one of the
    wrong golds).

    >>> question = "What is the sum of the digits of ..."
    >>> correction_of("olympiadbench", "2275", question, "1002001").gold
    '4'
    >>> correction_of("olympiadbench", "2275", question, "4") is None
    True
    """
    key = question_key(question)
    for c in corrections():
        if c.benchmark != benchmark or c.action == "none":
            continue
        wrong = _bare(gold) in {_bare(w) for w in c.was}
        if (c.question == key and (wrong or not c.was)) or (uid in c.uids and wrong):
            return c
    return None


def _bare(gold: str) -> str:
    return re.sub(r"[\s$]", "", gold)
