"""Files that survive a kill: atomic writes, append-only JSON lines, a lock against a second
writer."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from sage_bench.utils.errors import SageBenchError

LOCK = ".lock"  # in every folder that has one writer at a time


def make_folder(path: Path) -> Path:
    """Create a folder and prove it can be written. Raises `SageBenchError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SageBenchError(
            f"the output folder cannot be written: {error.strerror}",
            where=str(path),
            remedy="choose another --out",
        ) from error
    return path


def to_trash(folder: Path) -> None:
    """Move what a folder holds aside (`.trash/` beside it): somebody may still need it.

    The caller holds the folder's lock, and goes on holding it: `.lock` stays. Checkpoints go first,
    so that a kill in between never leaves them behind without the files that describe them.
    """
    if not folder.exists():
        return
    held = sorted(p for p in folder.iterdir() if p.name != LOCK)
    if not held:
        return
    stamp = time.strftime("%Y%m%d-%H%M%S")
    trash = folder.parent / ".trash" / f"{folder.name}-{stamp}-{os.getpid()}"
    with writing(trash):
        trash.mkdir(parents=True)
        for path in sorted(held, key=lambda p: p.name != "checkpoints"):
            shutil.move(path, trash / path.name)


def write_text(path: Path, text: str) -> None:
    """Write all or nothing: a reader sees the old file or the new one.

    Raises `SageBenchError` when it cannot (disk full).
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # half a surrogate pair, as models and file names have them, becomes the escape JSON has
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):  # on a read-only disk it cannot be removed either
            partial.unlink(missing_ok=True)
        raise no_space(path, error) from error


def remove_partials(folder: Path) -> None:
    """Remove what killed writers of `write_text` left behind (`.status.json.4711`).

    In the folder and in those right below it. Those of processes that live stay.
    """
    with writing(folder):
        for path in [*folder.glob(".*.*"), *folder.glob("*/.*.*")]:
            number = path.suffix[1:]
            # isdigit alone also takes digits that int does not read
            if number.isascii() and number.isdigit() and not _lives(int(number)):
                path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def share(folder: Path) -> None:
    """Give the files of a folder the mode the user's mask asks for.

    safetensors writes weights for their owner alone; colleagues may read what the mask allows.
    """
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    for file in folder.iterdir():
        if file.is_file():
            file.chmod(0o666 & ~mask)


def no_space(path: Path, error: OSError) -> SageBenchError:
    """The error of a write that failed: disk full, quota, file size limit, read-only."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    cure = "make room" if full else "make it writable"
    return SageBenchError(
        f"cannot be written: {error.strerror or error}; what was written before is kept",
        where=str(path),
        remedy=f"{cure} and run the same command again",
    )


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of JSON lines, all or nothing."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` while `path` is written into one `SageBenchError` that names it."""
    try:
        yield
    except OSError as error:
        raise no_space(path, error) from error


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `SageBenchError` naming the file when it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise SageBenchError(
            f"cannot be read: {reason}", where=str(path), remedy="restore it from a copy"
        ) from error
    if not isinstance(value, dict):
        raise SageBenchError(
            "does not hold a JSON object", where=str(path), remedy="restore it from a copy"
        )
    return value


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Whole rows of a file.

    A torn last line (the writer was killed) is skipped; a torn line elsewhere is an error.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        lines = file.read().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if any(later.strip() for later in lines[number:]) and not line.strip().startswith(b"{"):
                raise SageBenchError(
                    "is not a JSON line", where=f"{path}:{number}", remedy="remove the line"
                ) from error
            continue
        if isinstance(row, dict):
            yield row


def keep_rows(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite a JSONL file with only the rows to keep (rows written after the checkpoint a run goes
    on from)."""
    if path.exists():
        write_text(
            path,
            "".join(
                json.dumps(row, ensure_ascii=False) + "\n" for row in read_jsonl(path) if keep(row)
            ),
        )


class Appender:
    """Appends JSON lines, each handed to the system as it is written; a torn last line of an
    earlier writer is closed first.

    Raises `SageBenchError` when the disk is full, and takes the torn part of what it was writing
    back out.
    """

    def __init__(self, path: Path):
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
            self.file = path.open("ab", buffering=0)
        if torn:
            self._put(b"\n")

    def write(self, *rows: Mapping[str, Any]) -> None:
        """All rows in one write: a kill loses whole rows or tears the last one, nothing else."""
        if rows:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            self._put(text.encode("utf-8", errors="backslashreplace"))

    def _put(self, data: bytes) -> None:
        before = os.fstat(self.file.fileno()).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[self.file.write(left) :]  # a nearly full disk takes a part
        except OSError as error:
            with suppress(OSError):  # a read-only disk keeps the torn part; it is skipped
                size = os.fstat(self.file.fileno()).st_size
                if size == before + len(data) - len(left):  # nobody else wrote meanwhile
                    os.ftruncate(self.file.fileno(), before)
            raise no_space(self.path, error) from error

    def sync(self) -> None:
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise no_space(self.path, error) from error

    def close(self) -> None:
        self.file.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other writers; the lock dies with the process.

    Take it before anything in the folder is written or moved. Raises `SageBenchError` when another
    process has it, or when the lock file cannot be opened (a link is not followed).
    """
    with _open_lock(folder / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise SageBenchError(
                f"another process (pid {file.read().strip() or '?'}) is writing to this folder",
                where=str(folder),
                remedy="wait for it, or choose another --out",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        remove_partials(folder)
        yield


def _open_lock(path: Path) -> TextIO:
    try:
        return open(path, "a+", opener=_no_links)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise no_space(path, error) from error
        raise SageBenchError(
            "cannot be written: it is a symbolic link, and what it points to is not ours",
            where=str(path),
            remedy="remove the link",
        ) from error
