"""Finished cells in a place that other machines see: a shared folder, or a bucket by its URL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.state import CellRecord, differences
from sage_bench.training import checkpoint
from sage_bench.utils.errors import SageBenchError, UsageError

FILES = "files"  # name -> size of what belongs to a stored cell


@dataclass(frozen=True)
class Store:
    """Cells below a URL of fsspec (`file://`, `s3://`, `gs://`, `memory://`, or a folder).

    `cells/NAME.json` is written last: a cell without it is not there. all_checkpoints: whether the
    choice among them may still be made elsewhere; else only the newest goes along.
    """

    url: str
    all_checkpoints: bool = False

    @property
    def _place(self) -> tuple[Any, str]:
        import fsspec

        try:
            files, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"the store cannot be opened: {error}",
                where=f"--store {self.url}",
                remedy="install what fsspec needs for it (s3fs, gcsfs, ...), or give a folder",
            ) from error
        return files, root.rstrip("/")

    def put(self, out: Path, cell: Cell, record: CellRecord) -> None:
        """Copy a finished cell. Raises `SageBenchError` when that fails; the cell stays here."""
        files, root = self._place
        sizes = {}
        try:
            for path in self._files(out, cell, record):
                name = path.relative_to(out).as_posix()
                files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
                files.put_file(str(path), f"{root}/{name}")
                sizes[name] = path.stat().st_size
            stored = record.model_dump(mode="json", by_alias=True) | {FILES: sizes}
            place = _record_place(root, cell)
            files.makedirs(place.rpartition("/")[0], exist_ok=True)
            files.pipe_file(place, json.dumps(stored, default=str).encode())
        except OSError as error:
            raise SageBenchError(
                f"{cell.name} cannot be copied: {error}",
                where=f"--store {self.url}",
                remedy="mend the store and run the same command again",
            ) from error

    def get(self, out: Path, cell: Cell, inputs: Mapping[str, Any]) -> CellRecord | None:
        """Bring a cell here that was made from the same inputs; None where there is none."""
        files, root = self._place
        place = _record_place(root, cell)
        if not files.exists(place):
            return None
        stored = json.loads(files.cat_file(place))
        sizes = stored.pop(FILES)
        record = CellRecord.model_validate(stored)
        now = json.loads(json.dumps(dict(inputs), default=str))
        if record.state != "done" or differences(record.inputs, now):
            return None
        for name, size in sizes.items():
            if not files.exists(f"{root}/{name}") or files.size(f"{root}/{name}") != size:
                return None
        for name in sizes:
            here = out / name
            here.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(f"{root}/{name}", str(here))
        return record

    def _files(self, out: Path, cell: Cell, record: CellRecord) -> Iterator[Path]:
        """What belongs to a cell. The choice of a checkpoint is a record alone."""
        if cell.kind == "select":
            return
        folder = cell.folder
        if cell.kind == "eval":
            folder = out / str(record.result["folder"])
        newest = ""
        if cell.kind == "train" and not self.all_checkpoints:
            newest = checkpoint.name(int(record.result["steps"]))
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).parts
            if not path.is_file() or any(part.startswith(".") for part in inside):
                continue
            if newest and inside[0] == "checkpoints" and inside[1] != newest:
                continue
            yield path


def _record_place(root: str, cell: Cell) -> str:
    return f"{root}/cells/{cell.name}.json"
