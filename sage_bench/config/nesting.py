"""Nested sections and dotted keys: two spellings of one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested mappings; empty mappings are values.

    >>> dict(flatten({"optim": {"lr": 1}, "method": {}}))
    {'optim.lr': 1, 'method': {}}
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`.

    >>> nest({"optim.lr": 1, "backend": "sage"})
    {'optim': {'lr': 1}, 'backend': 'sage'}
    """
    out: dict[str, Any] = {}
    for key, value in dotted.items():
        *sections, leaf = key.split(".")
        place = out
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):  # `a=1 a.b=2`: the section replaces the value
                inner = place[section] = {}
            place = inner
        place[leaf] = value
    return out
