"""Trained weights in a form that other programs take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sage_bench.generation.adapters import base_of
from sage_bench.generation.model_folders import LABEL, checkpoints
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_json, to_trash, write_json, writing


def newest_checkpoint(run: Path) -> Path:
    """A model folder as it is, or the last checkpoint of a run. Raises `UsageError`."""
    if (run / "config.json").is_file() and not (run / "checkpoints").is_dir():
        return run
    found = checkpoints(run)
    if not found:
        raise UsageError(
            "there is no checkpoint here",
            where=str(run),
            remedy="give the folder of a training run, or one of its checkpoints",
        )
    return found[-1]


def export_merged(run: Path | str, out: Path | str, *, overwrite: bool = False) -> Path:
    """Merge the adapters of a checkpoint into the model they were trained on.

    run: of `train`, or one of its checkpoints. out: becomes an ordinary model folder, in the number
    type the run loaded its base in; sums are taken in float32 and rounded once. overwrite: what
    lies there goes to .trash first. Raises `UsageError` where there is nothing to merge, or a
    folder is in the way.
    """
    source, target = newest_checkpoint(Path(run)), Path(out)
    if base_of(source) is None:
        raise UsageError(
            "these are whole weights: there are no adapters to merge",
            where=str(source),
            remedy="use this folder as the model",
        )
    if target.exists() and any(target.iterdir()):
        if not overwrite:
            raise UsageError(
                "there is something in the way", where=str(target), remedy="give --overwrite"
            )
        to_trash(target)
    partial = target.with_name(f".partial-{target.name}")
    with writing(target):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(source, partial)
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
    return target


def _write(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig

    from sage_bench.generation.local.policy import check_finite, load_model
    from sage_bench.generation.model_folders import load_tokenizer

    config = AutoConfig.from_pretrained(str(source))
    model = load_model(str(source), config.dtype or torch.float32)
    check_finite(model, str(source))
    model.save_pretrained(folder)
    load_tokenizer(str(source)).save_pretrained(folder)
    if (source / LABEL).is_file():
        write_json(folder / LABEL, {**read_json(source / LABEL), "merged_from": str(source)})
