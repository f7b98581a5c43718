"""Answers in words: fillers, number words, comparisons put into a sentence, parity, and when two
texts say the same."""

from __future__ import annotations

import re
from fractions import Fraction

from sage_bench.grading.robust.read.forms import Relation, Whole, Words
from sage_bench.grading.robust.read.nodes import Node, number

_REALS = re.compile(
    r"(?:all |every |any |the )?(?:(non)?(positive|negative) reals?(?: numbers?| values?)?|reals?"
    r" (?:numbers? |values? )?(?:that are |which are )?(non)?(positive|negative))"
)
_WHOLES = re.compile(
    r"(?:all |every |any |the )?(?:set of )?(?:all )?(positive |non ?negative |negative"
    r" )?(?:integers?|(naturals?)(?: numbers?)?|(whole) numbers?)"
)
_FILLERS = re.compile(
    r"(?:(?:so|therefore|thus|hence|and|then|only|exactly|about|approximately|roughly|around|nearly|the|final|correct|answer|value|result|solution|solutions|total|number|sum|is|are|of|there|equals|"
    r"equal|to|yes|it|we|have|get|at|a|an|all|in|day|namely)\s*)+",
    re.I,
)
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen".split()
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
)
_THOUSANDS = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_MONTHS = (
    "january february march april may june july august september october november december".split()
)
_ARTICLES = re.compile(r"\b(?:the|a|an)\b")
_COMPARISONS = (  # worded relation, operator
    (
        (
            r"(?:is |are |must be |should be )?(?:strictly )?(?:less|smaller|fewer) than or equal"
            r" to|(?:is |are |must be )?(?:at most|no more than|not more than|not greater than)"
        ),
        "<=",
    ),
    (
        (
            r"(?:is |are |must be |should be )?(?:strictly )?(?:greater|more|larger|bigger) than or"
            r" equal to|(?:is |are |must be )?(?:at least|no less than|not less than)"
        ),
        ">=",
    ),
    (r"(?:is |are |must be |should be )?(?:strictly )?(?:less|smaller|fewer) than", "<"),
    (r"(?:is |are |must be |should be )?(?:strictly )?(?:greater|more|larger|bigger) than", ">"),
)
_SIGNS = (
    (r"(?:is|are) (?:always |strictly )?negative", "<"),
    (r"(?:is|are) (?:always |strictly )?positive", ">"),
    (r"(?:is|are) (?:always )?non-?negative", ">="),
    (r"(?:is|are) (?:always )?non-?positive", "<="),
)
_PARITY = re.compile(
    r"(?:(?:any|all|every|each|an?|the|positive|must|be|is|are|n|numbers?|integers?|naturals?|of"
    r" [a-z]+|only|for|values?|whole)\s+)*\b(odd|even)\b(?:\s+(?:numbers?|integers?|naturals?|n|values?|of"
    r" [a-z]+|only|ones?|positive))*"
)


def is_filler(phrase: str) -> bool:
    """Words before an answer that say nothing about it ("The answer is").

    >>> is_filler("the answer is"), is_filler("Sequence")
    (True, False)
    """
    return bool(_FILLERS.fullmatch(phrase.strip() + " ")) or bool(
        _FILLERS.fullmatch(phrase.strip())
    )


def plain(text: str) -> str:
    """Letters and digits in lower case, without articles and punctuation.

    >>> plain("The  Line-Segment, AB.")
    'line segment ab'
    """
    text = re.sub(r"\\(?:text|mathrm)?|[{}«»]", " ", text).casefold()
    return " ".join(_ARTICLES.sub(" ", re.sub(r"[^\w%$<>=+*/^\s]|_", " ", text)).split())


def several_options(text: str) -> bool:
    """Does this name more than one option: `(B) or (C)`, `(B) 3, (C) 4`?

    >>> several_options("(B) or (C)"), several_options("(B) 3 or (C) 4"), several_options("(D) both (A) and (B)"), several_options("(C) 3 or 4")
    (True, True, False, False)
    """
    m = re.match(r"\s*\(?\s*[A-J]\s*[).:]?\s*(.*)", re.sub(r"[«»]", " ", text), re.S)
    rest = m[1] if m else ""
    listed = re.match(r"(?:,|;|&|or\b|and\b)?\s*(?:\([A-J]\)|[A-J](?![A-Za-z]))", rest) or re.match(
        r"(?:or|and)\b", rest
    )
    return bool(
        listed
        or (
            re.search(r"(?:,|;|\bor|\band)\s*(?:\(\s*[A-J]\s*\)|[A-J]\s*[.:)]\s)", rest)
            and not re.match(r"both|all|none|either|neither", rest, re.I)
        )
    )


def number_word(text: str) -> int | None:
    """The whole number some words name.

    >>> number_word("Twelve"), number_word("forty-two"), number_word("many"), number_word("one million"), number_word("two hundred and five thousand")
    (12, 42, None, 1000000, 205000)
    """
    words = plain(text).split()
    if len(words) == 1:
        known = {
            **{w: n for n, w in enumerate(_SMALL)},
            **{w: 20 + 10 * n for n, w in enumerate(_TENS)},
            **{w: 1 + n for n, w in enumerate(_ORDINALS)},
        }
        return known.get(words[0])
    return _counted(words) if 1 < len(words) < 12 else None


def fraction_word(text: str) -> Fraction | None:
    """The fraction some words name.

    >>> fraction_word("two-thirds"), fraction_word("one half"), fraction_word("third"), fraction_word("two and a half")
    (Fraction(2, 3), Fraction(1, 2), None, None)
    """
    top, _, part = " ".join(plain(text).split()).rpartition(" ")
    parts = {
        "half": 2,
        "halve": 2,
        "quarter": 4,
        **{name: n + 1 for n, name in enumerate(_ORDINALS) if n > 1},
    }
    count = number_word(top) if top else None
    return (
        Fraction(count, parts[part.removesuffix("s")])
        if count and part.removesuffix("s") in parts
        else None
    )


def _counted(words: list[str]) -> int | None:
    total, part, last = (
        0,
        0,
        0,
    )  # last: the value of the word before, so that "two three" is no number
    for word in words:
        if word == "and" and last >= 100:
            continue
        if word in _SMALL[1:] and (
            not last or last >= 100 or (20 <= last < 100 and _SMALL.index(word) < 10)
        ):
            last = _SMALL.index(word)
            part += last
        elif word in _TENS and (not last or last >= 100):
            last = 20 + 10 * _TENS.index(word)
            part += last
        elif word == "hundred" and 0 < part < 10:
            part, last = 100 * part, 100
        elif word in _THOUSANDS and part and not (total and total < 1000 * _THOUSANDS[word]):
            total, part, last = total + part * _THOUSANDS[word], 0, 1000
        else:
            return None
    return total + part if last else None


def whole(text: str) -> Whole | None:
    """All real numbers, or no solution, in words.

    >>> whole("all real numbers"), whole("no solutions"), whole("all real numbers except two")
    (Whole(name='reals'), Whole(name='emptyset'), None)
    """
    said = plain(text)
    if re.fullmatch(
        r"(?:(?:for )?(?:all|any|every) )?(?:real numbers?|reals?|real values?)(?: (?:of )?[a-z])?",
        said,
    ):
        return Whole("reals")
    if m := _WHOLES.fullmatch(said):
        sign = "nonnegative" if m[3] and not m[1] else (m[1] or "").replace(" ", "")
        return Whole("naturals" if m[2] or sign == "positive" else f"{sign} integers".strip())
    return (
        Whole("emptyset")
        if re.fullmatch(
            r"(?:there (?:is|are) )?no (?:real |such )?(?:solutions?|values?|roots?|numbers?)(?:"
            r" exists?)?|none|empty set|(?:it )?does not exist|dne|no such [a-z]+ exists?",
            said,
        )
        else None
    )


def half_line(text: str) -> str | None:
    """The half of the real line that words name, as an interval; None for anything else.

    >>> half_line("all non-positive real numbers"), half_line("positive reals"), half_line("positive integers")
    ('(-\\\\infty, 0]', '(0, \\\\infty)', None)
    """
    m = _REALS.fullmatch(
        " ".join(re.sub(r"\bnon[- ]", "non", plain(text.replace("-", ""))).split())
    )
    if not m:
        return None
    closed, sign = bool(m[1] or m[3]), m[2] or m[4]
    upward = (sign == "positive") != closed
    return (
        ("[" if closed else "(") + "0, \\infty)"
        if upward
        else "(-\\infty, 0" + ("]" if closed else ")")
    )


def date(text: str) -> tuple[int, int, int | None] | None:
    """(month, day, year or None) of a date with the month in words.

    >>> date("July 4th"), date("4 July 2020"), date("July 4, 2020"), date("July")
    ((7, 4, None), (7, 4, 2020), (7, 4, 2020), None)
    """
    said = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|\b(?:of|on)\b", " ", plain(text))
    if m := re.fullmatch(r"\s*(?:([a-z]+) +(\d{1,2})|(\d{1,2}) +([a-z]+))(?: +(\d{4}))?\s*", said):
        month = next(
            (i for i, name in enumerate(_MONTHS) if (m[1] or m[4]) in {name, name[:3]}), None
        )
        if month is not None:
            return month + 1, int(m[2] or m[3]), int(m[5]) if m[5] else None
    return None


def sentence(text: str) -> Relation | None:
    """A comparison in words: "The sum is less than zero." is (words) < 0. None for anything else.

    >>> sentence("The sum is less than zero").ops, sentence("x is at least 3").ops, sentence("less is more")
    (('<',), ('>=',), None)
    """
    for pattern, op in _COMPARISONS:
        m = re.fullmatch(
            rf"\s*(.*?)\s*\b(?:{pattern})\s+(-?\d+(?:\.\d+)?|[a-z]+(?:[- ][a-z]+)?)\s*\.?\s*",
            text,
            re.I | re.S,
        )
        if m:
            value = Fraction(m[2]) if re.match(r"-?\d", m[2]) else number_word(m[2])
            if value is not None:
                return Relation((_subject(m[1]), number(value)), (op,))
    for pattern, op in _SIGNS:
        m = re.fullmatch(rf"\s*(.+?)\s+{pattern}\s*\.?\s*", text, re.I | re.S)
        if m:
            return Relation((_subject(m[1]), number(0)), (op,))
    return None


def _subject(text: str) -> Node | Words:
    return Node("sym", (text,)) if re.fullmatch(r"[A-Za-z]", text) else Words(text)


def same_words(gold: str, answer: str) -> bool:
    """Do two texts say the same? Equal up to case, articles and punctuation, plural and parity
    phrases; never by resemblance.

    >>> same_words("Evelyn", "evelyn."), same_words("Any odd number of participants", "odd"), same_words("odd", "oddd"), same_words("line segments", "line segment")
    (True, True, False, True)
    """
    a, b = (
        re.sub(r"^(?:(?:so|thus|hence|therefore) )?(?:final |correct )?answer is ", "", plain(t))
        for t in (gold, answer)
    )
    a, b = (
        re.sub(r"^(?:(?:it|this|that) (?:is|was) )?(?:(?:on|in|at) (?=\w+$))?", "", t)
        for t in (a, b)
    )
    a, b = (t.removesuffix(" condition") for t in (a, b))
    if a == b:
        return bool(a) or gold == answer
    if (p := _PARITY.fullmatch(a)) and (q := _PARITY.fullmatch(b)):
        return p[1] == q[1]
    if (n := number_word(gold)) is not None:
        return b == str(n) or number_word(answer) == n
    if a.replace(" ", "") == b.replace(" ", ""):
        return True
    return [_stem(w) for w in a.split()] == [_stem(w) for w in b.split()]


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
