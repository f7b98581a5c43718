r"""The comparison of the `robust` grader: as strict as a mathematician, tolerant of form.

An answer is cleaned (`clean`), cut into tokens (`tokens`), read as a list, a tuple, a set, an
interval, an equation, a quantity, a matrix or words (`reader`), and compared with the gold's
reading (`compare`): rational numbers exactly, other expressions at many values to fifty digits
(`same`). What neither reading understands is left to math-verify. Runs in a worker process.
"""

from __future__ import annotations

import re

from sage_bench.grading.robust.text.clean import clean
from sage_bench.grading.robust.compare.compare import same_reading
from sage_bench.grading.robust.read.forms import Form, Value
from sage_bench.grading.robust.read.nodes import Conditional, Unreadable, symbols, walk
from sage_bench.grading.robust.read.reader import read
from sage_bench.grading.robust.text.words import date, same_words, several_options

_LETTER = re.compile(r"\(?\s*([A-J])\s*\)?")
_COSTLY = re.compile(
    r"\\(?:sum|prod|int|lim)(?![a-z])|\^\s*\{?\s*\(?-?\d+\)?\s*\^|\^\s*\{?\s*-?\d{5,}|\d{5,}\s*!"
)
_CHOICE = re.compile(r"\(([A-J])\)\s*\S.*|([A-J])\s*[.):](?:\s.*)?", re.S)


def equivalent(gold: str, answer: str) -> dict[str, object]:
    r"""{"correct": bool, "status": "ok" | "parse_error", "by": what decided}.

    >>> equivalent(r"\frac{1}{2}", "0.5")["correct"], equivalent("[0, 1)", r"0 \le x < 1")["correct"], equivalent("(1,2)", "(2,1)")["correct"]
    (True, True, False)
    """
    one, two = clean(gold), clean(answer)
    if one == two:
        return {"correct": bool(one), "status": "ok", "by": "spelling"}
    if (
        same_choice(one, two)
        or same_judgement(one, two)
        or ((day := date(one)) is not None and day == date(two))
    ):
        return {"correct": True, "status": "ok", "by": "choice"}
    try:
        golds, answers = read(gold), read(answer)
    except Conditional:
        return {"correct": same_words(one, two), "status": "ok", "by": "words"}
    except (Unreadable, RecursionError):
        return {**by_math_verify(gold, answer), "by": "math_verify"}
    pair = next(((g, a) for g in golds for a in answers if same_reading(g, a)), None)
    if pair and is_unfinished(pair[0].form, pair[1].form):
        return {**by_math_verify(gold, answer), "by": "math_verify"}
    return {"correct": pair is not None, "status": "ok", "by": "reading"}


def is_unfinished(gold: Form, answer: Form) -> bool:
    r"""Does the answer leave trigonometric values standing where the gold has worked them out?

    `-\tan 80° + 4\cos 10°` is -√3, but saying so was the problem. What computer algebra evaluates
    by itself (`\arctan 1`) is finished: math-verify decides.
    """
    if not isinstance(gold, Value) or not isinstance(answer, Value) or symbols(answer.node):
        return False
    return any(n.op == "fn" for n in walk(answer.node)) and not any(
        n.op == "fn" for n in walk(gold.node)
    )


def same_choice(gold: str, answer: str) -> bool:
    """One side is an option's letter, the other that letter with the option's text.

    >>> same_choice("C", "(C) 17"), same_choice("C. 42", "C"), same_choice("C", "D. 42"), same_choice("A", "A")
    (True, True, False, False)
    """
    for letter, option in ((gold, answer), (answer, gold)):
        m, n = _LETTER.fullmatch(letter.strip("«» ")), _CHOICE.fullmatch(option.strip("«» "))
        n = n or re.fullmatch(
            r"(?:option|choice)\s*«?\s*(?:\(([A-J])\)|([A-J]))", option.strip("«» "), re.I
        )
        if m and n and not several_options(option) and m[1] == (n[1] or n[2]):
            return True
    return False


def same_judgement(gold: str, answer: str) -> bool:
    """Yes, no, true and false, whatever reason the answer adds; and the letters of several options,
    however they are set apart.

    >>> same_judgement("Yes", "Yes, because it is even"), same_judgement("No", "Not always"), same_judgement("No", "No if n is odd"), same_judgement("BD", "B and D"), same_judgement("AC", "AB")
    (True, False, False, True, False)
    """
    said = re.match(
        r"(yes|no|true|false)\b(?!\W*(?:if|when|for|unless|only|except|but|in)\b|.*\b(?:yes|no|otherwise|unless)\b)",
        answer.strip("«» ").casefold(),
        re.S,
    )
    true = {"yes": "true", "no": "false"}
    wanted = gold.strip("«» .").casefold()
    if said and true.get(wanted, wanted) == true.get(said[1], said[1]):
        return True
    letters = [
        (
            re.findall("[A-J]", t)
            if re.fullmatch(r"[A-J](?:[\s«]*(?:,|and|&|)[\s»]*[A-J])+", t.strip("«» "))
            else []
        )
        for t in (gold, answer)
    ]
    return (
        bool(letters[0])
        and sorted(letters[0]) == sorted(letters[1])
        and len(set(letters[0])) == len(letters[0])
        and len({"," in t or "and" in t for t in (gold, answer)}) == 2
    )


def by_math_verify(gold: str, answer: str) -> dict[str, object]:
    """math-verify's verdict on texts that are not ours to read; it would work out powers of powers,
    sums and limits,
    and may never end: those are the same only as they are written."""
    from sage_bench.grading.worker import equivalent as verify

    if _COSTLY.search(answer) or _COSTLY.search(gold):
        one, two = (re.sub(r"[\s{}]", "", clean(t)) for t in (gold, answer))
        return {"correct": one == two, "status": "ok"}
    shown = re.compile(r"\\(?:display|text)style(?![a-z])")
    gold, answer = (shown.sub(" ", t).strip() for t in (gold, answer))
    gold, answer = (
        t if "$" in t else t.removesuffix(".") for t in (gold, answer)
    )  # a sentence keeps its full stop: math-verify looks for it
    return verify(gold, answer)


def readable(gold: str, _: str = "") -> dict[str, object]:
    """{"correct": can the gold be read, by us or by math-verify?, "status": "ok"}."""
    from sage_bench.grading.worker import is_gold

    try:
        return {"correct": bool(read(gold)), "status": "ok"}
    except (Unreadable, RecursionError):
        return {"correct": is_gold(gold), "status": "ok"}
