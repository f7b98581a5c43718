"""Rows of any source of data: a file, or a registered dataset.

Files are read by `sage_bench.utils.rows`, which says what may be wrong with a row; this module adds
the datasets that have names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sage_bench.data.registry import DATASETS
from sage_bench.utils import rows as files
from sage_bench.utils.errors import UsageError
from sage_bench.utils.rows import SUFFIXES, DataRow, RejectedRow

__all__ = ["DataRow", "RejectedRow", "check_source", "is_file", "read_source"]


def is_file(source: str) -> bool:
    """Whether a source names a file, rather than a registered dataset.

    >>> is_file("train.jsonl"), is_file("data/train"), is_file("tiny")
    (True, True, False)
    """
    return source.lower().endswith(SUFFIXES) or ("/" in source and source not in DATASETS)


def check_source(source: str) -> None:
    """Raise `UsageError` when there is no such dataset or file."""
    if not is_file(source):
        DATASETS.get(source)
    elif not Path(source).is_file():
        raise UsageError(
            "no such data file",
            where=source,
            remedy=f"give a {', '.join(SUFFIXES)} file or one of: {', '.join(DATASETS.names())}",
        )
    else:
        files.check_file(Path(source))


def read_source(source: str) -> Iterator[DataRow | RejectedRow]:
    """The rows of a registered dataset or a file, those that cannot be used among them.

    Raises `UsageError` when there is no such source, and `DataError` when it cannot be read.
    """
    check_source(source)
    if is_file(source):
        yield from files.read_rows(Path(source))
        return
    for number, row in enumerate(DATASETS.get(source)()):
        where = f"{source}:{number}"
        if isinstance(row, Mapping):
            yield DataRow(where, number, row)
        else:
            yield RejectedRow(where, f"not a mapping but {type(row).__name__}", repr(row)[:200])
