"""Declared files: what they take and what they refuse."""

from __future__ import annotations

import json
from typing import Annotated, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from sage_bench.utils.errors import DataError
from sage_bench.utils.files import Appender
from sage_bench.utils.typed_files import Document, RowFormat, is_torn


@with_config(ConfigDict(extra="allow", strict=True))
class PointRow(TypedDict):
    name: str
    x: float
    n: NotRequired[int | None]


class Note(Document):
    remedy = "write it again"

    title: Annotated[str, Field(description="what it is called")]
    sizes: dict[str, int] = Field(default_factory=dict)


POINTS = RowFormat(PointRow, "remove the line")


def stored(tmp_path, *lines: bytes):
    file = tmp_path / "points.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [{"name": "a", "x": 0.1}, {"name": "\u2028é", "x": 2.5, "n": None, "more": [1, "x"]}]
    POINTS.write(tmp_path / "points.jsonl", rows)
    assert list(POINTS.read(tmp_path / "points.jsonl")) == rows


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_every_float_survives_the_fast_parser(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("floats") / "points.jsonl"
    POINTS.write(file, [{"name": "f", "x": v} for v in values])
    assert [r["x"] for r in POINTS.read(file)] == values


def test_a_missing_file_has_no_rows(tmp_path):
    assert list(POINTS.read(tmp_path / "none.jsonl")) == []


def test_a_torn_line_is_passed_over_wherever_it_stands(tmp_path):
    file = stored(
        tmp_path, b'{"name": "a", "x": 1.0}', b'{"name": "b", "x"', b'{"name":"c","x":3.0}'
    )
    with file.open("ab") as f:
        f.write('{"name": "é'.encode()[:-1])
    assert [r["name"] for r in POINTS.read(file)] == ["a", "c"]


@given(st.text(max_size=8), st.integers(min_value=1))
def test_every_beginning_of_a_row_is_torn_and_no_whole_row_is(name, cut):
    line = json.dumps({"name": name, "x": 1.5, "deep": [{"a": None}]}, ensure_ascii=False).encode()
    assert not is_torn(line)
    assert is_torn(line[: 1 + cut % (len(line) - 1)])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"name": "a", "x": "1"}', "`x` is '1'"),
        (b'{"name": "a"}', "`x` is missing"),
        (b'{"name": null, "x": 1}', "`name` is None"),
        (b'["a"]', "does not hold what it should"),
        (b"\x00\x00\x00", "is not JSON"),
        (b'{"name": "\xff", "x": 1}', "is not JSON"),
        (b'{"name": "a", "x": 1} {"name": "b", "x": 1}', "is not JSON"),
    ],
)
def test_a_damaged_line_is_named_with_field_and_remedy(tmp_path, line, said):
    file = stored(tmp_path, b'{"name": "a", "x": 1.0}', line)
    with pytest.raises(DataError) as error:
        list(POINTS.read(file))
    assert error.value.where == f"{file}:2"
    assert said in error.value.what
    assert error.value.remedy == "remove the line"


def test_a_lone_surrogate_of_an_old_file_can_still_be_read(tmp_path):
    (row,) = POINTS.read(stored(tmp_path, rb'{"name": "\ud800", "x": 1.0}'))
    assert row["name"] == "\ud800"


def test_a_wrong_row_is_not_written(tmp_path):
    appender = Appender(tmp_path / "points.jsonl")
    with pytest.raises(DataError, match="`x` is missing"):
        POINTS.append(appender, [{"name": "a"}])
    appender.close()
    assert (tmp_path / "points.jsonl").read_bytes() == b""


def test_a_document_carries_its_schema_and_keeps_what_it_does_not_know(tmp_path):
    Note(title="a", sizes={"b": 1}, later=[1]).write(tmp_path / "n.json")
    saved = json.loads((tmp_path / "n.json").read_text())
    assert saved == {"schema": 1, "title": "a", "sizes": {"b": 1}, "later": [1]}
    assert Note.read(tmp_path / "n.json").model_extra == {"later": [1]}


def test_a_document_from_before_schemas_is_read(tmp_path):
    (tmp_path / "n.json").write_text('{"title": "a"}')
    assert Note.read(tmp_path / "n.json").file_schema == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"title": 1}', "`title` is 1"),
        ('{"title": "a", "sizes": {"b": "x"}}', "`sizes.b` is 'x'"),
        ('{"title": "a', "is not JSON"),
        ("", "is not JSON"),
        ("[]", "does not hold what it should"),
        ('{"schema": 99, "title": "a"}', "later version"),
    ],
)
def test_a_damaged_document_is_named_with_field_and_remedy(tmp_path, text, said):
    file = tmp_path / "n.json"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        Note.read(file)
    assert error.value.where == str(file)
    assert said in error.value.what
    assert error.value.remedy


def test_a_document_that_is_a_folder_or_missing_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(DataError, match="cannot be read"):
            Note.read(path)
    assert Note.read_or_none(tmp_path / "none.json") is None
