"""When two texts say the same."""

from __future__ import annotations

import re

from sage_bench.grading.robust.text.words import number_word, plain

_PARITY = re.compile(
    r"(?:(?:any|all|every|each|an?|the|positive|must|be|is|are|n|numbers?|integers?|naturals?"
    r"|of [a-z]+|only|for|values?|whole)\s+)*\b(odd|even)\b"
    r"(?:\s+(?:numbers?|integers?|naturals?|n|values?|of [a-z]+|only|ones?|positive))*"
)
_NOUNS = {"function", "triangle", "quadrilateral", "sequence", "series", "number", "matrix"}
_LEAD = re.compile(r"^(?:(?:so|thus|hence|therefore) )?(?:final |correct )?answer is ")
_POINTER = re.compile(r"^(?:(?:(?:it|this|that) )?(?:is|was) )?(?:(?:on|in|at) (?=\w+$))?")


def same_words(gold: str, answer: str) -> bool:
    """Equal up to case, articles and punctuation, plural and parity phrases; never by resemblance.

    >>> same_words("Evelyn", "evelyn."), same_words("Any odd number of participants", "odd")
    (True, True)
    >>> same_words("odd", "oddd"), same_words("line segments", "line segment")
    (False, True)
    """
    a, b = _core(gold), _core(answer)
    if a == b:
        return bool(a) or gold == answer
    if (p := _PARITY.fullmatch(a)) and (q := _PARITY.fullmatch(b)):
        return p[1] == q[1]
    if (n := number_word(gold)) is not None:
        return b == str(n) or number_word(answer) == n
    if a.replace(" ", "") == b.replace(" ", "") or _with_its_noun(a, b):
        return True
    return [_stem(w) for w in a.split()] == [_stem(w) for w in b.split()]


def _with_its_noun(a: str, b: str) -> bool:
    """ "Isosceles" and "isosceles triangle": one side names what its adjective is about."""
    shorter, longer = sorted((a, b), key=len)
    rest = longer.removeprefix(shorter + " ")
    return bool(shorter) and rest != longer and rest in _NOUNS


def _core(text: str) -> str:
    """The text without what only leads to the answer."""
    core = _POINTER.sub("", _LEAD.sub("", plain(text)))
    return core.removesuffix(" condition")


def _stem(word: str) -> str:
    """The word without the ending of a plural."""
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss")
    return word[:-1] if is_plural else word
