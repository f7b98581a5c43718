"""Filling a configuration from layers, and remembering where each value came from.

Layers, later ones win: defaults < model preset (and its part for the backend) < `--config` files <
environment < flags and `key=value` on the command line. Training reads `SAGE_BENCH_OPTIM__LR=1e-5`
as `optim.lr`; evaluation reads `SAGE_BENCH_EVAL__SAMPLING__SEED=3` as `sampling.seed`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sage_bench.config.files import parse_yaml, read_yaml
from sage_bench.config.nesting import flatten, nest
from sage_bench.config.schema import RunConfig
from sage_bench.config.values import annotation_of, lookalike
from sage_bench.utils.errors import UsageError, did_you_mean

__all__ = [
    "Layer",
    "Resolved",
    "env_layer",
    "file_layers",
    "known_keys",
    "override_layer",
    "read_yaml",
    "resolve",
]

ENV_PREFIX = "SAGE_BENCH_"
EVAL_PREFIX = "SAGE_BENCH_EVAL__"
# variables with our prefix that are no configuration keys: where the tests find reference material,
# and folders of tasks
NOT_KEYS = {"SAGE_BENCH_SHARED_MATERIAL", "SAGE_BENCH_INCLUDE_PATH"}

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Layer:
    """Some values and where they come from: a file, a variable, the command line."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resolved(Generic[Config]):
    """A configuration and the origin of its values.

    origins: dotted key -> layer that set it ("default" where none did).
    """

    config: Config
    origins: Mapping[str, str]

    def rows(self) -> list[tuple[str, Any, str]]:
        """(key, value, origin) of every value."""
        values = flatten(self.config.model_dump())
        return [(key, value, self.origins.get(key, "default")) for key, value in values]


# ---- the layers ---------------------------------------------------------------------------------
def file_layers(
    values: Mapping[str, Any],
    origin: str,
    backend: str | None,
    family: Callable[[str], Sequence[str]] = lambda name: (name,),
) -> list[Layer]:
    """The layers of one file: its values, then its parts for the backend (`per_backend: {sft:
    {optim: ...}}`).

    family: the backend's name, after those of the backends it derives from, whose parts reach it.
    """
    values = dict(values)
    per_backend = values.pop("per_backend", {}) or {}
    values.pop("note", None)  # for `ls models` alone
    layers = [Layer(origin, values)]
    own = backend or values.get("backend")
    for name in family(own) if own else ():
        if name in per_backend:
            layers.append(Layer(f"{origin} (per_backend.{name})", per_backend[name]))
    return layers


def env_layer(environ: Mapping[str, str] = os.environ, prefix: str = ENV_PREFIX) -> Layer:
    """Values of variables that name a section.

    >>> env_layer({"SAGE_BENCH_OPTIM__LR": "1.0e-5"}).values
    {'optim': {'lr': 1e-05}}
    >>> env_layer({"SAGE_BENCH_EVAL__SAMPLING__SEED": "3"}, EVAL_PREFIX).values
    {'sampling': {'seed': 3}}
    """
    dotted = {}
    for name, text in environ.items():
        if not name.startswith(prefix) or name in NOT_KEYS:
            continue
        # SAGE_BENCH_EVAL__X begins with training's prefix too
        if prefix == ENV_PREFIX and name.startswith(EVAL_PREFIX):
            continue
        key = name[len(prefix) :].lower().replace("__", ".")
        dotted[key] = _yaml_value(key, text, f"environment: {name}")
    return Layer("environment", nest(dotted))


def override_layer(overrides: Sequence[str]) -> Layer:
    """`key=value` words of the command line; values are YAML (`[0.9, 0.95]`, `null`, `true`).

    Raises `UsageError` for a word without `=` or a value that is not YAML.
    """
    dotted = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(
                f"`{word}` is not `key=value`",
                where="command line",
                remedy="write e.g. optim.lr=1e-5",
            )
        dotted[key] = _yaml_value(key, value, "command line")
    return Layer("command line", nest(dotted))


def _yaml_value(key: str, text: str, origin: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"the value of `{key}` is not YAML", where=origin, remedy="quote it"
        ) from error


# ---- merging ------------------------------------------------------------------------------------
def known_keys(model: type[BaseModel] = RunConfig, prefix: str = "") -> list[str]:
    """Dotted keys of a schema."""
    out = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            out += known_keys(kind, f"{prefix}{name}.")
        else:
            out.append(prefix + name)
    return out


def resolve(layers: Sequence[Layer], schema: type[Config], verb: str = "train") -> Resolved[Config]:
    """Merge and validate. Raises `UsageError` naming layer, key, and the closest known key.

    schema: what is configured. verb: whose `--show-config` the remedy names.
    """
    merged, numbers = _merge(layers)
    origins = {key: layers[number].origin for key, number in numbers.items()}
    remedy = f"`sage-bench {verb} --show-config` prints every key"
    # before pydantic, which would take `yes` for 1 and know no layer to name
    for key, value in merged.items():
        reason = lookalike(annotation_of(schema, key), value)
        if reason is not None:
            raise UsageError(
                f"{reason} (it is {value!r})", where=f"{origins[key]}: {key}", remedy=remedy
            )
    if schema is RunConfig:
        _settle_length(merged, origins, numbers)
    try:
        return Resolved(schema.model_validate(nest(merged)), origins)
    except ValidationError as error:
        first = error.errors()[0]  # one at a time: the others often follow from it
        # numbers in the place are positions in a list, and no part of the key
        key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        raise UsageError(
            _explain(first, key, known_keys(schema)),
            where=f"{_origin_of(key, origins)}: {key}",
            remedy=remedy,
        ) from error


def _merge(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, int]]:
    """Dotted keys with their values, and with the number of the layer each comes from."""
    merged: dict[str, Any] = {}
    numbers: dict[str, int] = {}
    for number, layer in enumerate(layers):
        for key, value in flatten(layer.values):
            for old in [k for k in merged if _contains(key, k) or _contains(k, key)]:
                # a mapping that is replaced as a whole, or a value that is opened up
                del merged[old]
                del numbers[old]
            merged[key] = value
            numbers[key] = number
    return merged, numbers


def _contains(section: str, key: str) -> bool:
    return key.startswith(section + ".")


def _settle_length(
    merged: dict[str, Any], origins: dict[str, str], numbers: Mapping[str, int]
) -> None:
    """Of `train.steps` and `train.epochs` the later layer counts; in one layer both are an error.

    Without this rule the epochs of a preset would win over the steps a user types.
    """
    if merged.get("train.epochs") is None or "train.steps" not in merged:
        return
    steps, epochs = numbers["train.steps"], numbers["train.epochs"]
    if origins["train.steps"] == origins["train.epochs"]:
        raise UsageError(
            "train.steps and train.epochs are both given",
            where=origins["train.steps"],
            remedy="give one of them; a later layer's replaces an earlier layer's",
        )
    if steps > epochs:
        merged["train.epochs"] = None
        origins["train.epochs"] = f"{origins['train.steps']} (train.steps)"


def _origin_of(key: str, origins: Mapping[str, str]) -> str:
    for known, origin in origins.items():
        if known == key or _contains(key, known) or _contains(known, key):
            return origin
    return "configuration"


def _explain(error: Any, key: str, keys: Sequence[str]) -> str:
    if error["type"] != "extra_forbidden":
        return f"{error['msg']} (it is {error['input']!r})"
    # most often the section was left out: `lr` for `optim.lr`
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [known for known in keys if known.rsplit(".", 1)[-1] == leaf]
    hint = f"did you mean `{same_leaf[0]}`?" if same_leaf else did_you_mean(key, keys)
    return f"unknown key; {hint}" if hint else "unknown key"
