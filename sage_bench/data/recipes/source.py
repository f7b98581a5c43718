"""Where a recipe's rows come from: a file or a dataset of the Hub, and a digest of what was read.

A dataset of the Hub is pinned to a revision, a file to its SHA-256. What differs from its pin is
refused, naming both, unless somebody says that it is meant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.data.hub import HubData, cached_revision, load_hub
from sage_bench.data.rows import is_file
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.rows import DataRow, RejectedRow, check_file, read_rows

SWITCH = "--accept-other-data"
NAMING = ("uuid", "uid", "id", "problem", "question", "answer")  # columns a row is known by


@dataclass(frozen=True, slots=True)
class Pin:
    """A dataset of the Hub at one commit. digest: of its rows (`rows_digest`), None where nobody
    has measured it; a commit is a digest of the files already."""

    id: str
    split: str
    revision: str | None
    config: str | None = None
    digest: str | None = None


# The revision of OpenR1-Math is the one public repositories pin; the Hub could not be reached to
# compare. Those of the authors' own sets are not known: what is loaded is recorded instead.
PINS = {
    pin.id: pin
    for pin in (
        Pin(
            "open-r1/OpenR1-Math-220k",
            "train",
            "e4e141ec9dea9f8326f4d347be56105859b2bd68",
            "default",
        ),
        Pin("baohao/sage_train", "train", None),
        Pin("baohao/luffy_train", "train", None),
        Pin("baohao/scaf-grpo_train", "train", None),
    )
}


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that can be read more than once, always in the same order.

    digest: SHA-256 of the file, or of the rows of a dataset. revision: of a dataset of the Hub.
    total: rows, None where only reading tells.
    """

    name: str
    digest: str
    rows: Callable[[], Iterator[DataRow | RejectedRow]]
    revision: str | None = None
    total: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "digest": self.digest, "revision": self.revision}


def open_source(text: str, *, digest: str | None = None, accept_other: bool = False) -> Source:
    """`FILE`, or `ORG/NAME` or `ORG/NAME@REVISION` of the Hub.

    digest: what a file must have. Raises `UsageError` for a source that is neither, and `DataError`
    where it differs from its pin or cannot be had.
    """
    if Path(text).exists() or (is_file(text) and text.count("/") != 1):
        found = _file(Path(text))
    else:
        found = _hub(text, accept_other)
    if digest is not None and digest != found.digest and not accept_other:
        raise other_data(text, found.digest, digest)
    return found


def other_data(where: str, found: str, pinned: str) -> DataError:
    """The error of data that are not the pinned ones."""
    return DataError(
        f"its digest is {found}, the pinned one is {pinned}",
        where=where,
        remedy=f"fetch the data again, or `{SWITCH}` if this is what you want (it is recorded)",
    )


def _file(path: Path) -> Source:
    check_file(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(path.name, digest, lambda: read_rows(path))


def _hub(text: str, accept_other: bool) -> Source:
    name, _, asked = text.partition("@")
    if name.count("/") != 1:
        raise UsageError(
            "is neither a file nor a dataset of the Hub",
            where=text,
            remedy="give a .jsonl, .parquet, .csv or .json file, or ORG/NAME",
        )
    pin = PINS.get(name, Pin(name, "train", None))
    if asked and pin.revision and asked != pin.revision and not accept_other:
        raise other_data(name, f"revision {asked}", f"revision {pin.revision}")
    revision = asked or (None if accept_other else pin.revision)
    instead = f"give a local file with --source FILE, or `{SWITCH}`"
    data = HubData(f"source {name}", name, pin.split, pin.config, revision, instead=instead)
    rows = load_hub(data)
    digest = rows_digest(rows)
    if pin.digest is not None and digest != pin.digest and not accept_other:
        raise other_data(name, digest, pin.digest)

    def read() -> Iterator[DataRow | RejectedRow]:
        for number, row in enumerate(rows, 1):
            yield DataRow(f"{name}:{number}", number, row)

    return Source(name, digest, read, cached_revision(rows) or revision, len(rows))


def rows_digest(rows: Any) -> str:
    """SHA-256 of what a dataset's rows are known by: names, problems and answers.

    Traces are left out: reading gigabytes would say no more about which data these are.
    """
    columns = [name for name in NAMING if name in rows.column_names]
    digest = hashlib.sha256()
    for row in rows.select_columns(columns):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()
