"""Model presets: one YAML file a model, with its weights' place and settings (`ls models`)."""

from __future__ import annotations

from importlib.resources import files

from sage_bench.config.files import read_yaml
from sage_bench.config.registry import ModelPreset, register_model

for _file in sorted(files(__name__).iterdir(), key=lambda f: f.name):
    if _file.name.endswith(".yaml") and not _file.name.startswith("_"):
        register_model(_file.name[:-5])(
            ModelPreset(
                _file.name[:-5], f"presets/{_file.name}", read_yaml(_file, f"presets/{_file.name}")
            )
        )
