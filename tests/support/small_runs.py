"""Training runs of a second: the packaged policy, supervised, two prompts a step."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sage_bench.api.settings import training_config
from sage_bench.training import loop, setup
from sage_bench.training.session import Run

WORDS = [
    "train.steps=4",
    # the first steps of the preset's warm-up hardly move the weights
    "optim.warmup_steps=0",
    "train.save_every=1",
    "train.prompts_per_step=2",
    "method.group_size=2",
    "sampling.max_tokens=16",
    "validation.limit=2",
    "validation.samples=1",
    "log.tensorboard=false",
]


def config(*more: str, backend: str = "sft", **flags: Any) -> Any:
    flags = {"model": "tiny-llama", "data": "tiny", "backend_files": [], **flags}
    return training_config(
        backend=backend, engine=None, configs=[], overrides=[*WORDS, *more], **flags
    )


def build(folder: Path, *more: str, overwrite: bool = False, **flags: Any) -> Run:
    return setup.build(config(*more, **flags), folder, quiet=True, overwrite=overwrite)


def train(folder: Path, *more: str, **flags: Any) -> Path:
    return loop.train(build(folder, *more, **flags))


def command(folder: Path, *more: str, backend: str = "sft", data: str = "tiny") -> list[str]:
    """The same as a command line."""
    words = ["train", "--backend", backend, "--model", "tiny-llama", "--data", data, "-q"]
    return [sys.executable, "-m", "sage_bench", *words, "--out", str(folder), *WORDS, *more]


def weights(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()


def distance(ours: Path, theirs: Path) -> float:
    """Of the tensors of two files, relative to their norm."""
    a, b = load_file(ours), load_file(theirs)
    assert a.keys() == b.keys()
    gap = torch.cat([(a[name].double() - b[name].double()).flatten() for name in a]).norm()
    return float(gap / torch.cat([tensor.double().flatten() for tensor in b.values()]).norm())
