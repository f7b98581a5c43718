"""Filling a `RunConfig` from layers, and remembering where each value came from.

Layers, later ones win: defaults < model preset (and its part for the backend) < `--config` files <
environment (`SAGE_BENCH_OPTIM__LR=1e-5`) < flags and `key=value` on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sage_bench.config.schema import RunConfig
from sage_bench.utils.errors import UsageError, did_you_mean

ENV_PREFIX = "SAGE_BENCH_"
NO_KEYS = {"SAGE_BENCH_SHARED_MATERIAL"}  # where the tests find reference material
PRESETS = "sage_bench.config.presets"


@dataclass(frozen=True, slots=True)
class Layer:
    """Some values and where they come from: a file, a variable, the command line."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The configuration and `origins`: dotted key -> layer that set it ("default" where none
    did)."""

    config: RunConfig
    origins: Mapping[str, str]

    def rows(self) -> list[tuple[str, Any, str]]:
        """(key, value, origin) of every value."""
        return [
            (k, v, self.origins.get(k, "default")) for k, v in flatten(self.config.model_dump())
        ]


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
            place = place.setdefault(section, {})
        place[leaf] = value
    return out


def read_yaml(path: Path | Any, origin: str) -> dict[str, Any]:
    """A YAML mapping; `include: other.yaml` beside it is read first. Raises `UsageError` naming the
    file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}",
            where=origin,
            remedy="give an existing YAML file",
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(
            f"is not YAML: {' '.join(str(error).split())}",
            where=origin,
            remedy="mend the line it names",
        ) from error
    if not isinstance(values, dict):
        raise UsageError(
            "must be a mapping of sections", where=origin, remedy="start with e.g. `backend: NAME`"
        )
    if include := values.pop("include", None):
        below = read_yaml(
            path.parent / include if isinstance(path, Path) else files(PRESETS) / include,
            f"{origin} (include {include})",
        )
        values = nest(dict(flatten(below)) | dict(flatten(values)))
    return values


def file_layers(values: dict[str, Any], origin: str, backend: str | None) -> list[Layer]:
    """The layers of one file: its values, then its part for the backend (`per_backend: {sft:
    {optim: ...}}`)."""
    values = dict(values)
    per_backend = values.pop("per_backend", {}) or {}
    values.pop("note", None)
    layers = [Layer(origin, values)]
    name = backend or values.get("backend")
    if name in per_backend:
        layers.append(Layer(f"{origin} (per_backend.{name})", per_backend[name]))
    return layers


def env_layer(environ: Mapping[str, str] = os.environ) -> Layer:
    """Values of variables that name a section: SAGE_BENCH_OPTIM__LR is optim.lr."""
    dotted = {
        k[len(ENV_PREFIX) :].lower().replace("__", "."): v
        for k, v in environ.items()
        if k.startswith(ENV_PREFIX) and k not in NO_KEYS
    }
    return Layer("environment", nest({k: yaml.safe_load(v) for k, v in dotted.items()}))


def override_layer(overrides: Sequence[str]) -> Layer:
    """`key=value` words of the command line; values are YAML (`[0.9, 0.95]`, `null`, `true`)."""
    dotted = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(
                f"`{word}` is no `key=value`",
                where="command line",
                remedy="write e.g. optim.lr=1e-5",
            )
        try:
            dotted[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(
                f"the value of `{key}` is not YAML", where="command line", remedy="quote it"
            ) from error
    return Layer("command line", nest(dotted))


def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    out = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            out += known_keys(kind, f"{prefix}{name}.")
        else:
            out.append(prefix + name)
    return out


def resolve(layers: Sequence[Layer]) -> Resolved:
    """Merge and validate. Raises `UsageError` naming layer, key, and the closest known key."""
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for key, value in flatten(layer.values):
            for old in [k for k in merged if k.startswith(key + ".") or key.startswith(k + ".")]:
                del merged[old], origins[old]  # a mapping replaced as a whole, or opened up
            merged[key], origins[key] = value, layer.origin
    try:
        return Resolved(RunConfig.model_validate(nest(merged)), origins)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"] if isinstance(p, str))
        origin = next(
            (
                o
                for k, o in origins.items()
                if k == key or k.startswith(key + ".") or key.startswith(k + ".")
            ),
            "configuration",
        )
        raise UsageError(
            _explain(first, key),
            where=f"{origin}: {key}",
            remedy="`sage-bench train --show-config` prints every key",
        ) from error


def _explain(error: Any, key: str) -> str:
    if error["type"] != "extra_forbidden":
        return f"{error['msg']} (it is {error['input']!r})"
    keys = known_keys()
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [k for k in keys if k.rsplit(".", 1)[-1] == leaf]
    hint = f"did you mean `{same_leaf[0]}`?" if same_leaf else did_you_mean(key, keys)
    return f"unknown key{'; ' + hint if hint else ''}"
