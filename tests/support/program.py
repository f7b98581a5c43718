"""The program run inside the test's own process: what was printed, and the exit code.

A process of its own costs seconds a call; `tests/cli/test_exit_codes.py` has those that need one.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*words: object, cwd: Path | None = None, encoding: str = "utf-8", **env: str) -> Done:
    """`sage-bench WORDS` with the environment changed by `env`, in the folder `cwd`.

    encoding: of standard output and standard error.
    """
    from sage_bench.cli.main import main

    out, err = Stream(encoding), Stream(encoding)
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["sage-bench", *map(str, words)]),
        mock.patch.dict(os.environ, {"COLUMNS": "160", **env}),
        inside(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as left:
            code = left.code
    return Done(int(code or 0), out.text(), err.text())  # type: ignore[call-overload]


class Stream(io.TextIOWrapper):
    """A text stream over bytes, as a pipe has."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def text(self) -> str:
        self.seek(0)
        return self.read()


@contextlib.contextmanager
def inside(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        yield
    finally:
        os.chdir(before)
