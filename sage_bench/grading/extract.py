"""Find the answer in a completion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BRACE, _ANY_BRACE = re.compile(r"\\.|[{}]", re.S), re.compile(r"[{}]")
_BARE_BOX = re.compile(r"\\boxed(?![A-Za-z{])\s*(?!\{)")
# what a box without braces holds: all up to the end of the formula, or else a number, a command
# with its arguments or one letter
_TO_THE_END = re.compile(r"([^$\n{}]{1,60}?|\\?[^$\n]{1,60}?)\s*(?:\$|\\\)|\\\])")
_ONE_THING = re.compile(
    r"-?(?:\d[\d,]*(?:\.\d+)?(?:/\d+)?|\\[A-Za-z]+(?:\s*\{[^{}]*\}|\d)*|[A-Za-z](?![A-Za-z]))"
)
_GLUE = 120  # characters of prose between two boxes that still belong to one answer
_REVISION = re.compile(
    r"\b(wait|no|not|actually|but|instead|correct(?:ion|ed)?|mistake|however|rather|check|recheck)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """Where an answer was found.

    status: boxed; boxed_joined (several boxes of the closing sentence); none (no finished box);
    truncated (thinking was opened and never closed, so whatever stands in it was not given as an
    answer). span: (start, end) of the answer in the text.
    """

    answer: str | None
    status: Literal["boxed", "boxed_joined", "none", "truncated"]
    span: tuple[int, int] | None = None


def extract(text: str, *, several: bool = False) -> Extraction:
    r"""The last finished box after the thinking.

    several: all boxes of the closing sentence, joined by commas.

    >>> extract(r"<think>\boxed{3}</think> so \boxed{4}").answer
    '4'
    >>> extract(r"<think> maybe \boxed{3}").status
    'truncated'
    >>> extract(r"roots \boxed{3} and \boxed{4}", several=True)
    Extraction(answer='3, 4', status='boxed_joined', span=(13, 28))
    >>> extract(r"\boxed{3}, wait: \boxed{4}", several=True).answer
    '4'
    """
    begin = text.rfind("</think>") + len("</think>") if "</think>" in text else 0
    if text.find("<think>", begin) >= 0:
        return Extraction(None, "truncated")
    found = boxes(text, begin)
    if not found:
        return Extraction(None, "none")
    group = [found[-1]]
    if several:
        for box in reversed(found[:-1]):
            if not _is_glue(text[box[1] : group[0][0]]):
                break
            group.insert(0, box)
    if len(group) == 1:
        start, end = group[0]
        return Extraction(text[start:end].strip(), "boxed", (start, end))
    joined = ", ".join(text[start:end].strip() for start, end in group)
    return Extraction(joined, "boxed_joined", (group[0][0], group[-1][1]))


def _is_glue(between: str) -> bool:
    """Does what stands between two boxes keep them one answer?"""
    if len(between) > _GLUE or "\n\n" in between.strip("$ \n\\][)("):
        return False
    return not _REVISION.search(between) and not re.search(r"[.!?]\s", between)


def boxes(text: str, begin: int = 0) -> list[tuple[int, int]]:
    r"""(start, end) of the contents of all finished outermost boxes from `begin` on.

    >>> text = r"\boxed{a}\fbox{\boxed{b}}\boxed{c"
    >>> [text[start:end] for start, end in boxes(text)]
    ['a', '\\boxed{b}']
    """
    out: list[tuple[int, int]] = []
    ends = closings(text)
    for m in _BOX.finditer(text, begin):
        if out and m.start() < out[-1][1]:
            continue  # inside the box before
        end = ends.get(m.end())
        if end is not None:
            out.append((m.end() + 1, end))
    bare = [box for box in _bare_boxes(text, begin) if not _is_inside(box, out)]
    return sorted(out + bare) if bare else out


def _bare_boxes(text: str, begin: int) -> list[tuple[int, int]]:
    r"""(start, end) of what boxes without braces hold: `\boxed 7`, `$\boxed\pi$`.

    >>> [r"$\boxed 7$, \boxed x."[s:e] for s, e in _bare_boxes(r"$\boxed 7$, \boxed x.", 0)]
    ['7', 'x']
    """
    out = []
    for m in _BARE_BOX.finditer(text, begin):
        formula = _TO_THE_END.match(text, m.end()) if _opens_formula(text, m.start()) else None
        found = formula or _ONE_THING.match(text, m.end())
        if found:
            held = found[1] if formula else found[0]
            out.append((m.end(), m.end() + len(held)))
    return out


def _opens_formula(text: str, at: int) -> bool:
    """Does a formula begin right before this place?"""
    before = text[max(0, at - 80) : at].split("\n")[-1]
    return before.count("$") % 2 == 1 or before.rstrip().endswith(("$$", "\\(", "\\["))


def _is_inside(box: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(start <= box[0] <= end for start, end in others)


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{...}` (or `\fbox`) whose braces balance, or None.

    The innermost where boxes are nested.
    An unfinished box at the end (a truncated completion) does not hide a finished one before it.
    Escaped braces do not count.

    >>> last_boxed(r"first \boxed{3}, no: \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> last_boxed(r"\boxed{7} and then \boxed{8") , last_boxed("7")
    ('7', None)
    """
    ends = closings(text)
    for start in reversed([m.end() for m in _BOX.finditer(text)]):
        if start in ends:
            return text[start + 1 : ends[start]].strip()
    return None


def given_answer(text: str) -> str | None:
    r"""`last_boxed` of what was said after the thinking; None where thinking never ended.

    >>> given_answer(r"<think>\boxed{3}</think> \boxed{4}"), given_answer(r"\boxed{x = \boxed{5}}")
    ('4', '5')
    >>> given_answer(r"<think>\boxed{3}")
    """
    begin = text.rfind("</think>") + len("</think>") if "</think>" in text else 0
    return None if text.find("<think>", begin) >= 0 else last_boxed(text[begin:])


def closing_brace(text: str, start: int) -> int | None:
    r"""Index of the brace that closes the one at `start`, or None.

    `\{` and `\}` are set braces, not delimiters.
    """
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


def closings(text: str, *, escapes: bool = True) -> dict[int, int]:
    r"""Where each brace closes, in one pass.

    Models repeat `\boxed{` thousands of times without ever closing it. escapes: `\{` is
    not a brace.

    >>> closings("a{b{c}}"), closings(r"{\}"), closings(r"{\}", escapes=False)
    ({3: 5, 1: 6}, {}, {0: 2})
    """
    out, open_at = {}, []
    for m in (_BRACE if escapes else _ANY_BRACE).finditer(text):
        if m[0] == "{":
            open_at.append(m.start())
        elif m[0] == "}" and open_at:
            out[open_at.pop()] = m.start()
    return out
