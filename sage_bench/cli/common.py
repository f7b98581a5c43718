"""What several verbs share: configuration from flags, quiet libraries, examples in the help."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sage_bench.config.layers import Layer, Resolved

if TYPE_CHECKING:
    from sage_bench.evaluation.tasks.loading import DataOptions


def quiet_libraries() -> None:
    """No progress bars and advice of other people's libraries between our own lines. Before they
    are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned text on stdout: nothing is cut, and it reads the same on a terminal, in a file and in
    a pipe."""
    cells = [[str(c) if c is not None else "" for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in (cells[0], ["-" * w for w in widths], *cells[1:]):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def data_options(
    wanted: Iterable[str],
    data: list[str] | None,
    *,
    offline: bool,
    gated: str,
    gold_corrections: str,
) -> DataOptions:
    """--data, --offline, --gated and --gold-corrections of the verbs that read benchmarks. Raises
    `UsageError`."""
    from sage_bench.utils.errors import UsageError

    for flag, value, known in (
        ("--gated", gated, ("skip", "fail")),
        ("--gold-corrections", gold_corrections, ("on", "off")),
    ):
        if value not in known:
            raise UsageError(f"`{value}` is neither {known[0]} nor {known[1]}", where=flag)
    if offline:  # before any library that reads these variables is imported
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from sage_bench.evaluation.tasks.benchmarks import data_files
    from sage_bench.evaluation.tasks.loading import DataOptions

    return DataOptions(
        data_files(data or [], wanted),
        offline,
        gold_corrections == "on",
        "fail" if gated == "fail" else "skip",
    )


def training_config(
    *,
    backend: str | None,
    model: str | None,
    data: str | None,
    engine: str | None,
    configs: list[str],
    overrides: list[str],
    backend_files: list[str],
) -> Resolved:
    """Layers of a training run, from flags. Raises `UsageError` for anything wrong among them."""
    from sage_bench.config.layers import (
        env_layer,
        file_layers,
        nest,
        override_layer,
        read_yaml,
        resolve,
    )
    from sage_bench.config.registry import MODELS
    from sage_bench.data.rows import check_source
    from sage_bench.engines.registry import ENGINES
    from sage_bench.generation.model_folders import preset_of
    from sage_bench.grading.registry import GRADERS
    from sage_bench.methods.registry import BACKENDS
    from sage_bench.utils.errors import UsageError
    from sage_bench.utils.registry import load_file

    for file in backend_files:
        load_file(file)
    files = [
        (f"preset {c}", dict(MODELS.get(c).values)) if c in MODELS else (c, read_yaml(Path(c), c))
        for c in configs
    ]
    words = override_layer(overrides)
    name = (
        backend
        or words.values.get("backend")
        or next((v["backend"] for _, v in reversed(files) if "backend" in v), None)
    )
    asked = model or next(
        (m["path"] for _, v in reversed(files) if (m := v.get("model")) and "path" in m), None
    )
    preset = asked if asked in MODELS else preset_of(asked) if asked else None
    layers: list[Layer] = []
    if preset:
        origin = (
            f"preset {preset}"
            if preset == asked
            else f"preset {preset} (named by {asked}/sage_bench.json)"
        )
        layers += file_layers(dict(MODELS.get(preset).values), origin, name)
    if name and BACKENDS.get(name).objective:
        layers.append(Layer(f"backend {name}", {"objective": BACKENDS.get(name).objective}))
    for origin, values in files:
        layers += file_layers(values, origin, name)
    layers.append(env_layer())
    flags = {"backend": backend, "model.path": model, "data.source": data, "engine.name": engine}
    layers += [
        Layer("command line", nest({k: v for k, v in flags.items() if v is not None})),
        words,
    ]
    if (
        preset == asked and preset
    ):  # a preset's name stands for its weights wherever it is given as the model
        layers.append(
            Layer(
                f"preset {preset}", {"model": {"path": MODELS.get(preset).values["model"]["path"]}}
            )
        )
    resolved = resolve(layers)
    for key, value, flag in (
        ("model.path", resolved.config.model.path, "--model"),
        ("data.source", resolved.config.data.source, "--data"),
    ):
        if not value:
            raise UsageError(
                f"`{key}` is not set", remedy=f"give {flag}, or a --config that sets it"
            )
    BACKENDS.get(resolved.config.backend)
    ENGINES.get(resolved.config.engine.name)
    GRADERS.get(resolved.config.grader)
    check_source(resolved.config.data.source)
    return resolved
