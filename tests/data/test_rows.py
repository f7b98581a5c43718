"""The one reader of data rows: what it takes, what it sets aside and why, and what it costs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage_bench.config.schema import DataConfig
from sage_bench.data.problems import load_problems
from sage_bench.data.registry import DATASETS, register_dataset
from sage_bench.data.rows import read_source
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.rows import LIMIT_VARIABLE, DataRow, RejectedRow, read_rows, summary

ROW = {"question": "1+1?", "answer": "2"}
LINE = json.dumps(ROW).encode()
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(tmp_path, data: bytes, name: str = "a.jsonl"):
    file = tmp_path / name
    file.write_bytes(data)
    return file


def values(found) -> list[dict]:
    return [dict(r.values) for r in found if isinstance(r, DataRow)]


def rejected(found) -> list[tuple[str, str]]:
    return [(r.where, r.reason) for r in found if isinstance(r, RejectedRow)]


# --- JSON lines


def test_w20_a_byte_order_mark_does_not_lose_the_first_row(tmp_path):
    for name, data in (
        ("a.jsonl", LINE + b"\n" + LINE),
        ("a.csv", b"question,answer\n1+1?,2\n1+1?,2\n"),
        ("a.json", b"[" + LINE + b"," + LINE + b"]"),
    ):
        file = written(tmp_path, b"\xef\xbb\xbf" + data, name)
        assert values(read_rows(file)) == [ROW, ROW], name


def test_w20_latin_1_is_a_rejected_row_that_names_the_byte(tmp_path):
    bad = '{"question": "naïve?", "answer": "2"}'.encode("latin-1")
    found = list(read_rows(written(tmp_path, LINE + b"\n" + bad + b"\n" + LINE)))
    assert values(found) == [ROW, ROW]
    assert rejected(found) == [
        ("a.jsonl:2", "not UTF-8 (byte 0xef at position 17 of the line)"),
    ]


def test_w20_latin_1_in_csv_names_the_byte_and_the_column(tmp_path):
    data = "question,answer\nnaïve?,2\n1+1?,2\n".encode("latin-1")
    found = list(read_rows(written(tmp_path, data, "a.csv")))
    assert values(found) == [ROW]
    assert rejected(found) == [("a.csv:2", "not UTF-8 (byte 0xef in column `question`)")]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_another_encoding_of_a_whole_file_is_named(tmp_path, codec):
    mark = b"\xfe\xff" if codec == "utf-16-be" else b""
    file = written(tmp_path, mark + LINE.decode().encode(codec))
    with pytest.raises(DataError, match="is UTF-16, not UTF-8") as error:
        list(read_rows(file))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "a"', "not JSON (Expecting ',' delimiter)"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"answer": 1, "answer": 2}', "`answer` is given twice"),
        (b'{"a": {"b": 1, "b": 2}}', "`b` is given twice"),
        (b'{"answer": Infinity}', "not JSON (Infinity is not a number)"),
        (rb'{"question": "\ud800"}', "half of a surrogate pair (\\ud800) is not a character"),
        (b"\x00\x00", "not JSON (Expecting value)"),
        (b'{"a": ' + b"[" * 200_000, "not JSON that can be read (brackets nested too deeply)"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else "",
)
def test_a_line_that_is_not_a_row_is_rejected_with_the_reason(tmp_path, line, reason):
    found = list(read_rows(written(tmp_path, LINE + b"\n" + line + b"\n" + LINE + b"\n")))
    assert values(found) == [ROW, ROW]
    assert rejected(found) == [("a.jsonl:2", reason)]


def test_a_whole_surrogate_pair_is_a_character(tmp_path):
    (row,) = read_rows(written(tmp_path, rb'{"question": "\ud83d\ude00"}'))
    assert row.values == {"question": "\U0001f600"}


def test_nan_is_a_missing_value(tmp_path):
    (row,) = read_rows(written(tmp_path, b'{"question": "a", "solution": NaN}'))
    assert row.values["solution"] is None


def test_a_line_separator_inside_a_text_does_not_end_the_row(tmp_path):
    row = {"question": "a\u2028b\x85c", "answer": "1"}
    (found,) = read_rows(written(tmp_path, json.dumps(row, ensure_ascii=False).encode()))
    assert found.values == row


def test_the_reason_keeps_the_beginning_of_the_line_and_can_be_written(tmp_path):
    (row,) = read_rows(written(tmp_path, b'{"question": "\xff' + b"x" * 10_000))
    assert len(row.row) < 250
    json.dumps(row.as_dict(), ensure_ascii=False).encode()


@FUZZ
@given(st.lists(st.binary(max_size=60), max_size=12))
def test_no_bytes_break_the_reader_or_lose_a_good_row(tmp_path, lines):
    lines = [line.replace(b"\n", b"") for line in lines]
    data = b"".join(LINE + b"\n" + line + b"\n" for line in lines) + LINE
    if data[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"):
        return
    found = list(read_rows(written(tmp_path, data)))
    assert values(found).count(ROW) >= len(lines) + 1
    assert len(found) <= 2 * len(lines) + 1
    assert all(r.reason for r in found if isinstance(r, RejectedRow))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@FUZZ
@given(
    st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4), max_size=6),
    st.booleans(),
)
def test_rows_come_back_as_json_wrote_them(tmp_path, rows, ascii):
    text = "".join(json.dumps(r, ensure_ascii=ascii) + "\n" for r in rows)
    assert values(read_rows(written(tmp_path, text.encode()))) == rows


# --- F10: memory


def test_f10_a_line_over_the_limit_is_rejected_and_the_next_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.001")
    long = json.dumps({"question": "x" * 5_000_000}).encode()
    found = list(read_rows(written(tmp_path, LINE + b"\n" + long + b"\n" + LINE)))
    assert values(found) == [ROW, ROW]
    ((where, reason),) = rejected(found)
    assert where == "a.jsonl:2"
    assert reason.startswith("a line of 4.8 MiB, more than a row may have")
    assert LIMIT_VARIABLE in reason


def test_f10_a_gigabyte_in_one_line_takes_little_memory(tmp_path):
    file = tmp_path / "a.jsonl"
    with file.open("wb") as f:
        f.write(LINE + b'\n{"question": "')
        f.seek(1 << 30, 1)
        f.write(b'"}\n' + LINE + b"\n")
    code = (
        "import sys, resource; from pathlib import Path;"
        "from sage_bench.utils.rows import read_rows;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "found = [type(r).__name__ for r in read_rows(Path(sys.argv[1]))];"
        "print(*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=120
    )
    *kinds, kilobytes = done.stdout.split()
    assert kinds == ["DataRow", "RejectedRow", "DataRow"], done.stderr
    assert int(kilobytes) < 250_000


def test_a_limit_that_is_not_a_number_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "lots")
    with pytest.raises(UsageError, match=f"{LIMIT_VARIABLE}: `lots` is not a number of MiB"):
        list(read_rows(written(tmp_path, LINE)))


# --- other kinds of file


def test_csv_rows_are_named_by_their_line_and_odd_ones_are_rejected(tmp_path):
    data = b'question,answer\n"two\nlines",2\n\n1+1?\na,b,c\n1+1?,2\r\n'
    found = list(read_rows(written(tmp_path, data, "a.csv")))
    assert values(found) == [{"question": "two\nlines", "answer": "2"}, ROW]
    assert [r.where for r in found] == ["a.csv:3", "a.csv:5", "a.csv:6", "a.csv:7"]
    assert [reason for _, reason in rejected(found)] == [
        "1 fields where the header has 2",
        "3 fields where the header has 2",
    ]


def test_a_quote_that_never_closes_is_named_and_not_swallowed(tmp_path):
    file = written(tmp_path, b'question,answer\n"1+1?,2\n1+1?,2\n', "a.csv")
    with pytest.raises(DataError, match=r"a\.csv:3: is not CSV: .*quote"):
        list(read_rows(file))


@pytest.mark.parametrize(
    ("header", "reason"),
    [(b"question,question", "is there twice"), (b"question,\xff", "the header is not UTF-8")],
)
def test_a_header_that_cannot_be_is_named(tmp_path, header, reason):
    with pytest.raises(DataError, match=rf"a\.csv:1: .*{reason}"):
        list(read_rows(written(tmp_path, header + b"\n1,2\n", "a.csv")))


@FUZZ
@given(st.lists(st.tuples(st.text(), st.text()), max_size=6))
def test_csv_comes_back_as_the_csv_module_wrote_it(tmp_path, rows):
    if any("\x00" in a + b or "\r" in a + b for a, b in rows):
        return
    try:
        [(a + b).encode() for a, b in rows]
    except UnicodeEncodeError:
        return
    file = tmp_path / "a.csv"
    with file.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["question", "answer"])
        writer.writerows(rows)
    assert values(read_rows(file)) == [{"question": a, "answer": b} for a, b in rows]


def test_parquet_keeps_lists_and_missing_integers(tmp_path):
    frame = pd.DataFrame({"id": [1, None], "steps": [["a", "b"], None]}).astype({"id": "Int64"})
    frame.to_parquet(tmp_path / "a.parquet")
    assert values(read_rows(tmp_path / "a.parquet")) == [
        {"id": 1, "steps": ["a", "b"]},
        {"id": None, "steps": None},
    ]


def test_nan_in_parquet_is_a_missing_value(tmp_path):
    pd.DataFrame({"x": [1.5, float("nan")]}).to_parquet(tmp_path / "a.parquet")
    assert values(read_rows(tmp_path / "a.parquet")) == [{"x": 1.5}, {"x": None}]


@pytest.mark.parametrize("cut", [0, 3, 50, 200])
def test_a_damaged_parquet_file_is_named(tmp_path, cut):
    pd.DataFrame({"x": range(500)}).to_parquet(tmp_path / "whole.parquet")
    file = written(tmp_path, (tmp_path / "whole.parquet").read_bytes()[:cut], "a.parquet")
    with pytest.raises(DataError, match="parquet") as error:
        list(read_rows(file))
    assert error.value.where == str(file)


def test_json_may_be_a_list_or_columns(tmp_path):
    for text in ('[{"a": 1}, {"a": 2}]', '{"a": [1, 2]}', '{"a": {"0": 1, "1": 2}}'):
        assert values(read_rows(written(tmp_path, text.encode(), "a.json"))) == [{"a": 1}, {"a": 2}]
    found = list(read_rows(written(tmp_path, b'[{"a": 1}, 2]', "a.json")))
    assert rejected(found) == [("a.json:2", "not a JSON object")]


@pytest.mark.parametrize("text", ['{"a": [1], "b": [1, 2]}', "3", '{"a": 1}', "[", "", "{}"])
def test_json_that_holds_no_rows_is_named(tmp_path, text):
    file = written(tmp_path, text.encode(), "a.json")
    with pytest.raises(DataError) as error:
        list(read_rows(file))
    assert error.value.where == str(file)


def test_a_file_that_cannot_be_one_is_said_before_it_is_read(tmp_path):
    with pytest.raises(UsageError, match="no such data file"):
        list(read_rows(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match=r"`\.txt` files are not read"):
        list(read_rows(written(tmp_path, b"", "a.txt")))


# --- registered datasets and problems


def test_a_dataset_of_somebody_may_yield_what_is_not_a_row(monkeypatch):
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    register_dataset("odd-rows")(lambda: [ROW, 3])
    found = list(read_source("odd-rows"))
    assert values(found) == [ROW]
    assert rejected(found) == [("odd-rows:1", "not a mapping but int")]


class AnyGold:
    def gold_error(self, gold: str) -> str | None:
        return "no digit" if not any(c.isdigit() for c in gold) else None


def problems(file, **how):
    config = DataConfig(source=str(file), **how)
    return load_problems(config, AnyGold(), lambda p: len(p.question), 40)


def test_every_row_becomes_a_problem_or_is_set_aside_with_its_place(tmp_path):
    lines = [
        {"id": 1, "question": "1+1?", "answer": "2"},
        {"id": 1, "question": "1+2?", "answer": "3"},
        {"id": 2, "question": " ", "answer": "3"},
        {"id": 3, "question": "a", "answer": ["3"]},
        {"id": 4, "question": "a", "answer": "x"},
        {"id": 5, "question": "a" * 50, "answer": "1"},
    ]
    data = "\n".join(json.dumps(r) for r in lines) + "\n{\n"
    loaded = problems(written(tmp_path, data.encode()))
    assert [p.uid for p in loaded.problems] == ["1"]
    assert [(q.where, q.reason) for q in loaded.quarantine] == [
        ("a.jsonl:2", "its uid occurs twice"),
        ("a.jsonl:3", "no question"),
        ("a.jsonl:4", "no answer"),
        ("a.jsonl:5", "no digit"),
        ("a.jsonl:6", "its prompt is over the limit of tokens"),
        (
            "a.jsonl:7",
            "not JSON (Expecting property name enclosed in double quotes)",
        ),
    ]
    loaded.write_quarantine(tmp_path / "q/train.jsonl")
    stored = [json.loads(line) for line in (tmp_path / "q/train.jsonl").read_text().splitlines()]
    assert [set(q) for q in stored] == [{"place", "reason", "row"}] * 6
    assert stored[0]["row"] == lines[1]


def test_no_usable_row_names_the_reasons_and_not_all_of_a_thousand(tmp_path):
    bad = b"".join(b" " * n + b"\xff\n" for n in range(1000))
    with pytest.raises(DataError, match="no usable row") as error:
        problems(written(tmp_path, bad))
    assert "and 995 for other reasons" in error.value.what
    assert len(str(error.value)) < 1000


def test_the_summary_names_the_most_frequent_reason_first():
    rows = [RejectedRow("f:1", "a"), RejectedRow("f:2", "b"), RejectedRow("f:3", "b")]
    assert summary(rows) == "2 x b, 1 x a"


def test_a_file_in_another_encoding_is_told_how_to_be_saved(tmp_path):
    file = tmp_path / "latin1.jsonl"
    file.write_bytes('{"question": "Wie groß ist 1+1?", "answer": "2"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="save the file as UTF-8"):
        load_problems(DataConfig(source=str(file)), AnyGold(), lambda problem: 1, 10)
