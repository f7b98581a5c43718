"""The registry of model presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sage_bench.utils.registry import Registry


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """A named configuration layer. file: where it is written."""

    name: str
    file: str
    values: dict[str, Any]

    @property
    def note(self) -> str:
        """One line for `sage-bench ls models`."""
        return str(self.values.get("note", ""))


MODELS: Registry[ModelPreset] = Registry(
    "model preset", package="sage_bench.config.presets", group="sage_bench.models"
)
register_model = MODELS.register
