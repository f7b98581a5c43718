"""From a model's name to the sampler that draws from it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from sage_bench.config.registry import MODELS
from sage_bench.generation.model_folders import check_folder, model_path
from sage_bench.generation.registry import SAMPLERS
from sage_bench.generation.samplers.base import Sampler

FAKE = "fake:"
OWN_WEIGHTS = ("hf", "local", "vllm")  # samplers that load a folder or Hub id


def path_of(model: str) -> str:
    """The folder or Hub id that a preset's name stands for; anything else as it is, with packaged
    policies in their place."""
    return model_path(MODELS.get(model).values["model"]["path"] if model in MODELS else model)


def preset_template(model: str) -> dict[str, Any]:
    """Options of the chat template that a preset names; {} for anything else."""
    if model not in MODELS:
        return {}
    return dict(MODELS.get(model).values["model"].get("template_options") or {})


def resolve(model: str, sampler: str = "auto") -> tuple[str, str]:
    """(path or name of the model, name of the sampler). Raises `UsageError` or `ModelError` before
    anything heavy is imported.

    auto: `fake` for fake:P; `vllm` where it is installed and there is a GPU; else `hf`.

    >>> resolve("fake:0.6")
    ('fake:0.6', 'fake')
    """
    if model.startswith(FAKE):
        return model, "fake" if sampler == "auto" else sampler
    path = path_of(model)
    if sampler in ("auto", *OWN_WEIGHTS):
        check_folder(path)
    return path, _auto() if sampler == "auto" else sampler


def _auto() -> str:
    if find_spec("vllm") is None:
        return "hf"
    import torch

    return "vllm" if torch.cuda.is_available() else "hf"


def make(path: str, sampler: str, options: Mapping[str, Any]) -> Sampler:
    """The sampler. Raises `UsageError` naming the options it has when one does not fit."""
    made: Sampler = SAMPLERS.make(sampler, {"model": path, **options}, where=f"sampler {sampler}")
    return made
