"""Answers that name a value and where it is taken: "the minimum is 1 at x = 3"."""

from __future__ import annotations

from collections.abc import Callable

from sage_bench.grading.robust.read.forms import Form, Named, Reading, Value

Same = Callable[[Form, Form], bool]


def by_place(gold: Reading, answer: Reading, same: Same) -> bool | None:
    """What the places decide; None where they leave it to the values.

    Two places must be the same. A gold that asks for the place (`x = 3`) is not answered by the
    value, and of an extremum it is answered by the place. A gold that states both is not answered
    by the place alone.
    """
    if gold.place and answer.place and gold.place.name == answer.place.name:
        if not same(gold.place.value, answer.place.value):
            return False
    if answer.place and _asks_for(gold.form, answer.place) and not _has_name(answer.form):
        at_the_place = same(gold.form, answer.place)
        return at_the_place if answer.extreme or not at_the_place else None
    if gold.place and not answer.place and _asks_for(answer.form, gold.place):
        return False if isinstance(gold.form, Value) else None
    return None


def _asks_for(form: Form, place: Named) -> bool:
    return isinstance(form, Named) and not form.in_words and form.name == place.name


def _has_name(form: Form) -> bool:
    return isinstance(form, Named) and not form.in_words
