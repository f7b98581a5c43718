"""Model presets: one YAML file a model, with the weights' place and the settings that go with it
(`sage-bench ls models`)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sage_bench.config.layers import read_yaml
from sage_bench.utils.registry import register_model


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """A named configuration layer. file: where it is written."""

    name: str
    file: str
    values: dict[str, Any]

    @property
    def note(self) -> str:
        return self.values.get("note", "")


for _file in sorted(files(__name__).iterdir(), key=lambda f: f.name):
    if _file.name.endswith(".yaml") and not _file.name.startswith("_"):
        register_model(_file.name[:-5])(
            ModelPreset(
                _file.name[:-5], f"presets/{_file.name}", read_yaml(_file, f"presets/{_file.name}")
            )
        )
