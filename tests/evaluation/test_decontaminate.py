"""Benchmark questions in training data: found, listed and taken out."""

from __future__ import annotations

import json

import pytest
from program import run as program

from sage_bench.evaluation.decontaminate import Index, decontaminate
from sage_bench.evaluation.tasks.loading import DataOptions
from sage_bench.utils.files import read_jsonl

LONG = "a b c d e f g h i j k l m n o p"


def test_thirteen_words_in_common_are_found_and_twelve_are_not():
    index = Index({"t": {"q": LONG}})
    words = LONG.split()
    assert [h.share for h in index.hits("r", " ".join(words[:13]) + " z")] == [0.25]
    assert index.hits("r", " ".join(words[:12]) + " z") == []


def test_a_share_can_be_asked_for():
    index = Index({"t": {"q": LONG}})
    text = " ".join(LONG.split()[:13]) + " z"
    assert index.hits("r", text, min_share=0.3) == []


def test_a_phrase_of_many_rows_does_not_count():
    index = Index({"t": {"q": LONG}})
    text = " ".join(LONG.split()[:13])
    for number in range(10):
        index.count(f"{text} and {number}")
    assert len(index.hits("r", f"{text} z")) == 1
    index.count(text)
    assert index.hits("r", f"{text} z") == []
    # the same text is found however often it stands there
    assert [h.same_text for h in index.hits("r", LONG)] == [True]


@pytest.fixture(scope="module")
def found(shared, tmp_path_factory):
    """AIME of 1983 to 2023 against MATH-500, AIME 2024 and AMC 2023."""
    benchmarks = shared / "data" / "benchmarks"
    files = {"sb_math500": "math500", "sb_aime24": "aime24", "sb_amc23": "amc23"}
    options = DataOptions({task: str(benchmarks / f"{f}.jsonl") for task, f in files.items()})
    out = tmp_path_factory.mktemp("clean")
    train = shared / "data" / "train" / "aime_1983_2023.jsonl"
    return decontaminate(str(train), out, list(files), options)


def test_the_overlaps_that_the_collector_of_the_data_found_are_found(found, shared):
    """`overlaps_eval` of the training file: found by whoever collected it, with another program."""
    rows = list(read_jsonl(shared / "data" / "train" / "aime_1983_2023.jsonl"))
    marked = {
        f"aime_1983_2023.jsonl:{number}"
        for number, row in enumerate(rows, 1)
        if "math500" in json.dumps(row.get("overlaps_eval", "")).lower().replace("-", "")
    }
    assert len(marked) == 4
    assert marked <= {hit.place for hit in found.hits if hit.task == "sb_math500"}


def test_no_problem_of_2024_stands_in_earlier_years(found):
    (aime,) = [row for row in found.by_task() if row["task"] == "sb_aime24"]
    assert aime["same text"] == 0


def test_clean_rows_and_removed_ones_are_all_rows(found):
    removed = {hit.place for hit in found.hits}
    assert found.rows == 975
    assert found.clean == 975 - len(removed)
    assert len(list(read_jsonl(found.files[-1]))) == found.clean


def test_what_was_not_compared_is_not_called_clean(tmp_path, shared):
    (tmp_path / "rows.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n{"x": 1}\n')
    words = ("-t", "sb_math500,sb_aime24", "--offline", "--out", tmp_path / "out")
    data = ("--data", f"sb_aime24={shared}/data/benchmarks/aime24.jsonl")
    done = program("data", "decontaminate", tmp_path / "rows.jsonl", *words, *data)
    assert done.returncode == 3
    assert "NOT COMPARED with sb_math500" in done.stdout
    assert "2 rows: 1 clean, 0 removed, 1 could not be read" in done.stdout
    (aside,) = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert (aside["place"], aside["reason"]) == ("rows.jsonl:2", "no question")
