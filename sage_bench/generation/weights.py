"""Hashes of weights and texts, for fingerprints. Loads nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sage_bench.generation.adapters import base_of, merged_tensors

# weight files up to this size are hashed whole, larger ones by size and their first and last part
WHOLE = 1 << 26
PICKLED = ("*.bin", "*.pt", "*.pth")
NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "rng_state")  # what trainers put beside


def hash_weights(path: str, revision: str | None = None) -> str:
    """Hash of the weight files of a folder; of the name (and revision, if one is given) for a Hub
    id. Adapters count with the model they are for."""
    files = weight_files(Path(path))
    name = f"{path}@{revision}" if revision else path
    digest = hashlib.sha256(b"" if files else name.encode())
    base = base_of(path)
    if base is not None:
        digest.update(f"base {hash_weights(base)}\n".encode())
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as f:
            if size <= WHOLE:
                digest.update(f.read())
            else:
                digest.update(f.read(WHOLE // 2))
                f.seek(-WHOLE // 2, 2)
                digest.update(f.read())
    return digest.hexdigest()[:16]


def weight_files(folder: Path) -> list[Path]:
    """The files transformers takes weights from: safetensors where there are some, else pickled
    ones; [] for a Hub id.

    The state of an optimiser is not among them: it may be deleted, and the model is the same.
    """
    if not folder.is_dir():
        return []
    for patterns in (("*.safetensors",), PICKLED):
        found = [f for pattern in patterns for f in folder.glob(pattern)]
        weights = sorted(f for f in found if not f.name.startswith(NOT_WEIGHTS))
        if weights:
            return weights
    return []


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hash of weights in memory (names, types, shapes, bytes)."""
    return hash_in_turn(sorted(tensors.items()))


def hash_in_turn(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """The same of (name, tensor) as they come: only one of them need be in memory."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return f"memory:{digest.hexdigest()[:16]}"


def policy_digest(model: Any) -> str:
    """Hash of a model's weights as they are now, adapters merged in."""
    return hash_in_turn(merged_tensors(model))


def short_sha(text: str) -> str:
    """First 16 hexadecimal digits of a text's SHA-256.

    >>> short_sha("")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]
