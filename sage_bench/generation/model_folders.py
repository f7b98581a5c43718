"""Model folders: where they are, what is in them, and errors that say what is missing. Loads no
weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sage_bench.utils.errors import ModelError
from sage_bench.utils.progress import stderr

# beside weights we wrote: {"preset", "backend", "seed", "step", "template_options"}
LABEL = "sage_bench.json"
# model.path of a policy that ships with this package: package:data/tiny_policies/llama
PACKAGED = "package:"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


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
    elif not (folder / "config.json").is_file() or checkpoints(folder):
        raise ModelError(_not_a_model(folder), where=path, remedy=remedy(path))


def checkpoints(folder: Path) -> list[Path]:
    """The models in a run folder, oldest first; empty where the folder is none."""
    inside = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found = [p for p in inside.glob("step_*") if (p / "config.json").is_file()]
    return sorted(found)


def _not_a_model(folder: Path) -> str:
    found = checkpoints(folder)
    if not found:
        return "this is not a model folder: config.json is missing"
    return f"this is a run folder, its {len(found)} checkpoints are models"


def load_tokenizer(
    path: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> Any:
    """The tokenizer of a folder or Hub id. Raises `ModelError`."""
    from transformers import AutoTokenizer

    check_folder(path)
    folder = Path(path)
    if folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        if not trust_remote_code:  # code of a model may read files of any name
            raise ModelError(
                "the folder has no tokenizer files",
                where=path,
                remedy=(
                    "copy tokenizer.json and tokenizer_config.json from the model these weights"
                    " were made from"
                ),
            )
    try:
        return AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code
        )
    # OSError, ValueError, KeyError, types of tokenizers and hub: what the user needs is the path
    except Exception as error:
        raise refused(error, path, "no tokenizer can be loaded") from error


def refused(error: Exception, path: str, problem: str) -> ModelError:
    """What transformers would not load, in one paragraph."""
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{problem}: the model brings Python code of its own, which is not run",
            where=path,
            remedy=(
                "read that code; if you trust it, give `--trust-remote-code`"
                " (model.trust_remote_code=true)"
            ),
        )
    return ModelError(
        f"{problem}: {type(error).__name__}: {first_line(error)}", where=path, remedy=remedy(path)
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def remedy(path: str) -> str:
    found = checkpoints(Path(path))
    if found:
        others = ", ".join(p.name for p in reversed(found[-6:-1]))
        return f"give a checkpoint, e.g. {found[-1]}" + (f" (or {others})" if others else "")
    if Path(path).exists():
        return (
            "the folder needs config.json, model.safetensors and tokenizer files as"
            " `save_pretrained` writes them"
        )
    return (
        "give a model folder, a preset (`sage-bench ls models`), or a Hub id this machine can reach"
    )


# ---- what weights we wrote say of themselves -----------------------------------------------------
def read_label(path: str) -> dict[str, Any]:
    """`sage_bench.json` beside the weights; {} of a model we did not write."""
    file = Path(model_path(path)) / LABEL
    if not file.is_file():
        return {}
    saved = json.loads(file.read_text(encoding="utf-8"))
    return saved if isinstance(saved, dict) else {}


def preset_of(path: str) -> str | None:
    """The preset whose settings fit a folder we wrote, or None."""
    preset: str | None = read_label(path).get("preset")
    return preset


def template_options_of(path: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of the chat template: those the weights were trained with, unless others are given.
    Says so on stderr where a given one differs."""
    label = read_label(path)
    saved = dict(label.get("template_options") or {})
    chosen = {**saved, **dict(given or {})}
    differ = [k for k in chosen if k not in saved or chosen[k] != saved[k]]
    if differ and "template_options" in label:
        shown = ", ".join(f"{k}: {saved.get(k, 'not set')} then, {chosen[k]} now" for k in differ)
        _warn_once(f"warning: {path} was trained with other template options ({shown})")
    return chosen


@lru_cache
def _warn_once(text: str) -> None:
    stderr().print(text, markup=False)
