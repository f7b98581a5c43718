"""From a text to its readings: lists, tuples, sets, intervals, relations, names, matrices,
quantities, words."""

from __future__ import annotations

import re
from itertools import pairwise

from sage_bench.grading.robust.text.clean import clean
from sage_bench.grading.robust.read.enumerated import enumerated
from sage_bench.grading.robust.read.forms import (
    Clock,
    Combined,
    Form,
    Many,
    Named,
    Reading,
    Relation,
    Value,
    Whole,
    Words,
)
from sage_bench.grading.robust.read.items import SETS, Items
from sage_bench.grading.robust.read.nodes import Conditional, Unreadable, symbols
from sage_bench.grading.robust.read.parameters import domains
from sage_bench.grading.robust.read.quantity import summed
from sage_bench.grading.robust.text.tokens import Token, depth_of, split, text_of, tokenize
from sage_bench.grading.robust.compare.vectors import without_dots
from sage_bench.grading.robust.text.words import sentence, several_options, whole

_CONDITIONS = {
    "for",
    "where",
    "with",
    "when",
    "if",
    "such",
    "given",
    "whenever",
    "provided",
    "assuming",
    "whose",
    "as",
    "because",
    "since",
    "on",
    "over",
    "in",
    "which",
}
_BRANCHES = {"if", "when", "otherwise", "unless"}
_EXCEPT = re.compile(
    r"(?:(?:all|any|every) )?(?:reals?|real numbers?|real values?)(?: of)?(?: [a-z])?"
    r" (?:except|excluding|other than|but)(?: for)?"
)
_WHOLE_NUMBERS = re.compile(r"integer|natural|whole|prime|odd|even|rational|digit", re.I)
_CUTS = {"\\forall"}
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*(?:«?\s*([ap])\.?\s*m\.?\s*»?)?", re.I)
_NOON = re.compile(r"(?:12(?::00)?\s*«?\s*)?(noon|midnight)", re.I)
_CHOICE = re.compile(r"\(([A-J])\)\s+(\S.*)|([A-J])\s*[.):]\s+(\S.*)", re.S)


def read(text: str) -> list[Reading]:
    r"""The readings of an answer, the likeliest first; empty when it is empty. Raises `Unreadable`
    when there is none.

    >>> read("(1, 2]")[0].form.closing, type(read("x = 3")[0].form).__name__, len(read("1,234"))
    (']', 'Named', 2)
    """
    cleaned = clean(text)
    if not cleaned:
        return []
    noon = _NOON.fullmatch(cleaned.strip("«» "))
    clock = _CLOCK.fullmatch(
        "12 " + ("pm" if noon[1].lower() == "noon" else "am") if noon else cleaned
    )
    out: list[Reading] = []
    if clock and (clock[2] or clock[4]) and int(clock[2] or 0) < 60 and int(clock[1]) < 25:
        out.append(
            Reading(
                Clock(
                    int(clock[1]) * 3600 + int(clock[2] or 0) * 60 + int(clock[3] or 0),
                    clock[4] and clock[4].lower() + "m",
                )
            )
        )
    problem: Unreadable | None = None
    for thousands in (True, False) if re.search(r"\d,[1-9]\d\d", cleaned) else (True,):
        try:
            out.append(_Reader().read(tokenize(cleaned, thousands=thousands)))
        except Unreadable as error:
            problem = error
    if cleaned.count("=") > 1 and out:
        try:
            out.append(_Reader(chained=True).read(tokenize(cleaned)))
        except Unreadable as error:
            problem = error
    if (choice := _CHOICE.fullmatch(cleaned)) and not several_options(cleaned):
        try:
            out.append(_Reader().read(tokenize(choice[2] or choice[4])))
        except Unreadable as error:
            problem = error
    if "\\approx" in cleaned and not cleaned.startswith(
        "\\approx"
    ):  # "exact ≈ decimal": either is the answer
        out += read(cleaned.rsplit("\\approx", 1)[1])
    if not out and problem:
        raise problem
    return out


class _Reader(Items):
    def __init__(self, *, chained: bool = False) -> None:
        self.chained = chained
        self.integers: set[str] = set()
        self.condition: Form | None = None

    def read(self, tokens: list[Token]) -> Reading:
        stated = domains(tokens)
        self.integers.update(name for name, kind in stated if kind == "integers")
        for i, t in enumerate(tokens[:-1]):
            if (
                t.kind == "sym"
                and tokens[i + 1].kind == "word"
                and re.search(r"\binteger", tokens[i + 1].text)
            ):
                self.integers.add(t.text)
        form = self.form(tokens)
        return Reading(form, frozenset(self.integers), self.condition, stated)

    # --- lists ----------------------------------------------------------------------------------
    def form(self, tokens: list[Token]) -> Form:
        if sum(t.text == "|" and d == 0 for t, d in zip(tokens, depth_of(tokens), strict=True)) % 2:
            raise Conditional("a divides b")
        at = next((i for i, t in enumerate(tokens) if t.kind == "word"), 0)
        if at and (listed := enumerated(tokens[:at], tokens[at:])) is not None:
            return listed
        tokens = self.without_domain(self.without_condition(tokens))
        if not tokens:
            raise Unreadable("nothing is said")
        if (
            any(t.kind == "word" for t in tokens)
            and (worded := sentence(text_of(tokens)) or whole(text_of(tokens))) is not None
        ):
            return worded
        if tokens[0].kind == "word" and (half := self.half(text_of(tokens))):
            return half
        if (
            len(tokens) > 1
            and tokens[0].kind == "word"
            and _EXCEPT.fullmatch(tokens[0].text.lower())
        ):
            return Combined("difference", (Whole("reals"), _as_set(self.form(tokens[1:]))))
        if (groups := self.groups(tokens)) is not None:
            return groups
        parts = split(tokens, lambda t: t.kind == "sep" and t.text != "\u2003")
        parts = [q for p in parts for q in self.at_spaces(p)]
        parts = [p for p in parts if p]
        parts = [p for p in parts if not self.is_membership(p)] or parts[:1]
        items = _all_excluded(without_dots([self.item(p) for p in parts]))
        if len(items) > 1 and _is_domain(items[-1], items[:-1]):
            self.condition = items.pop()
        if len(items) == 1:
            return items[0]
        between = {
            t.text
            for t, d in zip(tokens, depth_of(tokens), strict=True)
            if d == 0 and t.kind == "sep"
        }
        if any(isinstance(i, Relation) for i in items) and all(
            (isinstance(i, Relation) and "=" not in i.ops) or _is_point(i) for i in items
        ):
            if between <= {"or", "and", "\u2003"}:
                return Combined("or" if "or" in between else "and", tuple(items))
            if any(
                isinstance(i, Relation) and "!=" in i.ops for i in items
            ):  # "-3 < a < 1, a != 0"
                return Combined("and", tuple(items))
        if "or" not in between and (total := summed(items)) is not None:
            return total
        flat: list[Form] = []
        for item in items:
            flat.extend(item.items if isinstance(item, Many) and not item.opening else (item,))
        return Many(tuple(flat))

    def groups(self, tokens: list[Token]) -> Form | None:
        """`p=5, q=2; p=7, q=2`: groups of equal size between semicolons are tuples."""
        parts = [p for p in split(tokens, lambda t: t.text == ";") if p]
        sizes = {len([q for q in split(p, lambda t: t.text == ",") if q]) for p in parts}
        if len(parts) < 2 or len(sizes) != 1 or sizes == {1}:
            return None
        return Many(
            tuple(
                Many(tuple(self.item(q) for q in split(p, lambda t: t.text == ",") if q), "(", ")")
                for p in parts
            )
        )

    def at_spaces(self, part: list[Token]) -> list[list[Token]]:
        """A wide space separates finished things (`(1,2)  (3,4)`, `x = 1   y = 2`); tuples side by
        side are separate as well."""
        pieces = [p for p in split(part, lambda t: t.text == "\u2003") if p]
        if len(pieces) > 1 and not all(
            any(t.kind == "rel" for t in p) or p[0].kind == "open" for p in pieces
        ):
            pieces = [[t for t in part if t.text != "\u2003"]]
        out = []
        for piece in pieces:
            ends = [i for i, d in enumerate(depth_of(piece)) if piece[i].kind == "close" and d == 0]
            starts = [0, *(e + 1 for e in ends)]
            chunks = [piece[a:b] for a, b in pairwise(starts)]
            if (
                len(ends) > 1
                and ends[-1] == len(piece) - 1
                and all(
                    c
                    and c[0].kind == "open"
                    and c[0].text in "(["
                    and any(t.text == "," for t in c)
                    for c in chunks
                )
            ):
                out.extend(chunks)
            else:
                out.append(piece)
        return out

    def is_membership(self, part: list[Token]) -> bool:
        """`k ∈ ℤ` beside an answer is a condition."""
        return (
            len(part) >= 3
            and part[0].kind == "sym"
            and part[1].text == "\\in"
            and part[2].text in SETS
        )

    def without_condition(self, tokens: list[Token]) -> list[Token]:
        """What stands before "where ...", "for all ...", "∀ ..."."""
        for i, (t, d) in enumerate(zip(tokens, depth_of(tokens), strict=True)):
            first = t.text.split()[0].lower() if t.kind == "word" else ""
            if (
                first == "if"
                or (first in _BRANCHES and any(u.kind == "sep" for u in tokens[i:]))
                or (first == "for" and _has_another_case(tokens[i:]))
            ):
                raise Conditional("an answer in cases")
            if t.text == "in" and (i == len(tokens) - 1 or tokens[i + 1].text in {"^", "/"}):
                break  # inches
            if (
                d == 0
                and i
                and any(u.kind != "word" for u in tokens[:i])
                and (first in _CONDITIONS or t.text in _CUTS)
            ):
                said = t.text.lower().split()[-1] if t.kind == "word" else ""
                if (
                    said in {"that", "where", "with", "satisfying"}
                    and all(u.kind == "word" for u in tokens[: i - 1])
                    and tokens[i - 1].kind == "sym"
                    and tokens[i - 1] in tokens[i + 1 :]
                    and not any(_WHOLE_NUMBERS.search(u.text) for u in tokens[:i])
                ):
                    return tokens[i + 1 :]  # "all real x such that x > 0"
                self.check_condition(first, tokens[:i])
                tokens = tokens[:i]
                break
        while tokens and tokens[-1].kind == "sep":
            tokens = tokens[:-1]
        while tokens and tokens[0].kind == "sep":
            tokens = tokens[1:]
        return tokens

    def without_domain(self, tokens: list[Token]) -> list[Token]:
        """`y = 2x (x > 0)`: a relation in brackets at the end is a condition, unless it is what a
        probability is of."""
        if len(tokens) < 4 or tokens[-1].text != ")":
            return tokens
        depths = depth_of(tokens)
        start = max(
            (
                i
                for i, (t, d) in enumerate(zip(tokens, depths, strict=True))
                if d == 0 and t.kind == "open"
            ),
            default=0,
        )
        inner = tokens[start + 1 : -1]
        related = any(
            t.kind == "rel" and d == 0 for t, d in zip(inner, depth_of(inner), strict=True)
        )
        if (
            not related
            or start == 0
            or tokens[start].text != "("
            or tokens[start - 1].kind in {"op", "rel", "sep", "cmd"}
            or tokens[start - 1].text in {"P", "E", "D"}
        ):
            return tokens
        if not any(t.kind == "word" or t.text in SETS for t in inner):
            self.condition = self.item(inner)
        return tokens[:start]

    def check_condition(self, word: str, before: list[Token]) -> None:
        """`(x, y) with x + y even` says nothing without its condition."""
        if word not in {"for", "in", "on", "over", "as", ""} and all(
            t.kind in {"sym", "open", "close", "sep"} for t in before
        ):
            raise Conditional("everything is in the condition")


def _has_another_case(tokens: list[Token]) -> bool:
    """`... for odd n, n + 1 for even n`: behind the first condition another value and its
    condition."""
    _, *others = split(tokens, lambda t: t.kind == "sep")
    return any(
        p
        and p[0].kind != "word"
        and any(
            t.kind == "word" and t.text.split()[0].lower() in {"for", *_BRANCHES} for t in p[1:]
        )
        for p in others
    )


def _as_set(form: Form) -> Form:
    """What is excluded: a set of the values that are listed."""
    items = form.items if isinstance(form, Many) and not form.opening else (form,)
    return (
        form
        if isinstance(form, Many) and form.opening
        else Many(tuple(i.value if isinstance(i, Named) else i for i in items), "{", "}")
    )


def _all_excluded(items: list[Form]) -> list[Form]:
    """`x ≠ 1, 2`: the second is excluded as well."""
    out: list[Form] = []
    for item in items:
        last = out[-1] if out else None
        if isinstance(item, Value) and isinstance(last, Relation) and last.ops == ("!=",):
            item = Relation((last.sides[0], item.node), ("!=",))
        out.append(item)
    return out


def _is_domain(last: Form, others: list[Form]) -> bool:
    """`y = 2x, x >= 0`: an inequality about a symbol of the formula before it."""
    if (
        not isinstance(last, Relation)
        or not set(last.ops) <= {"<", "<=", ">", ">="}
        or not isinstance(others[0], Named)
        or len(others) > 1
    ):
        return False
    inside = others[0].value
    about = {n for s in last.sides if not isinstance(s, Words) for n in symbols(s)}
    return isinstance(inside, Value) and len(about) == 1 and about <= symbols(inside.node)


def _is_point(form: Form) -> bool:
    return (
        isinstance(form, Named)
        and isinstance(form.value, Value)
        and not form.in_words
        and not form.parameters
    )
