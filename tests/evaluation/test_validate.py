"""validate: what it finds, what it lists, and with which exit code it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from sage_bench.evaluation.tasks.contamination import overlap, training_questions
from sage_bench.evaluation.tasks.loading import DataOptions
from sage_bench.evaluation.tasks.validate import TaskCheck, exit_code, validate

MATH = ["sb_aime24", "sb_aime25", "sb_amc23", "sb_math500", "sb_minerva", "sb_olympiadbench"]


def write(file: Path, rows: list[dict]) -> str:
    file.write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8"
    )
    return str(file)


def check(task: str, rows: list[dict], folder: Path, **how) -> TaskCheck:
    data = {task: write(folder / f"{task}.jsonl", rows)}
    (found,) = validate([task], DataOptions(data, accept_other_data=True), **how)
    return found


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_the_real_benchmarks_are_fit(benchmark_files):
    """Every row is there, every prompt renders, every gold is graded true by the grader its task
    names."""
    data = {t: str(benchmark_files / f"{t[3:]}.jsonl") for t in MATH} | {
        "sb_mmlu_pro": str(benchmark_files / "mmlu_pro_sample.jsonl")
    }
    checks = validate([*MATH, "sb_mmlu_pro"], DataOptions(data))
    assert {c.task: c.status for c in checks} == dict.fromkeys(MATH, "ok") | {
        "sb_mmlu_pro": "partial"
    }
    assert [c.found for c in checks] == [30, 30, 40, 500, 272, 675, 2001]
    assert [c.asked for c in checks] == [30, 30, 40, 500, 272, 658, 2001]
    assert all(c.golds_true == c.prompts == c.asked and not c.problems for c in checks)
    assert {b["uid"] for c in checks for b in c.by_spelling} <= {
        "minerva-27",
        "olympiadbench-34",
    }, "golds only their spelling can be compared of"
    assert exit_code(checks) == 3
    assert exit_code(checks[:-1]) == 0


def test_wrong_golds_rows_and_duplicates_are_listed(tmp_path):
    rows = [
        {"id": "a", "problem": "What is 1?", "answer": "1"},
        {"id": "b", "problem": "What is half?", "answer": "\\frac{1}{2"},
        {"id": "c", "problem": " What is  $1$?", "answer": "2"},
        {"id": "d", "problem": "What is 1?", "answer": "1"},
        {"id": "e", "problem": "", "answer": "1"},
    ]
    found = check("sb_math500", rows, tmp_path)
    assert found.status == "wrong"
    assert (found.asked, found.golds_true, found.prompts) == (4, 3, 4)
    said = {(p["check"], p["uid"]): p["why"] for p in found.problems}
    assert "graded true" in said["gold", "b"]
    assert "braces" in said["gold", "b"]
    assert said["row", "sb_math500.jsonl:5"] == "no question"
    assert said["duplicate", "a, c, d"] == "the same question with different golds"
    assert len(said) == 3
    same = check("sb_math500", [rows[0], rows[3]], tmp_path)
    assert same.status == "partial"
    assert "the same question several times: a, d" in same.notes


def test_a_prompt_without_its_options_is_found(tmp_path, monkeypatch):
    from sage_bench.evaluation.tasks import validate as module

    row = {
        "question_id": 1,
        "question": "Which?",
        "options": ["x", "y", "z"],
        "answer": "B",
        "answer_index": 1,
    }
    assert check("sb_mmlu_pro", [row], tmp_path).prompts == 1
    broken = TaskCheck("t")
    module._prompt(
        broken, {"uid": "1", "question": "Which?", "options": ["x", "y"]}, "Which?\nA. x"
    )
    assert broken.problems == [
        {"uid": "1", "check": "prompt", "why": "the list of options is not in the prompt"}
    ]


def test_exit_codes():
    def code(*states, strict=False):
        return exit_code([TaskCheck("t", status=s) for s in states], strict)

    assert code("ok", "ok") == 0
    assert code("ok", "skipped_gated") == 0
    assert code("ok", "partial") == 3
    assert code("failed") == 3
    assert code("wrong", "failed") == 4
    assert code("ok", strict=True) == 0
    assert code("skipped_gated", strict=True) == 4
    assert code("partial", strict=True) == 4


def test_gated_and_missing_data_do_not_stop_the_others(tmp_path, empty_cache):
    options = DataOptions(
        {"sb_aime24": write(tmp_path / "a.jsonl", [{"id": 0, "problem": "1+1?", "answer": "2"}])},
        accept_other_data=True,
    )
    gated, missing, there = validate(["sb_gpqa_diamond", "sb_aime25", "sb_aime24"], options)
    assert (gated.status, missing.status, there.status) == ("skipped_gated", "failed", "partial")
    assert "https://huggingface.co/datasets/Idavidrein/gpqa" in gated.notes[0]
    assert "give --data sb_aime25=FILE" in missing.notes[0]


def test_questions_in_training_data_are_found(shared, benchmark_files):
    """At least the four that whoever collected the files found."""
    train = shared / "data/train/aime_1983_2023.jsonl"
    known = {
        x
        for r in map(json.loads, train.read_text().splitlines())
        for x in r.get("overlaps_eval") or ()
        if x.startswith("math500-")
    }
    questions = {
        r["id"]: r["problem"]
        for r in map(json.loads, (benchmark_files / "math500.jsonl").read_text().splitlines())
    }
    found = overlap(questions, training_questions(str(train)))
    assert len(known) == 4
    assert known <= set(found.exact)
    assert len(found.exact) <= 6
    assert all(found.shared[uid] == 1.0 for uid in known)
    (check_,) = validate(
        ["sb_math500"],
        DataOptions({"sb_math500": str(benchmark_files / "math500.jsonl")}),
        train=[str(train)],
    )
    assert len(check_.overlap[str(train)]["exact"]) == len(found.exact)
    assert check_.status == "ok"
    assert "stand in" in check_.notes[0]


def test_gated_questions_are_not_written_down(tmp_path):
    rows = [
        {
            "Record ID": "r",
            "Question": "A secret question?",
            "Correct Answer": "1",
            "Incorrect Answer 1": "2",
            "Incorrect Answer 2": "3",
            "Incorrect Answer 3": "4",
        }
    ]
    assert "secret question" not in json.dumps(check("sb_gpqa_diamond", rows, tmp_path).as_dict())


def test_the_command(tmp_path):
    rows = [{"id": i, "problem": f"What is {i}?", "answer": str(i)} for i in range(40)]
    good, bad = (
        write(tmp_path / "amc23.jsonl", rows),
        write(tmp_path / "bad.jsonl", [*rows, {"id": 99, "problem": "What?", "answer": "1"}]),
    )

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-m", "sage_bench", "validate", "--grader", "math_verify", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            env=env,
        )

    done = run(
        "-t",
        "sb_amc23,tiny_short,sb_gpqa_diamond",
        "--data",
        str(tmp_path),
        "--accept-other-data",
        "--out",
        "v.json",
        "-q",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].split() == [
        "sb_amc23",
        "ok",
        "math_verify",
        "40/40",
        "40/40",
        "40/40",
    ]
    assert "skipped_gated" in done.stdout
    written = json.loads((tmp_path / "v.json").read_text())
    assert [t["status"] for t in written["tasks"]] == ["ok", "ok", "skipped_gated"]
    assert written["tasks"][0]["prompt"].endswith("What is 0?")
    assert done.stdout.endswith("v.json\n")
    for words, code, said in (
        (["-t", "sb_amc23", "--data", f"amc23={bad}"], 4, "not fit to be evaluated: sb_amc23"),
        (
            [
                *("-t", "sb_amc23,sb_aime24", "--data", f"amc23={good}", "--offline"),
                "--accept-other-data",
            ],
            3,
            "not checked in full: sb_aime24",
        ),
        (["-t", "sb_amc"], 2, "did you mean `sb_amc23`"),
        (["-t", "tiny_short,sb_gpqa_diamond", "--strict"], 4, "sb_gpqa_diamond"),
        (["-t", "tiny_short", "--train", "none.jsonl"], 2, "no such data file"),
    ):
        done = run(*words, "-q")
        assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr, (
            done.stderr
        )
    assert json.loads(run("-t", "tiny_short", "--json").stdout)["tasks"][0]["golds_true"] == 100
