"""The one reader of data rows: JSON lines, CSV, parquet and JSON files that somebody else wrote.

Training problems, benchmarks given as files, labelled steps and labels of graders are all read
here. A row that cannot be used is a `RejectedRow` with its place and the reason, in its turn among
the others: nothing is dropped, guessed or repaired in silence. Memory stays bounded: a line is
never held that is longer than the limit (64 MiB; `SAGE_BENCH_MAX_LINE_MIB` sets another).
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sage_bench.utils.errors import DataError, UsageError

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
LIMIT_VARIABLE = "SAGE_BENCH_MAX_LINE_MIB"
MIB = 1 << 20
DEFAULT_LIMIT = 64  # MiB a line
WHOLE_FILE = 8  # a .json file can only be read as a whole; it may be this many lines long
EXCERPT = 200  # characters of an unreadable line that are kept for the report
_BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "a gzip archive"}


@dataclass(frozen=True)
class RejectedRow:
    """A row that was not used.

    where: file:line (the number of the row in parquet and JSON files). reason: why, for people.
    row: the row, or the beginning of a line that is no row. malformed: something is wrong with the
    row, rather than nobody wanting it (a label that does not stand).
    """

    where: str
    reason: str
    row: Any = None
    malformed: bool = True

    def as_dict(self) -> dict[str, Any]:
        """As it is written to quarantine files."""
        return {"place": self.where, "reason": self.reason, "row": self.row}


@dataclass(frozen=True, slots=True)
class DataRow:
    """A row that could be read. number: its line, from 1 (its place among the rows in parquet and
    JSON files)."""

    where: str
    number: int
    values: Mapping[str, Any]


def reasons(rejected: Iterable[RejectedRow]) -> dict[str, int]:
    """How many rows were rejected for each reason, in order of appearance."""
    return dict(Counter(r.reason for r in rejected))


def summary(rejected: Iterable[RejectedRow], most: int = 5) -> str:
    """The same as a phrase.

    >>> summary([RejectedRow("f:1", "no answer"), RejectedRow("f:2", "no answer")])
    '2 x no answer'
    """
    counts = Counter(r.reason for r in rejected)
    named = ", ".join(f"{n} x {reason}" for reason, n in counts.most_common(most))
    others = sum(counts.values()) - sum(n for _, n in counts.most_common(most))
    return named + (f", and {others} for other reasons" if others else "")


def check_file(path: Path) -> None:
    """Raise `UsageError` for a file that is not there or of a kind that is not read."""
    if not path.is_file():
        raise UsageError(
            "no such data file", where=str(path), remedy=f"give a {', '.join(SUFFIXES)} file"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"`{path.suffix}` files are not read",
            where=str(path),
            remedy=f"give one of {', '.join(SUFFIXES)}",
        )


def read_rows(path: Path, *, place: str | None = None) -> Iterator[DataRow | RejectedRow]:
    """All rows of a file, each as it is read.

    place: the file's name in `where`, its last part unless given. Raises `UsageError` when it
    cannot be such a file, and `DataError` when it cannot be read as a whole (no permission,
    another encoding, a damaged parquet file, a CSV file whose quotes do not close).
    """
    check_file(path)
    name = place or path.name
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    try:
        yield from readers[path.suffix.lower()](path, name)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            remedy="check the file and its permissions",
        ) from error


def line_limit() -> int:
    """The longest line in bytes. Raises `UsageError` when the variable is not a number."""
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT))
    try:
        limit = int(float(text) * MIB)
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UsageError(
            f"`{text}` is not a number of MiB", where=LIMIT_VARIABLE, remedy="write e.g. 64"
        )
    return limit


def parse_object(line: bytes) -> dict[str, Any]:
    r"""One line of JSON as an object. NaN counts as a missing value, as pandas writes it.

    Raises `ValueError` with the reason: not UTF-8 (naming the byte), not JSON, not an object, a key
    that is given twice, half of a surrogate pair, brackets without end.

    >>> parse_object(b'{"question": "1+1?", "solution": NaN}')
    {'question': '1+1?', 'solution': None}
    >>> parse_object(b'{"answer": 1, "answer": 2}')
    Traceback (most recent call last):
    ...
    ValueError: `answer` is given twice
    """
    value = _parse(decode(line))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def decode(line: bytes) -> str:
    """UTF-8 as text, a byte order mark left out. Raises `ValueError` naming the first wrong byte.

    >>> decode("naïve".encode("latin-1"))
    Traceback (most recent call last):
    ...
    ValueError: not UTF-8 (byte 0xef at position 3 of the line)
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1} of the line)"
        ) from error


def _parse(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("not JSON that can be read (brackets nested too deeply)") from error
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(k for k, n in Counter(k for k, _ in pairs).items() if n > 1)
        raise ValueError(f"`{twice}` is given twice")
    return found


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"not JSON ({name} is not a number)")


def _check_surrogates(value: Any) -> None:
    r"""JSON can spell half of a surrogate pair (`\ud800`), which is not a character: no file can
    hold it, and it would break whatever writes the row later."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = ord(error.object[error.start])
        raise ValueError(f"half of a surrogate pair (\\u{found:04x}) is not a character") from error


def _jsonl(path: Path, name: str) -> Iterator[DataRow | RejectedRow]:
    with path.open("rb") as file:
        _check_encoding(file, path)
        for number, line in _lines(file, line_limit()):
            where = f"{name}:{number}"
            if isinstance(line, int):
                yield RejectedRow(where, _too_long(line))
            elif line.strip():
                yield _line_row(where, number, line)


def _line_row(where: str, number: int, line: bytes) -> DataRow | RejectedRow:
    try:
        return DataRow(where, number, parse_object(line))
    except ValueError as error:
        excerpt = line[: 4 * EXCERPT].decode("utf-8", "surrogateescape").strip()
        return RejectedRow(where, str(error), _printable(excerpt))


def _printable(text: str) -> str:
    """The beginning of a text as a report may hold it."""
    return text[:EXCERPT].encode("utf-8", "backslashreplace").decode("utf-8")


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | int]]:
    """(number, line), or (number, size) of a line over the limit, which is passed over piece by
    piece and never held."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) <= limit or line.endswith(b"\n"):
            yield number, line
            continue
        size = len(line)
        while not line.endswith(b"\n") and (line := file.readline(MIB)):
            size += len(line)
        yield number, size


def _too_long(size: int) -> str:
    return (
        f"a line of {size / MIB:,.1f} MiB, more than a row may have"
        f" ({line_limit() / MIB:g} MiB; {LIMIT_VARIABLE} sets another limit)"
    )


def _check_encoding(file: BinaryIO, path: Path) -> None:
    """Go to the first byte after a byte order mark. Raises `DataError` for files that are plainly
    something else."""
    start = file.read(len(_BOM))
    if kind := _OTHER_ENCODINGS.get(start[:2]):
        raise DataError(
            f"is {kind}, not UTF-8 text",
            where=str(path),
            remedy="save it as UTF-8 (or unpack it) and try again",
        )
    if start != _BOM:
        file.seek(0)


def _csv(path: Path, name: str) -> Iterator[DataRow | RejectedRow]:
    limit = line_limit()
    before = csv.field_size_limit(limit)
    try:
        with path.open("rb") as file:
            _check_encoding(file, path)
            yield from _csv_rows(csv.reader(_csv_lines(file, limit, path), strict=True), path, name)
    finally:
        csv.field_size_limit(before)


def _csv_lines(file: BinaryIO, limit: int, path: Path) -> Iterator[str]:
    """Lines for the csv reader; bytes that are not UTF-8 pass as surrogates, and the row they are
    in is rejected when it is whole."""
    for number, line in _lines(file, limit):
        if isinstance(line, int):
            raise DataError(
                _too_long(line), where=f"{path}:{number}", remedy="check the quotes of the file"
            )
        yield line.decode("utf-8", "surrogateescape")


def _csv_rows(reader: Any, path: Path, name: str) -> Iterator[DataRow | RejectedRow]:
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = cells
                _check_header(header, path)
                continue
            where = f"{name}:{reader.line_num}"
            if reason := _csv_fault(cells, header):
                yield RejectedRow(where, reason, _printable(",".join(cells)))
            else:
                yield DataRow(where, reader.line_num, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"is not CSV: {error}",
            where=f"{path}:{reader.line_num}",
            remedy="look for a quote that is opened and not closed at or before this line",
        ) from error


def _check_header(header: list[str], path: Path) -> None:
    twice = [k for k, n in Counter(header).items() if n > 1]
    if twice or any(_escaped(k) is not None for k in header):
        raise DataError(
            f"the column `{twice[0]}` is there twice" if twice else "the header is not UTF-8",
            where=f"{path}:1",
            remedy="mend the first line",
        )


def _csv_fault(cells: list[str], header: list[str]) -> str | None:
    if len(cells) != len(header):
        return f"{len(cells)} fields where the header has {len(header)}"
    for column, cell in zip(header, cells, strict=True):
        if (at := _escaped(cell)) is not None:
            return f"not UTF-8 (byte 0x{ord(cell[at]) - 0xDC00:02x} in column `{column}`)"
    return None


def _escaped(text: str) -> int | None:
    """Position of the first byte that was not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def _json(path: Path, name: str) -> Iterator[DataRow | RejectedRow]:
    limit = WHOLE_FILE * line_limit()
    if path.stat().st_size > limit:
        raise DataError(
            f"is larger than {limit / MIB:g} MiB, and a .json file is read as a whole",
            where=str(path),
            remedy="write it as .jsonl, one object a line",
        )
    try:
        value = _parse(decode(path.read_bytes()))
    except ValueError as error:
        raise DataError(
            f"cannot be read: {error}", where=str(path), remedy="give a list of objects"
        ) from error
    for i, row in enumerate(_json_items(value, path), 1):
        where = f"{name}:{i}"
        if isinstance(row, dict):
            yield DataRow(where, i, row)
        else:
            yield RejectedRow(where, "not a JSON object", row)


def _json_items(value: Any, path: Path) -> list[Any]:
    """A list of rows as it is; columns of equal length (as pandas writes them) as rows."""
    if isinstance(value, list):
        return value
    columns = value if isinstance(value, dict) else {}
    lists = {
        k: list(v.values()) if isinstance(v, dict) else v
        for k, v in columns.items()
        if isinstance(v, dict | list)
    }
    if not columns or len(lists) < len(columns) or len({len(v) for v in lists.values()}) > 1:
        raise DataError(
            "is neither a list of objects nor columns of equal length",
            where=str(path),
            remedy='write [{"question": ..., "answer": ...}, ...]',
        )
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _parquet(path: Path, name: str) -> Iterator[DataRow | RejectedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield DataRow(f"{name}:{number}", number, _without_nan(row))
    except pa.ArrowException as error:
        raise DataError(
            f"is not a parquet file that can be read: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="fetch or write the file again",
        ) from error


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """NaN in a column of numbers is how pandas writes a missing value."""
    return {k: None if isinstance(v, float) and v != v else v for k, v in row.items()}
