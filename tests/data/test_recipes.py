"""The training set of the SAGE paper made again, on the files at hand: counts, resuming, pins."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
from chat_server import ChatServer, chat
from hub_cache import leave
from program import run as program

from sage_bench.backends.luffy import LUFFY
from sage_bench.backends.scaf_grpo import ScafGRPO
from sage_bench.config.schema import DataConfig
from sage_bench.data.problems import load_problems
from sage_bench.data.recipes import openr1, source, teacher
from sage_bench.data.recipes.openr1 import Recipe, RecipeRecord, Teacher, draw, make
from sage_bench.grading.cache import grader
from sage_bench.training.columns import missing_columns
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.rows import read_rows

TINY = {"tokenizer": "tiny-llama", "trace_column": "solution"}


def write_rows(file: Path, rows: list) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n")
    return file


def row(number: int, answer: str = "4", *traces: str) -> dict:
    return {
        "uuid": f"u{number}",
        "problem": f"Problem number {number}: what is 2 + 2?",
        "answer": answer,
        "solution": f"It is {answer}.",
        "generations": list(traces) or [f"<think>5?</think> So \\boxed{{{answer}}}."],
    }


@pytest.fixture(scope="module")
def train_files(shared) -> Path:
    folder = shared / "data" / "train"
    if not folder.is_dir():
        pytest.skip(f"no training files at {folder}")
    return folder


@pytest.fixture(scope="module")
def made(train_files, tmp_path_factory):
    """The first rows of MATH, whose own solutions stand for the traces."""
    out = tmp_path_factory.mktemp("recipe") / "set"
    file = train_files / "math_level5_train.jsonl"
    return make(Recipe(str(file), out, limit=40, size=24, **TINY), quiet=True)


# ---- the files at hand --------------------------------------------------------------------------
def test_counts_of_the_stages(made):
    counts = made.record.counts
    assert counts["rows"] == 40
    assert counts["with problem, answer and trace"] == 40
    assert 36 <= counts["with a right trace"] <= 40
    assert counts["drawn"] == 24
    assert made.record.limited == 40


def test_drawn_rows_are_rows_of_the_source_with_a_right_trace(made, train_files):
    known = {r.values["id"]: r.values for r in read_rows(train_files / "math_level5_train.jsonl")}
    robust = grader("robust")
    rows = [r.values for r in read_rows(made.file)]
    assert len({r["uid"] for r in rows}) == 24
    for found in rows:
        assert found["trace"] == known[found["uid"]]["solution"]
        (verdict,) = robust.grade(found["answer"], [found["trace"]])
        assert verdict.correct


def test_methods_find_their_columns_in_it(made):
    loaded = load_problems(DataConfig(source=str(made.file)), grader("robust"), lambda p: 1, 10)
    assert len(loaded.problems) == 24
    assert missing_columns(LUFFY, LUFFY.Config(), loaded.problems) == []


def test_every_file_goes_through(train_files, tmp_path):
    for name in ("gsm8k_train", "aime_1983_2023"):
        file = train_files / f"{name}.jsonl"
        found = make(Recipe(str(file), tmp_path / name, limit=16, **TINY), quiet=True)
        counts = found.record.counts
        assert counts["rows"] == 16
        assert counts["drawn"] == counts["of them with a short trace"] > 8


# ---- which rows, which traces -------------------------------------------------------------------
def test_the_first_right_trace_that_is_short_enough_is_taken(tmp_path):
    wrong, long, short = "\\boxed{5}", "so " * 400 + "\\boxed{4}", "then \\boxed{4}"
    file = write_rows(tmp_path / "rows.jsonl", [row(0, "4", wrong, long, short, short)])
    settings = {"tokenizer": "tiny-llama", "max_trace_tokens": 200}
    found = make(Recipe(str(file), tmp_path / "out", **settings), quiet=True)
    (only,) = [r.values for r in read_rows(found.file)]
    assert only["trace"] == short
    assert only["trace_tokens"] < 200
    (verdict,) = read_jsonl(tmp_path / "out" / "work" / "verdicts.jsonl")
    assert (verdict["traces"], verdict["right"], verdict["trace"]) == (4, 3, 2)


def test_rows_that_cannot_be_used_are_set_aside_with_their_reason(tmp_path):
    no_answer = {"uuid": "a", "problem": "what?", "generations": ["x"]}
    no_trace = {"uuid": "b", "problem": "what?", "answer": "1", "generations": []}
    rows = [row(0), no_answer, "{", no_trace, row(0), row(1, "4", "\\boxed{5}")]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    found = make(Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama"), quiet=True)
    assert found.record.counts == {
        "rows": 6,
        "with problem, answer and trace": 2,
        "with a right trace": 1,
        "of them with a short trace": 1,
        "drawn": 1,
    }
    kept = list(read_jsonl(tmp_path / "out" / "quarantine.jsonl"))
    assert [(k["place"], k["reason"]) for k in kept] == [
        ("rows.jsonl:2", "no answer"),
        ("rows.jsonl:3", kept[1]["reason"]),
        ("rows.jsonl:4", "no trace in `generations`"),
        ("rows.jsonl:5", "its uid occurs twice"),
    ]
    assert kept[1]["reason"].startswith("not JSON")


def test_the_draw_hangs_on_the_seed_alone():
    verdicts = [{"row": i, "reason": "", "trace": 0, "uid": str(i)} for i in range(100)]
    rows = [[v["row"] for v in draw(verdicts, 10, seed)] for seed in (0, 0, 1)]
    assert rows[0] == rows[1] == sorted(rows[0])
    assert rows[0] != rows[2]
    assert len(draw(verdicts, 200, 0)) == 100


# ---- killed and resumed -------------------------------------------------------------------------
def command(file: Path, out: Path) -> list[str]:
    words = ["data", "openr1-15k", "--source", str(file), "--out", str(out), "--size", "150"]
    return [sys.executable, "-m", "sage_bench", *words, "--tokenizer", "tiny-llama", "-q"]


@pytest.mark.slow
def test_killed_and_started_again_it_makes_the_same_set(tmp_path):
    answers = [f"{i}\\sqrt{{{i + 2}}}+{i}" for i in range(300)]
    rows = [row(i, answer, f"\\boxed{{{answer}}}") for i, answer in enumerate(answers)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    verdicts = tmp_path / "killed" / "work" / "verdicts.jsonl"
    process = subprocess.Popen(command(file, tmp_path / "killed"))
    for _ in range(2400):
        if verdicts.exists() and verdicts.stat().st_size:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = len(list(read_jsonl(verdicts)))
    assert 0 < before < 300
    # as a kill in the middle of a write leaves it
    with verdicts.open("a") as torn:
        torn.write('{"row": 299, "uid": "u')
    for out in ("killed", "whole"):
        subprocess.run(command(file, tmp_path / out), check=True, capture_output=True)
    records = [RecipeRecord.read(tmp_path / out / "recipe.json") for out in ("killed", "whole")]
    assert records[0].counts == records[1].counts
    assert records[0].sha256 == records[1].sha256
    assert records[0].counts["drawn"] == 150


# ---- pins ---------------------------------------------------------------------------------------
def test_other_data_than_pinned_are_refused_with_both_digests_and_the_switch(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0)])
    found = source.open_source(str(file)).digest
    words = ("data", "openr1-15k", "--source", file, "--out", tmp_path / "out", "-q")
    words += ("--tokenizer", "tiny-llama", "--digest", "f" * 64)
    done = program(*words)
    assert done.returncode == 1
    for part in (found, "f" * 64, "--accept-other-data"):
        assert part in done.stderr
    done = program(*words, "--accept-other-data")
    assert done.returncode == 0, done.stderr
    assert RecipeRecord.read(tmp_path / "out" / "recipe.json").other_data


def test_a_folder_does_not_go_on_with_an_edited_source(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0)])
    recipe = Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama")
    make(recipe, quiet=True)
    before = source.open_source(str(file)).digest
    write_rows(file, [row(0), row(1)])
    after = source.open_source(str(file)).digest
    with pytest.raises(DataError) as refused:
        make(recipe, quiet=True)
    for part in (before, after, "--accept-other-data"):
        assert part in str(refused.value)
    again = Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama", accept_other_data=True)
    assert make(again, quiet=True).record.counts["rows"] == 2
    assert (tmp_path / ".trash").is_dir()


def test_another_revision_than_the_pinned_one_is_refused():
    pinned = source.PINS["open-r1/OpenR1-Math-220k"].revision
    with pytest.raises(DataError, match=f"revision abc.*revision {pinned}.*--accept-other-data"):
        source.open_source("open-r1/OpenR1-Math-220k@abc")


OPENR1 = "open-r1/OpenR1-Math-220k"


def test_a_pinned_set_in_the_cache_is_read(tmp_path, monkeypatch):
    pinned = source.PINS[OPENR1].revision
    rows = [row(0), row(1, "4", "\\boxed{5}")]
    leave(tmp_path / "cache", OPENR1, "default", "train", pinned, rows)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = make(Recipe(OPENR1, tmp_path / "out", tokenizer="tiny-llama"), quiet=True)
    assert found.record.counts["rows"] == 2
    assert found.record.counts["drawn"] == 1
    assert found.record.source["revision"] == pinned
    (only,) = [r.values for r in read_rows(found.file)]
    assert (only["uid"], only["place"]) == ("u0", f"{OPENR1}:1")


def test_another_revision_in_the_cache_is_refused_unless_accepted(tmp_path, monkeypatch):
    leave(tmp_path, OPENR1, "default", "train", "0" * 40, [row(0)])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DataError, match=r"0000000000.*e4e141ec9d.*--accept-other-data"):
        source.open_source(OPENR1)
    assert source.open_source(OPENR1, accept_other=True).revision == "0" * 40


def test_the_digest_of_rows_hangs_on_their_problems_and_answers():
    first = source.rows_digest(datasets.Dataset.from_list([row(0)]))
    other_trace = source.rows_digest(datasets.Dataset.from_list([row(0, "4", "\\boxed{5}")]))
    other_answer = source.rows_digest(datasets.Dataset.from_list([row(0, "5")]))
    assert first == other_trace
    assert first != other_answer


def test_the_set_of_the_hub_says_how_to_do_without_a_network(tmp_path):
    with pytest.raises(DataError, match="--source FILE"):
        source.open_source("open-r1/OpenR1-Math-220k")


def test_other_settings_are_refused_where_verdicts_hang_on_them(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0)])
    make(Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama"), quiet=True)
    other = Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama", max_trace_tokens=99)
    with pytest.raises(UsageError, match="max_trace_tokens: 8192 then, 99 now"):
        make(other, quiet=True)


# ---- further columns ----------------------------------------------------------------------------
def test_released_scaffolds_and_hints_are_joined_by_the_question(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0), row(1)])
    parts = {"knowledge_parts": ["k"], "planning_skeleton_parts": ["p"], "solution_parts": ["s"]}
    # spelled with other spaces, as copies of a question are
    scaffolds = [{"problem": row(0)["problem"].replace(" ", "  "), **parts}]
    hints = [{"question": row(1)["problem"], "hint": "Count."}]
    recipe = Recipe(
        str(file),
        tmp_path / "out",
        tokenizer="tiny-llama",
        extra={
            "scaffolds": str(write_rows(tmp_path / "scaffolds.jsonl", scaffolds)),
            "hints": str(write_rows(tmp_path / "hints.jsonl", hints)),
        },
    )
    found = make(recipe, quiet=True)
    first, second = (r.values for r in read_rows(found.file))
    assert (first["knowledge"], first["planning"], first["meta_hint"]) == (["k"], ["p"], None)
    assert (second["knowledge"], second["meta_hint"]) == (None, "Count.")
    assert found.record.columns["scaffolds"]["rows"] == 1
    problem = Problem("u", "q", None, "4", {"knowledge": ["k"]})
    assert missing_columns(ScafGRPO, ScafGRPO.Config(), [problem]) == []


def test_a_set_without_the_columns_is_refused(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0)])
    extra = {"hints": str(file)}
    with pytest.raises(UsageError, match="no row has a problem and meta_hint or hint"):
        make(Recipe(str(file), tmp_path / "out", tokenizer="tiny-llama", extra=extra), quiet=True)


def taught(file: Path, out: Path, url: str, *, yes: bool) -> openr1.Made:
    options = {"base_url": url, "prices": (1.0, 2.0)}
    asked = Teacher("big", options, ["hints"], yes)
    return make(Recipe(str(file), out, tokenizer="tiny-llama", teacher=asked), quiet=True)


def test_a_teacher_is_asked_only_when_its_cost_is_agreed_to(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0), row(1)])
    replies = {"number 0": "Put pairs together.", "number 1": "It is 4."}

    def script(n, body):
        question = body["messages"][1]["content"]
        return chat(next(text for key, text in replies.items() if key in question))

    with ChatServer(script) as server:
        with pytest.raises(UsageError, match=r"means 2 calls, about .* at most 512 completion"):
            taught(file, tmp_path / "out", server.url, yes=False)
        assert server.requests == []
        found = taught(file, tmp_path / "out", server.url, yes=True)
        assert len(server.requests) == 2
        # a second time everything comes from the cache
        taught(file, tmp_path / "out", server.url, yes=True)
        assert len(server.requests) == 2
    hints = [r.values["meta_hint"] for r in read_rows(found.file)]
    assert hints == ["Put pairs together.", None]
    assert found.record.columns["hints"]["failures"] == {"the answer stands in it": 1}


def test_scaffolds_of_a_teacher_have_three_lists():
    reply = {"knowledge": ["sums"], "planning": ["add"], "solution_parts": ["2 + 2", "is 4"]}
    assert teacher.read("scaffolds", f"Here: {json.dumps(reply)}", "4") == (reply, "")
    reply["knowledge"] = ["the sum is 4"]
    assert teacher.read("scaffolds", json.dumps(reply), "4")[1] == "the answer stands in it"


def test_counts_stand_beside_the_papers(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [row(0)])
    words = ("--source", file, "--out", tmp_path / "out", "--tokenizer", "tiny-llama", "-q")
    done = program("data", "openr1-15k", *words)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["with", "a", "right", "trace", "1", "64k"] in lines
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out" / "train.parquet")
