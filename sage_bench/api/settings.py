"""Configurations of training and evaluation from plain arguments: which layers there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.layers import (
    EVAL_PREFIX,
    Layer,
    Resolved,
    env_layer,
    file_layers,
    override_layer,
    read_yaml,
    resolve,
)
from sage_bench.config.nesting import nest
from sage_bench.config.registry import MODELS
from sage_bench.config.schema import RunConfig
from sage_bench.config.values import lookalike
from sage_bench.data.rows import check_source
from sage_bench.engines.registry import ENGINES
from sage_bench.engines.rollouts.registry import ROLLOUTS, kind_and_argument
from sage_bench.generation.model_folders import check_folder, model_path, preset_of
from sage_bench.grading.registry import GRADERS
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS, family
from sage_bench.utils.errors import UsageError, did_you_mean
from sage_bench.utils.files import read_json
from sage_bench.utils.registry import load_file

FLAGS = "command line"
YAML = (".yaml", ".yml", ".json")

Overrides = Sequence[str] | Mapping[str, Any]


# ---- training -----------------------------------------------------------------------------------
def training_config(
    *,
    backend: str | None = None,
    model: str | None = None,
    data: str | None = None,
    engine: str | None = None,
    configs: Sequence[str] = (),
    overrides: Overrides = (),
    backend_files: Sequence[str] = (),
) -> Resolved[RunConfig]:
    """The configuration of a training run, checked as far as it can be without loading weights.

    configs: YAML files and names of presets. overrides: `key=value` words, or dotted keys with
    their values. Raises `UsageError` for anything wrong among them.
    """
    for file in backend_files:
        load_file(file)
    # the method decides which parts of presets and files apply, so its name is settled first
    files = [_config_file(word) for word in configs]
    words = overrides_layer(overrides)
    name = backend or words.values.get("backend") or _last(files, "backend")
    chosen = model or _last_path(files)
    preset = _preset_for(chosen)
    layers: list[Layer] = []
    if preset is not None:
        origin = f"preset {preset}"
        if preset != chosen:
            origin += f" (named by {chosen}/sage_bench.json)"
        layers += file_layers(MODELS.get(preset).values, origin, name, family)
    # below the files: a user's file may change what a method changes
    if name and BACKENDS.get(name).objective:
        layers.append(Layer(f"backend {name}", {"objective": BACKENDS.get(name).objective}))
    for origin, values in files:
        layers += file_layers(values, origin, name, family)
    layers.append(env_layer())
    flags = {"backend": backend, "model.path": model, "data.source": data, "engine.name": engine}
    layers.append(flag_layer(flags))
    layers.append(words)
    if preset is not None and preset == chosen:
        # a preset's name stands for its weights wherever it is given as the model
        layers.append(_weights_of(preset))
    resolved = resolve(layers, RunConfig)
    check_training(resolved)
    return resolved


def check_training(resolved: Resolved[RunConfig]) -> None:
    """Raise `UsageError` for names that do not exist and for values that cannot work."""
    config = resolved.config
    for key, value, flag in (
        ("model.path", config.model.path, "--model"),
        ("data.source", config.data.source, "--data"),
    ):
        if not value:
            raise UsageError(
                f"`{key}` is not set", remedy=f"give {flag}, or a --config that sets it"
            )
    method = BACKENDS.get(config.backend)
    ENGINES.get(config.engine.name)
    ROLLOUTS.get(kind_and_argument(config.engine.rollouts)[0])
    GRADERS.get(config.grader)
    check_source(config.data.source)
    if config.validation.source:
        check_source(config.validation.source)
    check_model(config.model.path)
    check_lengths(resolved)
    # the schema does not know the switches; the method's own configuration does
    for name, value in config.method.items():
        field = method.Config.model_fields.get(name)
        reason = None if field is None else lookalike(field.annotation, value)
        if reason is not None:
            origin = resolved.origins.get(f"method.{name}", "configuration")
            raise UsageError(f"{reason} (it is {value!r})", where=f"{origin}: method.{name}")


def check_model(path: str) -> None:
    """Raise `UsageError` or `ModelError` when a name is no preset, folder or Hub id."""
    # without a slash it is no Hub id: most likely a preset with a letter too few
    if not Path(model_path(path)).exists() and "/" not in path:
        hint = did_you_mean(path, MODELS.names())
        raise UsageError(
            f"there is no model `{path}`; {hint}".rstrip("; "),
            remedy="give a folder, a Hub id, or one of " + ", ".join(MODELS.names()),
        )
    check_folder(model_path(path))


def check_lengths(resolved: Resolved[RunConfig]) -> None:
    """Raise `UsageError` when somebody asks for more tokens than the model's context has.

    Only for a model that lies on this machine: its config.json says how long the context is.
    Defaults that are too long are a warning (`warnings_of`).
    """
    context = context_of(resolved.config.model.path)
    if context is None:
        return
    sampling = resolved.config.sampling
    for name, length in (
        ("max_tokens", sampling.max_tokens),
        ("max_prompt_tokens", sampling.max_prompt_tokens),
    ):
        origin = resolved.origins.get(f"sampling.{name}")
        if length >= context and origin is not None:
            raise UsageError(
                f"{length} tokens do not fit the model's context of {context}",
                where=f"{origin}: sampling.{name}",
                remedy=f"lower it below {context}, or take a model with a longer context",
            )


def context_of(path: str) -> int | None:
    """The context of a model folder in tokens, None where nobody says."""
    file = Path(model_path(path)) / "config.json"
    if not file.is_file():
        return None
    found = read_json(file)
    length = found.get("max_position_embeddings")
    return length if isinstance(length, int) else None


def warnings_of(resolved: Resolved[RunConfig]) -> list[str]:
    """What will train, but hardly as it is meant."""
    config = resolved.config
    method = BACKENDS.get(config.backend)
    size = make_config(method, config.method, "method").group_size
    warnings = []
    if method.needs and size == 1:
        warnings.append(
            "method.group_size=1: a group of one completion has nothing to be compared with, so"
            " its advantage is zero and nothing is learned; take 2 or more"
        )
    context = context_of(config.model.path)
    longest = config.sampling.max_prompt_tokens + config.sampling.max_tokens
    if context is not None and longest > context:
        warnings.append(
            f"sampling.max_prompt_tokens + sampling.max_tokens = {longest} is more than the"
            f" model's context of {context}: the longest prompts will not fit"
        )
    return warnings


def _config_file(word: str) -> tuple[str, dict[str, Any]]:
    """(origin, values) of one `--config`: a preset's name, or a YAML file."""
    if word in MODELS:
        return f"preset {word}", dict(MODELS.get(word).values)
    path = Path(word)
    if path.suffix not in YAML and not path.exists():
        hint = did_you_mean(word, MODELS.names())
        raise UsageError(
            f"there is no such file or preset; {hint}".rstrip("; "),
            where=word,
            remedy="give a YAML file, or one of " + ", ".join(MODELS.names()),
        )
    return word, read_yaml(path, word)


def _last(files: Sequence[tuple[str, dict[str, Any]]], key: str) -> Any:
    return next((values[key] for _, values in reversed(files) if key in values), None)


def _last_path(files: Sequence[tuple[str, dict[str, Any]]]) -> str | None:
    for _, values in reversed(files):
        section = values.get("model")
        if isinstance(section, Mapping) and "path" in section:
            return str(section["path"])
    return None


def _preset_for(model: str | None) -> str | None:
    """The preset a model names, or the one its own folder names."""
    if not model:
        return None
    return model if model in MODELS else preset_of(model)


def _weights_of(preset: str) -> Layer:
    path = MODELS.get(preset).values["model"]["path"]
    return Layer(f"preset {preset}", {"model": {"path": path}})


# ---- evaluation ---------------------------------------------------------------------------------
def evaluation_config(
    *,
    flags: Mapping[str, Any] | None = None,
    configs: Sequence[str] = (),
    overrides: Overrides = (),
) -> Resolved[EvalConfig]:
    """The configuration of an evaluation: which model, which tasks, how they are sampled.

    flags: dotted keys with their values, None where a flag was not given. configs: YAML files.
    Raises `UsageError` naming file, key and the closest known key.
    """
    layers = [Layer(word, read_yaml(Path(word), word)) for word in configs]
    layers.append(env_layer(prefix=EVAL_PREFIX))
    layers.append(flag_layer(flags or {}))
    layers.append(overrides_layer(overrides))
    resolved = resolve(layers, EvalConfig, "eval")
    for key, value, flag in (
        ("model.path", resolved.config.model.path, "--model"),
        ("tasks", resolved.config.tasks, "--tasks"),
    ):
        if not value:
            raise UsageError(
                f"`{key}` is not set", remedy=f"give {flag}, or a --config that sets it"
            )
    return resolved


# ---- shared -------------------------------------------------------------------------------------
def flag_layer(flags: Mapping[str, Any]) -> Layer:
    """The layer of flags; None, or an empty list, is a flag that was not given."""
    given = {key: value for key, value in flags.items() if value is not None and value != []}
    return Layer(FLAGS, nest(given))


def overrides_layer(overrides: Overrides) -> Layer:
    """The layer of `key=value` words, or of dotted keys from Python."""
    if isinstance(overrides, Mapping):
        return Layer("overrides", nest(overrides))
    return override_layer(overrides)
