"""Model folders: where they are, what is in them, and errors that say what is missing. Loads no
weights."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import ModelError

LABEL = "sage_bench.json"  # beside weights we wrote: {"preset", "backend", "seed", "step"}
# model.path of a policy that ships with this package: package:data/tiny_policies/llama
PACKAGED = "package:"


def model_path(path: str) -> str:
    """A folder or Hub id `transformers` understands."""
    if path.startswith(PACKAGED):
        return str(files("sage_bench") / path.removeprefix(PACKAGED))
    return path


def check_folder(path: str) -> None:
    """Raise `ModelError` when `path` is meant as a folder and is not a model. Hub ids pass."""
    folder = Path(path)
    if not folder.exists():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise ModelError(
                "there is no such model folder, preset or Hub id",
                where=path or "model.path",
                remedy=remedy(path),
            )
    elif not (folder / "config.json").is_file():
        raise ModelError(
            "this is not a model folder: config.json is missing", where=path, remedy=remedy(path)
        )


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """The tokenizer of a folder or Hub id. Raises `ModelError`."""
    from transformers import AutoTokenizer

    check_folder(path)
    try:
        return AutoTokenizer.from_pretrained(path, revision=revision)
    # OSError, ValueError, KeyError, types of tokenizers and hub: what the user needs is the path
    except Exception as error:
        raise ModelError(
            f"no tokenizer can be loaded: {type(error).__name__}: {first_line(error)}",
            where=path,
            remedy=remedy(path),
        ) from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def remedy(path: str) -> str:
    if Path(path).exists():
        return (
            "the folder needs config.json, model.safetensors and tokenizer files as"
            " `save_pretrained` writes them"
        )
    return (
        "give a model folder, a preset (`sage-bench ls models`), or a Hub id this machine can reach"
    )


def preset_of(path: str) -> str | None:
    """The preset whose settings fit a folder we wrote (`sage_bench.json` beside the weights), or
    None."""
    file = Path(model_path(path)) / LABEL
    if not file.is_file():
        return None
    preset: str | None = json.loads(file.read_text(encoding="utf-8")).get("preset")
    return preset
