"""Grading a run again from its store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grader_verbs import run

from sage_bench.evaluation import runner
from sage_bench.evaluation.grades import agreement, graders_of, load_grades
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.samplers.hf import Hf
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import locked, read_jsonl


@pytest.fixture(scope="module")
def evaluated(packaged, tmp_path_factory) -> Path:
    """A small evaluation of the packaged policy: 12 questions, 2 samples each."""
    return runner.evaluate(
        runner.EvalConfig(
            packaged, parse("tiny_short:2"), tmp_path_factory.mktemp("runs"), limit=12
        ),
        Hf(packaged),
        quiet=True,
    )


def test_regrading_keeps_the_grades_there_are(evaluated, tmp_path):
    own = evaluated / "grades/tiny_short.robust.jsonl"
    before = own.read_bytes()
    done = run(
        "grade",
        evaluated.parent,
        "--grader",
        "oat",
        "--grader",
        "string",
        "--agreement",
        "--quiet",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert own.read_bytes() == before
    assert graders_of(evaluated) == ["oat", "robust", "string"]
    assert done.stdout.splitlines()[-1] == str(evaluated)
    assert (
        "oat / robust: 100.00 % of 24 alike" in done.stdout
    )  # answers of the tiny world are plain digits
    record = json.loads((evaluated / "grades/oat.json").read_text())
    assert record["samples"] == 24
    assert record["packages"]["antlr4-python3-runtime"] == "4.13.2"
    assert set(record["canaries"].values()) == {"as expected"}
    assert "oat 1" in record["version"]
    assert (
        json.loads((evaluated / "grades/robust.json").read_text())["grader"] == "robust"
    )  # written by the evaluation itself


def test_agreement_counts_pairs(evaluated):
    runner_grades = load_grades(evaluated, "robust")
    file = evaluated / "grades/tiny_short.contrary.jsonl"
    file.write_text(
        "".join(
            json.dumps({**g, "correct": not g["correct"]}) + "\n"
            for g in read_jsonl(evaluated / "grades/tiny_short.robust.jsonl")
        )
    )
    (pair,) = agreement(evaluated, ["robust", "contrary"]).to_dict("records")
    right = int(runner_grades.correct.sum())
    assert (pair["agree"], pair["both"], pair["neither"], pair["only_a"], pair["only_b"]) == (
        0.0,
        0,
        0,
        right,
        24 - right,
    )
    file.unlink()
    with pytest.raises(DataError, match="only robust"):
        agreement(evaluated, ["robust"])


@pytest.mark.slow
def test_the_report_can_choose_the_grader(evaluated, tmp_path):
    run("grade", evaluated, "--grader", "string", "--quiet", cwd=tmp_path)
    done = run("report", evaluated, "--out", "by_string", "--grader", "string", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ",string," in (tmp_path / "by_string/leaderboard.csv").read_text()
    missing = run("report", evaluated, "--out", "x", "--grader", "mcq", cwd=tmp_path)
    assert missing.returncode == 1
    assert "`mcq` has not graded this run" in missing.stderr
    assert "sage-bench grade" in missing.stderr


def test_grades_of_another_version_are_set_aside(evaluated):
    from sage_bench.evaluation.grades import grade_run

    grade_run(evaluated, "string")
    file = evaluated / "grades/tiny_short.string.jsonl"
    old = file.read_text().replace('"string 1"', '"string 0"')
    file.write_text(old)
    grade_run(evaluated, "string")
    (kept,) = (evaluated / "grades/superseded").glob("tiny_short.string.*.jsonl")
    assert kept.read_text() == old
    assert '"string 1"' in file.read_text()
    assert graders_of(evaluated).count("string") == 1


def test_a_run_that_is_being_written_is_not_graded(evaluated, tmp_path):
    with locked(evaluated):
        done = run("grade", evaluated, "--grader", "string", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert "another process" in done.stderr
    (tmp_path / "empty").mkdir()
    assert run("grade", "empty", "--grader", "string", cwd=tmp_path).returncode == 2
