"""Rows of any source of data: a file, or a registered dataset.

Files are read by `sage_bench.utils.rows`, which says what may be wrong with a row; this module adds
the datasets that have names.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sage_bench.data.registry import DATASETS
from sage_bench.utils import rows as files
from sage_bench.utils.errors import UsageError
from sage_bench.utils.rows import SUFFIXES, DataRow, RejectedRow

Source = Callable[..., Iterable[Mapping[str, Any]]]

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
        dataset_named(source)
    elif not Path(source).is_file():
        raise UsageError(
            "no such data file",
            where=source,
            remedy=f"give a {', '.join(SUFFIXES)} file or one of: {', '.join(DATASETS.names())}",
        )
    else:
        files.check_file(Path(source))


def dataset_named(source: str) -> Source:
    """What gives the rows of `name` or `name@commit`.

    A commit pins a dataset of the Hub. Raises `UsageError` where there is no such dataset, where it
    has no revisions, or where the commit is not a full one.
    """
    name, pinned, commit = source.partition("@")
    dataset: Source = DATASETS.get(name)
    if not pinned:
        return dataset
    if "revision" not in inspect.signature(dataset).parameters:
        raise UsageError(
            f"the dataset `{name}` has no revisions", where=source, remedy=f"name it `{name}`"
        )
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UsageError(
            f"`{commit}` is not a full commit",
            where=source,
            remedy="give all 40 hexadecimal digits: branches and tags move",
        )
    return partial(dataset, revision=commit)


def read_source(source: str) -> Iterator[DataRow | RejectedRow]:
    """The rows of a registered dataset or a file, those that cannot be used among them.

    Raises `UsageError` when there is no such source, and `DataError` when it cannot be read.
    """
    check_source(source)
    if is_file(source):
        yield from files.read_rows(Path(source))
        return
    for number, row in enumerate(dataset_named(source)()):
        where = f"{source}:{number}"
        if isinstance(row, Mapping):
            yield DataRow(where, number, row)
        else:
            yield RejectedRow(where, f"not a mapping but {type(row).__name__}", repr(row)[:200])
