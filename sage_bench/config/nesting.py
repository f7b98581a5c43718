"""Nested sections and dotted keys: two spellings of one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


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


def values_of(config: BaseModel) -> dict[str, Any]:
    """All keys of a configuration, dotted, with the values that a JSON file has of them.

    >>> from sage_bench.config.schema import OptimConfig
    >>> values_of(OptimConfig(betas=(0.9, 0.98)))["betas"]
    [0.9, 0.98]
    """
    return dict(flatten(config.model_dump(mode="json")))


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
