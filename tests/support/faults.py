"""File-system faults injected below one folder: a full disk, a read-only one, a kill.

Every change below the folder is an event with a number and a label: a file opened for writing, a
write, a rename, a removal, an fsync. From event `at` on they fail, as they do when a disk is full
(writes fail, removals work), read-only (all fail) or the process is gone (nothing happens any more;
`Killed` is no `Exception`, so that no handler of ours can do anything about it).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from safetensors import SafetensorError

Kind = Literal["full", "read-only", "kill"]
CODES = {"full": errno.ENOSPC, "read-only": errno.EROFS}
TAKES_SPACE = ("open", "write", "mkdir", "tensors")


class Killed(BaseException):
    """The process is gone."""


class Faults:
    """events: labels of what happened, in order. failed: labels of what was made to fail."""

    def __init__(self, folder: Path, kind: Kind | None = None, at: int = -1):
        self.folder = str(folder.resolve())
        self.kind = kind
        self.at = at
        self.events: list[str] = []
        self.failed: list[str] = []

    def mine(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path relative to the folder, or None when it lies elsewhere."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = os.fspath(path)
        if isinstance(path, bytes):
            path = path.decode()
        if dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        path = os.path.abspath(path)
        return path.removeprefix(self.folder + "/") if path.startswith(self.folder) else None

    def happens(self, what: str, path: str, before: Callable[[], None] = lambda: None) -> None:
        """Count an event, or fail it. before: what a failing one does before it fails."""
        label = f"{what} {re.sub(str(os.getpid()), 'PID', path)}"
        number = len(self.events)
        self.events.append(label)
        if self.kind is None or self.at < 0 or number < self.at:
            return
        if self.kind == "full" and what not in TAKES_SPACE:
            return
        self.failed.append(label)
        if number == self.at:
            before()
        if self.kind == "kill":
            raise Killed(label)
        code = CODES[self.kind]
        raise OSError(code, os.strerror(code), path)


class _File(io.FileIO):
    """A file whose writes are events; a failing one has written its first half."""

    faults: Faults
    label: str

    def write(self, data: Any) -> int:
        half = memoryview(data).cast("B")[: memoryview(data).nbytes // 2]
        self.faults.happens("write", self.label, lambda: _put(super(_File, self), half))
        return super().write(data)


def _put(file: Any, data: memoryview) -> None:
    if len(data):
        file.write(data)


def _wrap_open(faults: Faults, original: Callable[..., Any]) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **named: Any) -> Any:
        path = None if isinstance(file, int) else faults.mine(file)
        if path is None or not set(mode) & set("wax+") or path.endswith(".lock"):
            return original(file, mode, buffering, *args, **named)
        faults.happens("open", path)
        raw = _File(file, mode.replace("b", "").replace("t", ""), opener=named.pop("opener", None))
        raw.faults, raw.label = faults, path
        if "b" in mode:
            return raw if buffering == 0 else io.BufferedWriter(raw)
        return io.TextIOWrapper(io.BufferedWriter(raw), *args, **named)

    return opened


def _wrap(faults: Faults, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(path: Any, *args: Any, **named: Any) -> Any:
        inside = faults.mine(path, named.get("dir_fd") or named.get("src_dir_fd"))
        if inside is not None:
            faults.happens(what, inside)
        return original(path, *args, **named)

    return wrapped


def _wrap_tensors(faults: Faults, original: Callable[..., Any]) -> Callable[..., Any]:
    """safetensors writes without Python's files and has an error type of its own."""

    def wrapped(tensors: Any, filename: Any, *args: Any, **named: Any) -> Any:
        path = faults.mine(filename)
        if path is not None:
            try:
                faults.happens("tensors", path, lambda: Path(filename).write_bytes(b"half"))
            except OSError as error:
                text = f"I/O error: {error.strerror} (os error {error.errno})"
                raise SafetensorError(f"Error while serializing: {text}") from error
        return original(tensors, filename, *args, **named)

    return wrapped


@contextmanager
def faults(folder: Path, kind: Kind | None = None, at: int = -1) -> Iterator[Faults]:
    """Count what changes below the folder, and let it fail from event `at` on."""
    found = Faults(folder, kind, at)
    calls = {"replace": "rename", "rename": "rename", "mkdir": "mkdir", "unlink": "remove"}
    calls |= {"remove": "remove", "rmdir": "remove", "fsync": "fsync", "ftruncate": "truncate"}
    calls |= {"chmod": "chmod"}
    before = {name: getattr(os, name) for name in calls}
    opens = (builtins.open, io.open)
    serialize = safetensors.torch.serialize_file
    try:
        for name, what in calls.items():
            setattr(os, name, _wrap(found, what, before[name]))
        builtins.open = _wrap_open(found, opens[0])
        io.open = _wrap_open(found, opens[1])
        safetensors.torch.serialize_file = _wrap_tensors(found, serialize)
        yield found
    finally:
        for name, original in before.items():
            setattr(os, name, original)
        builtins.open, io.open = opens
        safetensors.torch.serialize_file = serialize
