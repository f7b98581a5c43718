"""Folders of task files that are not ours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sage_bench.utils.errors import UsageError

INCLUDE_PATH = "SAGE_BENCH_INCLUDE_PATH"


def include_path(folders: Sequence[Path | str]) -> None:
    """Add folders with task files to this process and its children (SAGE_BENCH_INCLUDE_PATH).

    Raises `UsageError` for a folder that is not there.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(
                "no such folder", where=f"--include-path {folder}", remedy="give a folder of YAML"
            )
    known = [word for word in os.environ.get(INCLUDE_PATH, "").split(os.pathsep) if word]
    added = [str(Path(folder).resolve()) for folder in folders]
    if added:
        os.environ[INCLUDE_PATH] = os.pathsep.join(dict.fromkeys([*added, *known]))
