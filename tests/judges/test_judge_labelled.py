"""Reading labelled steps."""

from __future__ import annotations

import pandas as pd
import pytest
from labelled_rows import BAD, GOOD, write

from sage_bench.judges.labelled import read_labelled
from sage_bench.utils.errors import DataError, UsageError


def test_rows_that_do_not_fit_are_set_aside_with_their_reason(tmp_path):
    found = read_labelled([write(tmp_path / "steps.jsonl", [*GOOD, *(r for r, _ in BAD), [1]])])
    assert [(r.uid, r.subset, r.label, len(r.steps), r.problem.answer) for r in found.rows] == [
        ("gsm8k-1", "gsm8k", 1, 3, "14"),
        ("gsm8k-2", "gsm8k", -1, 3, "14"),
        ("math-1", "math", -1, 2, "\\frac{1}{3}"),
        ("math-2", "math", 0, 2, "6"),
    ]
    assert [q.reason for q in found.quarantine] == [reason for _, reason in BAD] + [
        "not a JSON object"
    ]
    assert found.quarantine[0].where == "steps.jsonl:5"
    assert found.reasons()["no steps"] == 2


def test_limit_takes_the_first_rows_of_each_subset_and_solutions_are_joined(tmp_path):
    file = write(tmp_path / "steps.jsonl", GOOD)
    write(
        tmp_path / "s.jsonl",
        [{"problem": "2 + 3*4 ?", "solution": "3*4=12, 2+12=14", "answer": "14"}],
    )
    found = read_labelled([file], limit=1, solutions=[str(tmp_path / "s.jsonl")])
    assert [r.uid for r in found.rows] == ["gsm8k-1", "math-1"]
    assert [r.problem.solution for r in found.rows] == ["3*4=12, 2+12=14", None]


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_other_file_types_of_steps_are_read(suffix, tmp_path):
    frame = pd.DataFrame(GOOD[:3])
    file = tmp_path / f"steps{suffix}"
    (
        file.write_text(frame.to_json(orient="records"))
        if suffix == ".json"
        else frame.astype({"gold": str}).to_parquet(file)
    )
    assert [(r.uid, r.steps, r.label) for r in read_labelled([str(file)]).rows] == [
        (r["id"], tuple(r["steps"]), r["label"]) for r in GOOD[:3]
    ]


def test_nothing_usable_and_no_such_file_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"no usable row \(1 x no label\)"):
        read_labelled([write(tmp_path / "a.jsonl", [BAD[4][0]])])
    with pytest.raises(UsageError, match="no such data file"):
        read_labelled([str(tmp_path / "none.jsonl")])
    with pytest.raises(UsageError, match="two files are called"):
        read_labelled([str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl")])


def test_the_real_files_are_read_whole(shared):
    found = read_labelled([str(f) for f in sorted((shared / "data/steps").glob("*.jsonl"))])
    assert found.reasons() == {
        "no steps": 123,
        "its id occurs twice": 1,
    }  # marks of whole solutions, no steps; one repeated PRMBench id
    assert {r.subset for r in found.rows if r.file == "processbench"} == {
        "gsm8k",
        "math",
        "olympiadbench",
        "omnimath",
    }
    assert all(r.label == -1 for r in found.rows if r.file == "prm800k_ratings_300")
    assert len(found.rows) == 2479
