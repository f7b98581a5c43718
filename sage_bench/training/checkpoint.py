"""Checkpoints: a folder is complete or does not exist.

`checkpoints/step_000050/` holds the model as `transformers` loads it, and beside it what the run
needs to go on: optimizer.safetensors, engine.json, method.json, run.json. It is written under
another name and renamed when whole. files.json holds a digest of every file, so that damage is seen
before anything is loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from sage_bench.data.schema import CheckpointFiles, MethodState, RunState
from sage_bench.generation.model_folders import LABEL
from sage_bench.utils.errors import DataError, SageBenchError
from sage_bench.utils.files import no_space, share, write_json, writing

if TYPE_CHECKING:  # reports read the names of checkpoints, and need neither torch nor methods
    from sage_bench.engines.base import Engine
    from sage_bench.methods.base import Method

FILES = "files.json"
OPTIMIZER = "optimizer.safetensors"
NEEDED = (OPTIMIZER, "engine.json", "method.json", "run.json")
RESUMABLE = 2  # newest checkpoints that keep their optimiser state
_NAME = re.compile(r"step_(\d{6,})")


def name(step: int) -> str:
    return f"step_{step:06d}"


def partial_of(folder: Path, step: int) -> Path:
    """Where a checkpoint lies while it is written."""
    return folder / "checkpoints" / f".partial-{name(step)}"


def steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints of a run, ascending.

    Empty folders and files that are only called like one are not checkpoints.
    """
    found = []
    for path in (folder / "checkpoints").glob("step_*"):
        match = _NAME.fullmatch(path.name)
        if match and (path / "run.json").is_file():
            found.append(int(match[1]))
    return sorted(found)


def save(
    folder: Path,
    step: int,
    engine: Engine,
    method: Method,
    *,
    state: dict[str, Any],
    label: dict[str, Any],
    keep: int | None = None,
) -> Path:
    """Write the checkpoint of `step` (weights after that many steps). Returns its folder.

    Older ones than the newest two lose their optimiser state, then go (`keep`). state goes to
    run.json; label to `sage_bench.json`, which says what these weights are wherever the folder
    goes. Raises `SageBenchError` when it cannot be written; the earlier checkpoints are untouched.
    """
    final = folder / "checkpoints" / name(step)
    partial = partial_of(folder, step)
    with writing(final):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _save_engine(engine, partial)
        method_state = MethodState(state=state_of(method, step), prepared=method.prepared)
        method_state.write(partial / "method.json")
        RunState.model_validate({"step": step, **state}).write(partial / "run.json")
        write_json(partial / LABEL, {"step": step, **label})
        # last, over everything else: a checkpoint without digests was not finished
        seal(partial)
        # a run that went back to an earlier step writes the later ones a second time
        _remove(final)
        os.replace(partial, final)
        # only now may older checkpoints go: the new one survives a power cut
        _sync_folder(final.parent)
        thin_out(folder, keep)
    return final


def state_of(method: Method, step: int) -> dict[str, Any]:
    """What the method wants kept. Raises `MethodError` where JSON would not give it back."""
    from sage_bench.methods.guard import Guard, described

    guard = Guard(method, step)
    with guard.calling("state_dict"):
        state = method.state_dict()
    if not isinstance(state, dict):
        raise guard.fault("state_dict", f"it returns {described(state)}", "return a dict")
    kept: dict[str, Any] = guard.plain("state_dict", state)
    return kept


def _save_engine(engine: Engine, partial: Path) -> None:
    try:
        engine.save(partial)
    except SafetensorError as error:  # its own type even where the disk is full
        raise no_space(partial, OSError(str(error))) from error


def seal(partial: Path) -> None:
    """Bring a finished checkpoint to the disk and note the digest of each of its files."""
    share(partial)
    files = {}
    for file in sorted(p for p in partial.iterdir() if p.is_file()):
        files[file.name] = digest(file, sync=True)
    CheckpointFiles(files=files).write(partial / FILES)
    digest(partial / FILES, sync=True)


def digest(file: Path, *, sync: bool = False) -> str:
    """SHA-256 of a file, in hexadecimal digits. sync: bring it to the disk as well."""
    with file.open("rb") as f:
        if sync:
            os.fsync(f.fileno())
        return hashlib.file_digest(f, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """After a rename: the new name must be on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def thin_out(folder: Path, keep: int | None) -> None:
    """Remove the optimiser state of all but the newest two checkpoints, and all but `keep`."""
    found = steps(folder)
    for old in found[:-RESUMABLE]:
        (folder / "checkpoints" / name(old) / OPTIMIZER).unlink(missing_ok=True)
    if keep is not None:
        for old in found[:-keep]:
            _remove(folder / "checkpoints" / name(old))


def _remove(path: Path) -> None:
    """Remove a checkpoint, or what has its name. A kill in between leaves no half of it."""
    if not path.exists() and not path.is_symlink():
        return
    # renamed first: half a folder under the real name would pass for a damaged checkpoint
    leaving = path.with_name(f".partial-gone-{path.name}")
    shutil.rmtree(leaving, ignore_errors=True)
    os.replace(path, leaving)
    if leaving.is_dir() and not leaving.is_symlink():
        shutil.rmtree(leaving)
    else:
        leaving.unlink()


def damage(path: Path) -> str | None:
    """Why a run cannot go on from this checkpoint; None when it can.

    Checkpoints of versions that wrote no digests are only asked for their files.
    """
    try:
        for file in NEEDED:
            if not (path / file).is_file():
                return f"{file} is missing"
        # the needed files are asked for before: a digest list cannot list what was never there
        sealed = CheckpointFiles.read_or_none(path / FILES)
        if sealed is None:
            return None
        for file, expected in sealed.files.items():
            if not (path / file).is_file():
                return f"{file} is missing"
            if digest(path / file) != expected:
                return f"{file} is not what was written"
    except DataError as error:
        return f"{FILES}: {error.what}"
    except OSError as error:
        return f"{error.filename or path.name} cannot be read ({error.strerror})"
    return None


def load_step(folder: Path, step: int, engine: Engine, method: Method) -> RunState:
    """Bring engine and method to a checkpoint that is known to be intact: another rank looked."""
    return _load(folder / "checkpoints" / name(step), engine, method)


def load_latest(
    folder: Path, engine: Engine, method: Method, warn: Callable[[str], None] = lambda text: None
) -> RunState | None:
    """Bring engine and method to the newest intact checkpoint.

    Returns its run.json, or None when there is no checkpoint at all. Newer ones that are damaged
    are set aside (`.damaged-step_...`), with a word. Raises `SageBenchError` when none is intact.
    """
    checkpoints = folder / "checkpoints"
    with writing(checkpoints):
        for leftover in checkpoints.glob(".partial-*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    found = steps(folder)
    for path in sorted(checkpoints.glob("step_*")):
        if path.name not in {name(step) for step in found}:
            warn(f"{path} is not a checkpoint (it has no run.json): passed over")
    damaged: list[tuple[Path, str]] = []
    # from the newest down; only those that are looked at are read in full
    for step in reversed(found):
        path = checkpoints / name(step)
        reason = damage(path)
        if reason is None:
            state = _load(path, engine, method)
            # after the load: had it failed, the newer ones would be the only trace of what happened
            _set_aside(damaged, path, warn)
            return state
        damaged.append((path, reason))
    if damaged:
        listed = "; ".join(f"{path.name}: {reason}" for path, reason in damaged)
        raise SageBenchError(
            f"no checkpoint is intact ({listed})",
            where=str(checkpoints),
            remedy=(
                "restore one from a copy, begin again with --overwrite, or start in another --out"
                " with --model set to one whose weights are whole"
            ),
        )
    return None


def _set_aside(damaged: list[tuple[Path, str]], used: Path, warn: Callable[[str], None]) -> None:
    for path, reason in damaged:
        aside = path.with_name(f".damaged-{path.name}")
        with writing(path):
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
        warn(f"{path} is damaged ({reason}): set aside as {aside.name}; going on from {used.name}")


def _load(path: Path, engine: Engine, method: Method) -> RunState:
    from sage_bench.methods.guard import Guard

    state = RunState.read(path / "run.json")
    saved = MethodState.read(path / "method.json")
    try:
        engine.load(path)
    except SafetensorError as error:
        raise SageBenchError(
            f"weights or optimiser state cannot be read: {error}",
            where=str(path),
            remedy="remove this checkpoint; the run goes on from the one before",
        ) from error
    method.prepared = saved.prepared
    with Guard(method, state.step).calling("load_state_dict"):
        method.load_state_dict(saved.state)
    return state
