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
    r"\\\[(.+?)\\\]|\$\$(.+?)\$\$|\\\((.+?)\\\)"
    r"|(?<![\\$])\$((?![\d.,]+[.,;]?\s)(?:(?!\s[a-z]{2,}\s)[^$])+?)\$|\*\*([^*\n]+)\*\*",
    re.S,
)
_NUMBER = r"-?\\?\$?-?\d[\d,]*(?:\.\d+)?(?:/\d+)?\\?%?"
_CONCLUSION = re.compile(
    r"\b(?:therefore|thus|hence|so|conclusion|in total|finally"
    r"|the (?:final )?(?:answer|solutions?|values?|result) (?:is|are))\b",
    re.I,
)
_FINISHED = re.compile(r"[.!?$)\]}*>\d]\s*$")
_SOLVED = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([a-z]\))?\s*=")  # a name on the left
_GLUE = re.compile(r"\s*,?\s*(?:and|or)?\s*")
_CLOSING_NUMBER = re.compile(
    r"\b(?:is|are|be|equals?|of)\s*:?\s*(?:about |approximately |only |exactly )?"
    rf"({_NUMBER})(?:\s+[a-z]+){{0,4}}[.!]?\s*$"
)
_COUNTED = re.compile(
    r"(?:Therefore|Thus|Hence|So),?\s+(?:there (?:are|is) |it takes |we have |we need )?"
    rf"({_NUMBER})\s+[a-z]+"
)
_AFTER_VERB = re.compile(
    r"\b(?:is|are|has|have|be|equals?|=|takes|needs?|were|was|received|total of)\s+"
    rf"(?:about |approximately |only |exactly )?({_NUMBER})"
)
_LAST_EQUATION = re.compile(rf"=\s*({_NUMBER})[^=\d]*$")
_LEADING = re.compile(r"\b(?:is|are|be)\b[^.]{0,25}$")


def stated_answer(text: str) -> str | None:
    r"""The stated answer, or None.

    A text that breaks off in mid-sentence states one only with a mark (`####`, "The answer is").

    >>> stated_answer("Step 3: #### 60"), stated_answer("Final Answer: $\\frac{1}{2}$.")
    ('60', '\\frac{1}{2}')
    >>> stated_answer("Therefore, there are 12 apples in 3 boxes.")
    '12'
    >>> stated_answer("so $5x=30$ and $x=6$."), stated_answer("and then we have 3 + 4 which")
    ('x=6', None)
    >>> stated_answer("Hence the roots are \\(x = 5\\) and \\(x = -2\\).")
    'x = 5, x = -2'
    """
    text = text.rsplit("</think>", 1)[-1].strip()
    for mark in _MARKS:
        found = mark.findall(text)
        if found and (answer := _marked(found[-1])):
            return answer
    if not _FINISHED.search(text):
        return None
    sentences = _sentences(text)
    closing = [s for s in sentences[-4:] if _CONCLUSION.search(s)] or sentences[-1:]
    return concluded(closing[-1]) if closing else None


def _marked(said: str) -> str | None:
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
    """The value a sentence comes to.

    What "is" leads to at its end, its last formulas, or the number it counts.
    """
    found = list(_MATHS.finditer(sentence))
    bare = sentence
    for m in found:  # numbers are looked for outside the formulas
        bare = bare[: m.start()] + "\0" * (m.end() - m.start()) + bare[m.end() :]
    if number := _CLOSING_NUMBER.search(bare) or _COUNTED.match(bare):
        return number[1].rstrip(",")
    if found:
        return _last_formulas(sentence, found)
    best = _LAST_EQUATION.search(sentence) or _AFTER_VERB.search(sentence)
    if best:
        return best[1].rstrip(",")
    numbers = re.findall(rf"(?<![\w.]){_NUMBER}", sentence)
    return numbers[-1].rstrip(",") if numbers else None


def _last_formulas(sentence: str, found: list[re.Match[str]]) -> str:
    """The formulas a sentence ends with, or those that "is" leads to."""
    last = len(found) - 1
    leading = [i for i, m in enumerate(found) if _LEADING.search(sentence[: m.start()])]
    just_before = sentence[found[-1].start() - 8 : found[-1].start()]
    if leading and not re.search(r"\b(?:is|are)\b", just_before):
        last = leading[-1]
    first = last
    while last + 1 < len(found) and _are_glued(sentence, found[last], found[last + 1]):
        last += 1
    while first and _are_glued(sentence, found[first - 1], found[first]):
        first -= 1
    group = [_content(m) for m in found[first : last + 1]]
    if _SOLVED.match(group[-1]):  # "so 5x = 30 and x = 6" comes to x = 6
        group = [formula for formula in group if _SOLVED.match(formula)]
    if len(group) > 1:
        return ", ".join(group)
    sides = re.split(r"(?<![<>!\\])=", group[0])
    is_name_and_value = len(sides) < 3 and not re.search(r"\\text|\d.*=", group[0])
    return group[0] if is_name_and_value else sides[-1].strip()


def _are_glued(sentence: str, one: re.Match[str], two: re.Match[str]) -> bool:
    return bool(_GLUE.fullmatch(sentence[one.end() : two.start()]))


def _content(m: re.Match[str]) -> str:
    """What stands between the delimiters of a formula."""
    inner = next(g for g in m.groups() if g is not None)
    return inner.strip().rstrip(".")
