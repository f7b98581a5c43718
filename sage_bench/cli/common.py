"""What several verbs share: configuration from flags, quiet libraries, examples in the help."""

from __future__ import annotations

import os
from pathlib import Path

from sage_bench.layers import Layer, Resolved


def quiet_libraries() -> None:
    """No progress bars and advice of other people's libraries between our own lines. Before they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")


def training_config(
    *, backend: str | None, model: str | None, data: str | None, engine: str | None, configs: list[str], overrides: list[str], backend_files: list[str],
) -> Resolved:
    """Layers of a training run, from flags. Raises `UsageError` for anything wrong among them."""
    from sage_bench.data.problems import check_source
    from sage_bench.errors import UsageError
    from sage_bench.layers import env_layer, file_layers, nest, override_layer, read_yaml, resolve
    from sage_bench.pretrained import preset_of
    from sage_bench.registry import BACKENDS, ENGINES, GRADERS, MODELS, load_file

    for file in backend_files:
        load_file(file)
    files = [(f"preset {c}", dict(MODELS.get(c).values)) if c in MODELS else (c, read_yaml(Path(c), c)) for c in configs]
    words = override_layer(overrides)
    name = backend or words.values.get("backend") or next((v["backend"] for _, v in reversed(files) if "backend" in v), None)
    asked = model or next((m["path"] for _, v in reversed(files) if (m := v.get("model")) and "path" in m), None)
    preset = asked if asked in MODELS else preset_of(asked) if asked else None
    layers: list[Layer] = []
    if preset:
        origin = f"preset {preset}" if preset == asked else f"preset {preset} (named by {asked}/sage_bench.json)"
        layers += file_layers(dict(MODELS.get(preset).values), origin, name)
    if name and BACKENDS.get(name).objective:
        layers.append(Layer(f"backend {name}", {"objective": BACKENDS.get(name).objective}))
    for origin, values in files:
        layers += file_layers(values, origin, name)
    layers.append(env_layer())
    flags = {"backend": backend, "model.path": model, "data.source": data, "engine.name": engine}
    layers += [Layer("command line", nest({k: v for k, v in flags.items() if v is not None})), words]
    if preset == asked and preset:  # a preset's name stands for its weights wherever it is given as the model
        layers.append(Layer(f"preset {preset}", {"model": {"path": MODELS.get(preset).values["model"]["path"]}}))
    resolved = resolve(layers)
    for key, value, flag in (("model.path", resolved.config.model.path, "--model"), ("data.source", resolved.config.data.source, "--data")):
        if not value:
            raise UsageError(f"`{key}` is not set", remedy=f"give {flag}, or a --config that sets it")
    BACKENDS.get(resolved.config.backend)
    ENGINES.get(resolved.config.engine.name)
    GRADERS.get(resolved.config.grader)
    check_source(resolved.config.data.source)
    return resolved
