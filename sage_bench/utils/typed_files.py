"""Files with a declared content: JSON documents and JSON lines that are checked as they are read.

What the files of a run folder hold is declared in `sage_bench.data.schema`; this module only knows
how to read and write such declarations. A damaged file is one `DataError` that names the file, the
line, the field and what to do.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from sage_bench.utils.errors import DataError
from sage_bench.utils.files import Appender, write_json, write_text

SCHEMA = 1
Row = TypeVar("Row", bound=Mapping[str, Any])
D = TypeVar("D", bound="Document")


class Document(BaseModel):
    """A JSON file that is written and read as a whole. Subclasses declare its fields.

    `schema` is the version of the declaration a file was written with; files from before it had
    one count as version 1. Unknown keys are kept: a later version of this package, or a plugin,
    may have written them.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    remedy: ClassVar[str] = "restore the file from a copy, or begin again in another --out"

    file_schema: int = Field(
        default=SCHEMA, alias="schema", description="version of this file's fields"
    )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `DataError` when the file is missing, cannot be read, or does not hold this."""
        return _read(path, cls, cls.remedy)

    @classmethod
    def read_or_none(cls, path: Path) -> Self | None:
        """The same, None when there is no such file."""
        return cls.read(path) if path.exists() else None

    def write(self, path: Path) -> None:
        """All or nothing. Raises `SageBenchError` when it cannot be written (disk full), and
        `DataError` for a text that no file can hold."""
        values = self.model_dump(by_alias=True)
        with _characters(path):
            # `write_json` would escape half a character, and `read` could not read it back
            json.dumps(values, ensure_ascii=False, default=str).encode()
        write_json(path, values)


def _read(path: Path, cls: type[D], remedy: str) -> D:
    data = read_bytes(path, remedy)
    try:
        found = cls.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise DataError(explain(error), where=str(path), remedy=remedy) from error
    if found.file_schema > SCHEMA:
        raise DataError(
            f"was written by a later version of sage-bench (schema {found.file_schema}, this one"
            f" reads up to {SCHEMA})",
            where=str(path),
            remedy="install the version that wrote it",
        )
    return found


def read_bytes(path: Path, remedy: str) -> bytes:
    """The content of a file. Raises `DataError` naming the file instead of an `OSError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot be read: {reason}", where=str(path), remedy=remedy) from error


class RowFormat(Generic[Row]):
    """The rows of a JSON lines file, declared as a `TypedDict`.

    Rows come back as plain dictionaries. Reading checks every row and is still faster than
    `json.loads` alone, since one parser does both.

    row: the declaration. remedy: what a user does about a damaged line of this kind of file.
    """

    def __init__(self, row: type[Row], remedy: str):
        self.row, self.remedy = row, remedy

    @cached_property
    def adapter(self) -> TypeAdapter[Row]:
        return TypeAdapter(self.row)

    @cached_property
    def list_adapter(self) -> TypeAdapter[list[Row]]:
        return TypeAdapter(list[self.row])  # type: ignore[name-defined]  # a value, not a type

    def read(self, path: Path) -> Iterator[Row]:
        """The whole rows of a file, none when it does not exist.

        A line that was cut off (its writer was killed) is passed over. Raises `DataError` naming
        file, line and field for any other line that is not such a row.
        """
        if not path.exists():
            return
        validate = self.adapter.validator.validate_json
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.isspace():
                        continue
                    try:
                        yield validate(line)
                    except ValidationError:
                        if not is_torn(line):
                            yield self._second_look(path, number, line)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                f"cannot be read: {reason}", where=str(path), remedy="check the disk"
            ) from error

    def write(self, path: Path, rows: Iterable[Row]) -> None:
        """Replace the file by these rows, all or nothing."""
        text = "".join(json.dumps(self._checked(r), ensure_ascii=False) + "\n" for r in rows)
        with _characters(path):
            write_text(path, text)

    def read_list(self, path: Path) -> list[Row]:
        """The rows of a JSON file that is one list. Raises `DataError` naming file and field."""
        data = read_bytes(path, self.remedy)
        try:
            return self.list_adapter.validate_json(data)
        except ValidationError as error:
            raise DataError(explain(error), where=str(path), remedy=self.remedy) from error

    def write_list(self, path: Path, rows: Iterable[Row]) -> None:
        """The same, all or nothing."""
        with _characters(path):
            write_json(path, [self._checked(r) for r in rows])

    def append(self, appender: Appender, rows: Iterable[Row]) -> None:
        """Write rows to the end in one call to the system."""
        with _characters(appender.path):
            appender.write(*(self._checked(r) for r in rows))

    def _checked(self, row: Row) -> Row:
        try:
            self.adapter.validate_python(row)
        except ValidationError as error:
            raise DataError(
                f"this row cannot be stored: {explain(error)}", where=self.row.__name__
            ) from error
        return row

    def _second_look(self, path: Path, number: int, line: bytes) -> Row:
        """A line the fast parser refused: Python's own parser takes a few more (lone surrogates),
        and where it does not, this says why."""
        where = f"{path}:{number}"
        try:
            return self.adapter.validate_python(json.loads(line))
        except ValidationError as error:
            raise DataError(explain(error), where=where, remedy=self.remedy) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"is not JSON: {str(error).split(':', 1)[0]}", where=where, remedy=self.remedy
            ) from error


@contextmanager
def _characters(path: Path) -> Iterator[None]:
    """Half of a surrogate pair is not a character; which text holds one is for the user to see."""
    try:
        yield
    except UnicodeEncodeError as error:
        text = error.object[max(0, error.start - 30) : error.start]
        raise DataError(
            f"cannot hold half of a surrogate pair (\\u{ord(error.object[error.start]):04x}), which"
            f" is not a character; it comes after {text!r}",
            where=str(path),
            remedy="mend the text it comes from",
        ) from error


def explain(error: ValidationError) -> str:
    """The first complaint of pydantic in our words, and how many more there are."""
    first, *others = error.errors(include_url=False, include_context=False)
    field = ".".join(map(str, first["loc"]))
    reason = first["msg"]
    if first["type"] == "json_invalid":
        text = f"is not JSON: {reason.removeprefix('Invalid JSON: ')}"
    elif not field:
        text = f"does not hold what it should: {reason.lower()}"
    elif first["type"] == "missing":
        text = f"`{field}` is missing"
    else:
        found = repr(first["input"])
        shown = found if len(found) <= 60 else found[:57] + "..."
        text = f"`{field}` is {shown}: {reason[:1].lower()}{reason[1:]}"
    return text + (f" (and {len(others)} more)" if others else "")


def is_torn(line: bytes) -> bool:
    """Whether a line is the beginning of a JSON object and nothing else: its writer was killed.

    >>> is_torn(b'{"a": [1, "x'), is_torn(b'{"a": 1, oops'), is_torn(b'["a'), is_torn(b'{"a": 1}')
    (True, False, False, False)
    """
    line = line.rstrip(b"\r\n")
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        # a writer can be stopped inside a character of several bytes: the decoder waits for more
        text = codecs.getincrementaldecoder("utf-8")().decode(line)
        from_json(text, allow_partial=True)
    except ValueError:
        return False
    try:
        from_json(text)
    except ValueError as error:
        return not str(error).startswith("trailing characters")
    return False
