"""The ways to read an answer."""

from __future__ import annotations

import math
import re

from sage_bench.grading.robust.read.forms import Clock, Reading
from sage_bench.grading.robust.read.nodes import Unreadable
from sage_bench.grading.robust.read.reader import Reader
from sage_bench.grading.robust.text.clean import clean
from sage_bench.grading.robust.text.tokens import tokenize
from sage_bench.grading.robust.text.words import several_options

_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*(?:«?\s*([ap])\.?\s*m\.?\s*»?)?", re.I)
_NOON = re.compile(r"(?:12(?::00)?\s*«?\s*)?(noon|midnight)", re.I)
_CHOICE = re.compile(r"\(([A-J])\)\s+(\S.*)|([A-J])\s*[.):]\s+(\S.*)", re.S)


def read(text: str) -> list[Reading]:
    r"""The readings of an answer, the likeliest first; empty when it is empty.

    Raises `Unreadable` when there is none.

    >>> read("(1, 2]")[0].form.closing, type(read("x = 3")[0].form).__name__, len(read("1,234"))
    (']', 'Named', 2)
    """
    cleaned = clean(text)
    if not cleaned:
        return []
    clock = _clock(cleaned)
    out = [Reading(clock)] if clock else []
    grouped = re.search(r"\d,[1-9]\d\d", cleaned)
    ways = [(Reader(), tokenize(cleaned))]
    if grouped:  # 1,234 may be a list
        ways.append((Reader(), tokenize(cleaned, thousands=False)))
    problem: Unreadable | None = None
    for reader, tokens in ways:
        try:
            out.append(reader.read(tokens))
        except Unreadable as error:
            problem = error
    more = []
    if cleaned.count("=") > 1 and out:
        more.append((Reader(chained=True), cleaned))
    if (choice := _CHOICE.fullmatch(cleaned)) and not several_options(cleaned):
        more.append((Reader(), choice[2] or choice[4]))
    for reader, part in more:
        try:
            out.append(reader.read(tokenize(part)))
        except Unreadable as error:
            problem = error
    if "\\approx" in cleaned and not cleaned.startswith("\\approx"):
        out += read(cleaned.rsplit("\\approx", 1)[1])  # "exact ≈ decimal": either is the answer
    if not out and problem:
        raise problem
    return out


def _clock(cleaned: str) -> Clock | None:
    """A time of day: `4:30`, `8 am`, "noon"."""
    if noon := _NOON.fullmatch(cleaned.strip("«» ")):
        cleaned = "12 pm" if noon[1].lower() == "noon" else "12 am"
    m = _CLOCK.fullmatch(cleaned.strip("«» "))
    if not m or not (m[2] or m[4]):
        return None
    hours, minutes, seconds = (int(part or 0) for part in m.group(1, 2, 3))
    if minutes >= 60 or hours >= 25:
        return None
    half = m[4] and m[4].lower() + "m"
    certain = bool(half) or math.gcd(hours, minutes) > 1 or minutes == 0
    return Clock(hours * 3600 + minutes * 60 + seconds, half, certain)
