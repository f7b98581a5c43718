"""Every recorded value has a consumer, and every consumer notices when one of its values is
another."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_vectors_hint
import test_vectors_luffy
import test_vectors_oar
import test_vectors_scaf
import test_vectors_sgpo
import test_vectors_verifier
from vectors import COLUMNS, CONSUMERS, agrees, changed, graded, leaves

from sage_bench.grading.registry import GRADERS

MODULES = (
    test_vectors_hint,
    test_vectors_luffy,
    test_vectors_oar,
    test_vectors_scaf,
    test_vectors_sgpo,
    test_vectors_verifier,
)
RELEASED = (
    Path(__file__).parents[1] / "grading" / "test_vectors_grader.py"
)  # the released graders against the columns they define


def test_every_group_has_a_consumer_and_every_consumer_a_group(given):
    assert CONSUMERS.keys() == given.groups.keys()
    assert {c.check.__module__ for c in CONSUMERS.values()} == {m.__name__ for m in MODULES} - {
        test_vectors_verifier.__name__
    }


def test_every_column_of_graded_responses_has_a_consumer(shared):
    columns = {name for row in graded(shared) for name in row}
    released = RELEASED.read_text() if RELEASED.exists() else ""
    consumed = COLUMNS.keys() | {name for name in columns if f'"{name}"' in released}
    if "oat" not in GRADERS:
        columns -= {"oat", "oat_fast", "formatted"}  # verdicts of a grader that is not there yet
    assert columns == consumed, (
        f"no consumer: {sorted(columns - consumed)}; no such column: {sorted(consumed - columns)}"
    )


@pytest.mark.parametrize("group", sorted(CONSUMERS))
def test_a_consumer_notices_every_changed_value(group, given):
    consumer, v = CONSUMERS[group], given.groups[group]
    paths = {path: consumer.kind(path) for path in leaves(v)}
    assert agrees(consumer.check, v, given)
    asleep = [
        p
        for p, kind in paths.items()
        if kind == "compared" and agrees(consumer.check, changed(v, p), given)
    ]
    assert not asleep, f"changed, and the test of {group} did not notice: {asleep}"
    touchy = [
        p
        for p, kind in paths.items()
        if kind == "inert" and not agrees(consumer.check, changed(v, p), given)
    ]
    assert not touchy, f"said not to matter in {group}, but it does: {touchy}"
    assert all(isinstance(value_at(v, p), str) for p, kind in paths.items() if kind == "prose")


def test_a_consumer_that_does_not_look_is_found():
    """The check above, on a consumer that compares one of two values and one that compares
    nothing."""
    v = {"a": [1.0, None], "b": {"c": True}}

    def half(v, given):
        assert v["a"] == [1.0, None]

    def asleep(check):
        return [p for p in leaves(v) if agrees(check, changed(v, p), None)]

    assert asleep(half) == [("b", "c")]
    assert asleep(lambda v, given: None) == [
        ("a", 0),
        ("a", 1),
        ("b", "c"),
    ]
    assert v == {"a": [1.0, None], "b": {"c": True}}


def value_at(v, path):
    for key in path:
        v = v[key]
    return v
