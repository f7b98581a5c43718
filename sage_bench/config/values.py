"""Checks of values that pydantic would convert in silence: `yes` for a number, `inf`, `nan`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel


def lookalike(annotation: Any, value: Any) -> str | None:
    """Why a value is not what a field of this type asks for, or None where it may be.

    Python's booleans are integers, and YAML reads `yes` and `on` as booleans: without this check
    `train.steps=yes` would train for one step.

    >>> lookalike(int, True)
    'is true or false (YAML reads yes, no, on and off so), and a number is wanted'
    >>> lookalike(float | None, "inf")
    'is not a finite number'
    >>> lookalike(bool, 1)
    'is not true or false'
    >>> lookalike(int | None, 3), lookalike(bool | None, None), lookalike(str, "nan")
    (None, None, None)
    """
    kinds = set(get_args(annotation) or (annotation,))
    numeric = bool(kinds & {int, float})
    if isinstance(value, bool) and numeric and bool not in kinds:
        return "is true or false (YAML reads yes, no, on and off so), and a number is wanted"
    if bool in kinds and not (isinstance(value, bool) or (value is None and type(None) in kinds)):
        return "is not true or false"
    if numeric and isinstance(value, str) and _is_infinite_word(value):
        return "is not a finite number"
    if any(not math.isfinite(number) for number in _floats(value)):
        return "is not a finite number"
    return None


def annotation_of(schema: type[BaseModel], key: str) -> Any:
    """The type of the field a dotted key names, or None where there is no such field.

    >>> from sage_bench.config.schema import RunConfig
    >>> annotation_of(RunConfig, "train.steps"), annotation_of(RunConfig, "train.stpes")
    (<class 'int'>, None)
    """
    first, _, rest = key.partition(".")
    field = schema.model_fields.get(first)
    if field is None:
        return None
    if not rest:
        return field.annotation
    inner = field.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return annotation_of(inner, rest)
    return None


def _is_infinite_word(value: str) -> bool:
    """Words that `float` would take for infinity or for no number at all."""
    return value.strip().lstrip("+-.").lower() in {"inf", "infinity", "nan"}


def _floats(value: Any) -> Iterator[float]:
    """All floating-point numbers of a value, inside lists and mappings too."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _floats(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _floats(inner)
