"""Answers that choose: letters of options, yes and no, true and false."""

from __future__ import annotations

import re

from sage_bench.grading.robust.text.words import several_options

_LETTER = re.compile(r"\(?\s*([A-J])\s*\)?")
_CHOICE = re.compile(r"\(([A-J])\)\s*\S.*|([A-J])\s*[.):](?:\s.*)?", re.S)
_NAMED_CHOICE = re.compile(r"(?:option|choice)\s*«?\s*(?:\(([A-J])\)|([A-J]))", re.I)
_JUDGEMENT = re.compile(
    r"(yes|no|true|false)\b"
    r"(?!\W*(?:if|when|for|unless|only|except|but|in)\b|.*\b(?:yes|no|otherwise|unless)\b)",
    re.S,
)
_TRUTH = {"yes": "true", "no": "false"}
_LETTERS = re.compile(r"[A-J](?:[\s«]*(?:,|and|&|)[\s»]*[A-J])+")
_QUOTES = "«» "


def same_choice(gold: str, answer: str) -> bool:
    """One side is an option's letter, the other that letter with the option's text.

    >>> same_choice("C", "(C) 17"), same_choice("C. 42", "C"), same_choice("C", "D. 42")
    (True, True, False)
    """
    return _names_option(gold, answer) or _names_option(answer, gold)


def _names_option(letter: str, option: str) -> bool:
    chosen = _LETTER.fullmatch(letter.strip(_QUOTES))
    option_text = option.strip(_QUOTES)
    named = _CHOICE.fullmatch(option_text) or _NAMED_CHOICE.fullmatch(option_text)
    if not chosen or not named or several_options(option):
        return False
    return chosen[1] == (named[1] or named[2])


def same_judgement(gold: str, answer: str) -> bool:
    """Yes, no, true and false, whatever reason the answer adds; and the letters of several options.

    >>> same_judgement("Yes", "Yes, because it is even"), same_judgement("No", "Not always")
    (True, False)
    >>> same_judgement("No", "No if n is odd"), same_judgement("BD", "B and D")
    (False, True)
    """
    given = _JUDGEMENT.match(answer.strip(_QUOTES).casefold())
    wanted = gold.strip("«» .").casefold()
    if given and _TRUTH.get(wanted, wanted) == _TRUTH.get(given[1], given[1]):
        return True
    return _same_letters(gold, answer)


def _same_letters(gold: str, answer: str) -> bool:
    """`BD` and `B, D`: the same options, set apart on one side only."""
    ours, theirs = _option_letters(gold), _option_letters(answer)
    if not ours or len(set(ours)) != len(ours) or sorted(ours) != sorted(theirs):
        return False
    set_apart = ["," in text or "and" in text for text in (gold, answer)]
    return set_apart[0] != set_apart[1]


def _option_letters(text: str) -> list[str]:
    return re.findall("[A-J]", text) if _LETTERS.fullmatch(text.strip(_QUOTES)) else []
