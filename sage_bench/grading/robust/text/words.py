"""Answers in words: fillers, number words, dates, names of sets, options."""

from __future__ import annotations

import re
from fractions import Fraction

_REALS = re.compile(
    r"(?:all |every |any |the )?(?:"
    r"(non)?(positive|negative) reals?(?: numbers?| values?)?"
    r"|reals? (?:numbers? |values? )?(?:that are |which are )?(non)?(positive|negative))"
)
_FILLERS = re.compile(
    r"(?:(?:so|therefore|thus|hence|and|then|only|exactly|about|approximately|roughly|around|nearly"
    r"|the|final|correct|answer|value|result|solution|solutions|total|number|sum|is|are|of|there"
    r"|equals|equal|to|yes|it|we|have|get|at|a|an|all|in|day|namely)\s*)+",
    re.I,
)
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
).split()
_SINGLE_WORDS = {
    **{word: n for n, word in enumerate(_SMALL)},
    **{word: 20 + 10 * n for n, word in enumerate(_TENS)},
    **{word: 1 + n for n, word in enumerate(_ORDINALS)},
}
_PARTS = {"half": 2, "halve": 2, "quarter": 4}
_PARTS |= {word: n + 1 for n, word in enumerate(_ORDINALS) if n > 1}
_ROUND = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6}
_THOUSANDS = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_MONTHS = (
    "january february march april may june july august september october november december"
).split()
_NOT_COUNTED = set(
    "more less fewer than to by of out or and point over plus minus times not no".split()
) | {*_SMALL, *_TENS, *_ORDINALS, *_ROUND, *_THOUSANDS}
_ARTICLES = re.compile(r"\b(?:the|a|an)\b")
_OPTION = re.compile(r"\s*\(?\s*[A-J]\s*[).:]?\s*(.*)", re.S)
_NEXT_OPTION = re.compile(r"(?:,|;|&|or\b|and\b)?\s*(?:\([A-J]\)|[A-J](?![A-Za-z]))")
_LATER_OPTION = re.compile(r"(?:,|;|\bor|\band)\s*(?:\(\s*[A-J]\s*\)|[A-J]\s*[.:)]\s)")


def is_filler(phrase: str) -> bool:
    """Words before an answer that say nothing about it ("The answer is").

    >>> is_filler("the answer is"), is_filler("Sequence")
    (True, False)
    """
    phrase = phrase.strip()
    return bool(_FILLERS.fullmatch(phrase + " ") or _FILLERS.fullmatch(phrase))


def plain(text: str) -> str:
    """Letters and digits in lower case, without articles and punctuation.

    >>> plain("The  Line-Segment, AB.")
    'line segment ab'
    """
    text = re.sub(r"\\(?:text|mathrm)?|[{}«»]", " ", text).casefold()
    return " ".join(_ARTICLES.sub(" ", re.sub(r"[^\w%$<>=+*/^\s]|_", " ", text)).split())


def several_options(text: str) -> bool:
    """Does this name more than one option: `(B) or (C)`, `(B) 3, (C) 4`?

    >>> several_options("(B) or (C)"), several_options("(B) 3 or (C) 4")
    (True, True)
    >>> several_options("(D) both (A) and (B)"), several_options("(C) 3 or 4")
    (False, False)
    """
    m = _OPTION.match(re.sub(r"[«»]", " ", text))
    rest = m[1] if m else ""
    if _NEXT_OPTION.match(rest) or re.match(r"(?:or|and)\b", rest):
        return True
    about_others = re.match(r"both|all|none|either|neither", rest, re.I)
    return bool(_LATER_OPTION.search(rest)) and not about_others


def number_word(text: str) -> int | None:
    """The whole number some words name.

    >>> number_word("Twelve"), number_word("forty-two"), number_word("many")
    (12, 42, None)
    >>> number_word("one million"), number_word("two hundred and five thousand")
    (1000000, 205000)
    >>> number_word("a dozen"), number_word("fifteen hundred")
    (12, 1500)
    """
    words = plain(text).split()
    if len(words) == 1:
        return _SINGLE_WORDS.get(words[0], _ROUND.get(words[0]))
    return _counted(words) if 1 < len(words) < 12 else None


def fraction_word(text: str) -> Fraction | None:
    """The fraction some words name.

    >>> fraction_word("two-thirds"), fraction_word("one half")
    (Fraction(2, 3), Fraction(1, 2))
    >>> fraction_word("a half"), fraction_word("third"), fraction_word("two and a half")
    (Fraction(1, 2), None, None)
    """
    if plain(text) in {"half", "quarter"}:
        return Fraction(1, _PARTS[plain(text)])
    top, _, part = plain(text).rpartition(" ")
    part = part.removesuffix("s")
    count = number_word(top) if top else None
    return Fraction(count, _PARTS[part]) if count and part in _PARTS else None


def counted_things(text: str) -> tuple[int, str] | None:
    """A number in words and what it counts, one or two words; None for anything else.

    >>> counted_things("twenty-one ways"), counted_things("fifty percent")
    ((21, 'ways'), (50, 'percent'))
    >>> [counted_things(text) for text in ("twelfth place", "one half of it", "one more")]
    [None, None, None]
    """
    words = plain(text).split()
    for size in (1, 2):
        head, things = words[:-size], words[-size:]
        if not head or head[0] in _ORDINALS or things[0].removesuffix("s") in _PARTS:
            continue
        n = number_word(" ".join(head))
        if n is not None and not _NOT_COUNTED & set(things):
            return n, " ".join(things)
    return None


def _counted(words: list[str]) -> int | None:
    """The number of a phrase like "two hundred and five thousand"."""
    total, part = 0, 0
    last = 0  # the value of the word before, so that "two three" is not a number
    for word in words:
        if word == "and" and last >= 100:
            continue
        if word in _SMALL[1:] and _may_follow(last, _SMALL.index(word)):
            last = _SMALL.index(word)
            part += last
        elif word in _TENS and (not last or last >= 100):
            last = 20 + 10 * _TENS.index(word)
            part += last
        elif word == "hundred" and (0 < part < 10 or (not total and 10 < part < 100)):
            part, last = 100 * part, 100
        elif word in _THOUSANDS and part and not (total and total < 1000 * _THOUSANDS[word]):
            total, part, last = total + part * _THOUSANDS[word], 0, 1000
        else:
            return None
    return total + part if last else None


def _may_follow(last: int, small: int) -> bool:
    """May a number below twenty follow a word of this value: `forty` and `two`?"""
    return not last or last >= 100 or (20 <= last < 100 and small < 10)


def half_line(text: str) -> str | None:
    """The half of the real line that words name, as an interval; None for anything else.

    >>> half_line("all non-positive real numbers"), half_line("positive reals")
    ('(-\\\\infty, 0]', '(0, \\\\infty)')
    """
    joined = re.sub(r"\bnon[- ]", "non", plain(text.replace("-", "")))
    m = _REALS.fullmatch(" ".join(joined.split()))
    if not m:
        return None
    closed, sign = bool(m[1] or m[3]), m[2] or m[4]
    upward = (sign == "positive") != closed
    if upward:
        return ("[" if closed else "(") + "0, \\infty)"
    return "(-\\infty, 0" + ("]" if closed else ")")


def date(text: str) -> tuple[int, int, int | None] | None:
    """(month, day, year or None) of a date with the month in words.

    >>> date("July 4th"), date("4 July 2020"), date("July 4, 2020"), date("July")
    ((7, 4, None), (7, 4, 2020), (7, 4, 2020), None)
    """
    bare = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\b(?:of|on)\b", " ", plain(text)).strip()
    m = re.fullmatch(r"(?:([a-z]+) +(\d{1,2})|(\d{1,2}) +([a-z]+))(?: +(\d{4}))?", bare)
    if not m:
        return None
    named = m[1] or m[4]
    for month, name in enumerate(_MONTHS, 1):
        if named in {name, name[:3]}:
            return month, int(m[2] or m[3]), int(m[5]) if m[5] else None
    return None
