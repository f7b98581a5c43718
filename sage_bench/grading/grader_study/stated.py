"""The answer of a text that has no box: what it states as its answer, else what its closing
sentence comes to.

Only for measuring graders on recorded outputs of models that were not asked to box. Evaluation
never guesses.
"""

from __future__ import annotations

import re

_MARKS = (  # strongest first; the last occurrence of the strongest mark present counts
    re.compile(r"####\s*(.+)"),
    re.compile(r"(?:^|\n)\s*#+\s*(?:Final\s+)?Answer\s*\n+\s*(?:\\\[|\$\$)?\s*(.+)", re.I),
    re.compile(
        r"(?:final answer|answer)\s*(?:is|:|=)+\s*(?:\*\*)?\s*:?\s*(.+?)(?:\.?\s*I hope it is"
        r" correct.*|$)",
        re.I | re.M,
    ),
    re.compile(r"(?:^|\n)\s*A:\s*(.+)"),
)
_MATHS = re.compile(
    r"\\\[(.+?)\\\]|\$\$(.+?)\$\$|\\\((.+?)\\\)|(?<![\\$])\$((?![\d.,]+[.,;]?\s)(?:(?!\s[a-z]{2,}\s)[^$])+?)\$|\*\*([^*\n]+)\*\*",
    re.S,
)
_NUMBER = r"-?\\?\$?-?\d[\d,]*(?:\.\d+)?(?:/\d+)?\\?%?"
_CONCLUSION = re.compile(
    r"\b(?:therefore|thus|hence|so|conclusion|in total|finally|the (?:final"
    r" )?(?:answer|solutions?|values?|result) (?:is|are))\b",
    re.I,
)
_FINISHED = re.compile(r"[.!?$)\]}*>\d]\s*$")
_SOLVED = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?\s*=")  # a name on the left
_GLUE = re.compile(r"\s*,?\s*(?:and|or)?\s*")


def stated_answer(text: str) -> str | None:
    r"""The stated answer, or None. A text that breaks off in mid-sentence states one only with a
    mark (`####`, "The answer is").

    >>> stated_answer("Step 3: #### 60"), stated_answer("Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.")
    ('60', '\\frac{1}{2}')
    >>> stated_answer("Therefore, there are 12 apples in 3 boxes."), stated_answer("Therefore, the GCF is \\(4 \\times 9 = 36\\).")
    ('12', '36')
    >>> stated_answer("so $5x=30$ and $x=6$.")
    'x=6'
    >>> stated_answer("Hence the roots are \\(x = 5\\) and \\(x = -2\\)."), stated_answer("and then we have 3 + 4 which")
    ('x = 5, x = -2', None)
    """
    text = text.rsplit("</think>", 1)[-1].strip()
    for mark in _MARKS:
        found = mark.findall(text)
        if found and (answer := _said(found[-1])):
            return answer
    if not _FINISHED.search(text):
        return None
    sentences = _sentences(text)
    closing = [s for s in sentences[-4:] if _CONCLUSION.search(s)] or sentences[-1:]
    return concluded(closing[-1]) if closing else None


def _said(said: str) -> str | None:
    """What follows a mark: its formulas if it starts with one, a short text as it is, the
    conclusion of a sentence."""
    said = said.strip().strip("*").strip()
    if _MATHS.match(said):
        return concluded(said)
    said = re.split(r"(?<=[^\d\s])\.\s|\.\s*$|\n", said, maxsplit=1)[0].strip().rstrip(".*")
    if len(said.split()) > 4 and re.search(r"\d|\\", said):
        return concluded(said)
    return said or None


def _sentences(text: str) -> list[str]:
    """The sentences of the last paragraphs that hold a number or a formula."""
    whole = re.sub(r"\s*\n\s*", " ", re.sub(r"\n\s*\n(?=[A-Z*#])", " \n ", text))
    parts = [
        s.strip()
        for line in whole.split("\n")
        for s in re.split(r"(?<=[a-z)\]$*%\d])[.!]\s+(?=[A-Z*\\])|(?<=\\\])\s+(?=[A-Z])", line)
    ]
    return [s for s in parts if re.search(r"\d|\\", s)]


def concluded(sentence: str) -> str | None:
    """The value a sentence comes to: what "is" leads to at its end, its last formulas, or the
    number it counts."""
    found = list(_MATHS.finditer(sentence))
    bare = sentence
    for m in found:  # numbers are looked for outside the formulas
        bare = bare[: m.start()] + "\0" * (m.end() - m.start()) + bare[m.end() :]
    end = re.search(
        r"\b(?:is|are|be|equals?|of)\s*:?\s*(?:about |approximately |only |exactly"
        rf" )?({_NUMBER})(?:\s+[a-z]+){{0,4}}[.!]?\s*$",
        bare,
    )
    counted = re.match(
        r"(?:Therefore|Thus|Hence|So),?\s+(?:there (?:are|is) |it takes |we have |we need"
        rf" )?({_NUMBER})\s+[a-z]+",
        bare,
    )
    if end or counted:
        return (end or counted)[1].rstrip(",")  # type: ignore[index]
    if found:
        leading = [
            m for m in found if re.search(r"\b(?:is|are|be)\b[^.]{0,25}$", sentence[: m.start()])
        ]
        last = (
            len(found) - 1
            if not leading
            or re.search(r"\b(?:is|are)\b", sentence[found[-1].start() - 8 : found[-1].start()])
            else found.index(leading[-1])
        )
        group = [found[last]]
        while last + 1 < len(found) and _GLUE.fullmatch(
            sentence[found[last].end() : found[last + 1].start()]
        ):
            last += 1
            group.append(found[last])
        first = found.index(group[0])
        while first and _GLUE.fullmatch(sentence[found[first - 1].end() : found[first].start()]):
            first -= 1
            group.insert(0, found[first])
        said = [next(g for g in m.groups() if g is not None).strip().rstrip(".") for m in group]
        if _SOLVED.match(said[-1]):  # "so 5x = 30 and x = 6" comes to x = 6
            said = [s for s in said if _SOLVED.match(s)]
        sides = re.split(r"(?<![<>!\\])=", said[0])
        return (
            ", ".join(said)
            if len(said) > 1 or (len(sides) < 3 and not re.search(r"\\text|\d.*=", said[0]))
            else sides[-1].strip()
        )
    numbers = re.findall(rf"(?<![\w.]){_NUMBER}", sentence)
    after = re.search(
        r"\b(?:is|are|has|have|be|equals?|=|takes|needs?|were|was|received|total of)\s+(?:about"
        rf" |approximately |only |exactly )?({_NUMBER})",
        sentence,
    )
    tail = re.search(rf"=\s*({_NUMBER})[^=\d]*$", sentence)
    best = tail or after
    return best[1].rstrip(",") if best else numbers[-1].rstrip(",") if numbers else None
