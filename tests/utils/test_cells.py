"""Text that others wrote cannot forge a table, a page or a formula."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_bench.reporting.tables import markdown
from sage_bench.utils.cells import csv_cell, csv_text, markdown_cell, one_line

LABELS = [
    "a | b",
    "a\n| forged | **99.9** |",
    "a\r\n| forged | **99.9** |",
    "a\u2028| forged | **99.9** |",
    "\x1b[2Jgone",
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "\x1b]8;;http://x\x07link\x1b]8;;\x07",
]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_stays_in_its_cell_of_a_markdown_table(label):
    table = pd.DataFrame({"method": ["grpo", label], "avg": [1.0, 2.0]}).set_index("method")
    lines = markdown(table, [f"a note on {label}  "]).splitlines()
    assert len(lines) == 6
    row = lines[3].replace("\\|", "")
    assert row.count("|") == 3
    assert "\x1b" not in "".join(lines)
    assert "<script" not in "".join(lines)
    assert "<img" not in "".join(lines)
    assert lines[5].endswith("  "), "the line break of a note stays"


def test_ordinary_labels_stay_as_they_are():
    for label in ("grpo, equal rollouts", "sage_light @40", "Qwen/Qwen2.5-7B", "a < b", "R&D"):
        assert markdown_cell(label) == label
        assert csv_cell(label) == label


@given(st.text())
def test_any_text_becomes_one_line_without_controls(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not [c for c in line if ord(c) < 32 or 127 <= ord(c) < 160]


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1", '=HYPERLINK("x")']
)
def test_no_cell_of_a_csv_file_is_a_formula(text):
    table = pd.DataFrame({"method": [text], text: [1.5]})
    header, row = csv.reader(io.StringIO(csv_text(table)))
    assert row[0].startswith("'")
    assert header[1].startswith("'")
    assert row[1] == "1.5"


def test_numbers_and_plain_text_are_written_as_before():
    table = pd.DataFrame({"method": ["grpo", None], "diff": [-0.5, None], "n": [1, 2]})
    assert csv_text(table) == table.to_csv(index=False)
    assert csv_cell("-0.5") == "-0.5"
