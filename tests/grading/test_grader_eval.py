"""Measuring graders on labelled rows, and grading a run again from its store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sage_bench.evaluation import runner
from sage_bench.evaluation.grades import agreement, graders_of, load_grades
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.samplers.hf import Hf
from sage_bench.grading.grader_study.measure import (
    given_text,
    measure,
    read_adjudications,
    read_labels,
)
from sage_bench.grading.grader_study.stated import stated_answer
from sage_bench.grading.registry import GRADERS
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import locked, read_jsonl

ROWS = [
    {"gold": "1/2", "response": r"\boxed{0.5}", "label": True},
    {"gold": "1,2", "response": "2, 1", "label": True, "kind": "answer_pair"},
    {"gold": "(1,2)", "response": "(2,1)", "label": False, "kind": "answer_pair"},
    {
        "gold": "7",
        "response": "Therefore, there are 7 apples.",
        "label": True,
        "kind": "full_response",
    },
    {"gold": "7", "response": "no idea", "label": False, "kind": "full_response"},
    {
        "gold": "3 hours",
        "response": r"\boxed{3 \text{ minutes}}",
        "label": True,
        "label_fixed": False,
    },
    {"gold": "B", "response": "The answer is (B).", "label": True, "choices": ["x", "y"]},
    {"gold": "5", "response": r"\boxed{6}", "label": True, "row": 77},
    {"gold": "10", "response": "unclear", "label": True, "status": "adjudicated:policy"},
]
BAD = [
    "not json",
    '["a"]',
    '{"gold": "", "response": "1", "label": true}',
    '{"gold": "1", "label": true}',
    '{"gold": "1", "response": "1", "label": "yes"}',
    "",
]


@pytest.fixture
def labelled(tmp_path) -> Path:
    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join([*map(json.dumps, ROWS), *BAD]) + "\n")
    return file


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
    )


def test_rows_are_kept_or_rejected_with_a_reason(labelled):
    kept, rejected = read_labels(labelled)
    assert len(kept) == 8
    assert kept[0].gold == "1/2"
    assert kept[5].label is False
    assert kept[6].options == ("x", "y")
    assert [r.row for r in kept][-1] == 77
    reasons = {r.where.rsplit(":", 1)[1]: (r.reason, r.bad) for r in rejected}
    assert [reasons[str(n)][1] for n in range(9, 15)] == [
        False,
        True,
        True,
        True,
        True,
        True,
    ]
    assert "does not stand" in reasons["9"][0]
    assert [
        "no JSON" in reasons["10"][0],
        "no object" in reasons["11"][0],
        "gold" in reasons["12"][0],
        "response" in reasons["13"][0],
        "label" in reasons["14"][0],
    ] == [True] * 5
    assert len(read_labels(labelled, limit=3)[0]) == 3


def test_labels_read_by_hand_win(labelled, tmp_path):
    (tmp_path / "read.jsonl").write_text(
        '{"set": "labelled", "row": 77, "label": false, "reason": "6 is not 5"}\n{"set":'
        ' "labelled", "row": 1, "label": null, "reason": "?"}\n{"set": "labelled", "row": 9,'
        ' "label": true, "reason": "!"}\n'
    )
    kept, rejected = read_labels(labelled, read_adjudications(tmp_path / "read.jsonl"))
    assert {r.row: r.label for r in kept}[77] is False
    assert 1 not in {r.row for r in kept}
    assert {r.row: r.label for r in kept}[9] is True
    assert sum(not r.bad for r in rejected) == 1
    (tmp_path / "read.jsonl").write_text('{"set": "labelled"}\n')
    with pytest.raises(DataError, match=r"read\.jsonl:1"):
        read_adjudications(tmp_path / "read.jsonl")


def test_scores_are_counted_on_every_side(labelled):
    kept, _ = read_labels(labelled)
    scores = {n: measure(n, GRADERS.get(n)(), kept)[0] for n in ("robust", "string", "mcq", "oat")}
    robust = scores["robust"]
    assert (robust.rows, robust.misses, robust.slips, robust.skipped) == (
        7,
        1,
        0,
        1,
    )
    assert robust.agreement == pytest.approx(6 / 7)
    assert robust.disagreements == [
        {
            "source": "labelled",
            "row": 77,
            "grader": "robust",
            "gold": "5",
            "answer": "6",
            "label": True,
            "correct": False,
            "status": "ok",
        }
    ]
    assert scores["string"].misses == 3
    assert scores["oat"].slips == 1
    assert robust.statuses == Counter(ok=6, no_answer=1)
    assert (scores["mcq"].rows, scores["mcq"].agreement) == (1, 1.0)
    assert robust.seconds > 0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"response": r"so \boxed{3}"}, r"so \boxed{3}"),
        ({"kind": "answer_pair", "response": "x+1"}, r"\boxed{x+1}"),
        ({"kind": "program_output", "response": "```output```", "extracted": "4"}, r"\boxed{4}"),
        ({"kind": "full_response", "response": "#### 12"}, r"\boxed{12}"),
        ({"response": "The answer is (B).", "choices": ["a"]}, "The answer is (B)."),
        ({"kind": "full_response", "response": "we do not"}, "we do not"),
    ],
)
def test_every_grader_is_given_the_same_answer(row, text):
    assert given_text(row) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Step 4: #### 60", "60"),
        ("x = 1\nThe answer is: 15", "15"),
        ("A: 96", "96"),
        ("# Answer\n\n   -2 + 7i\n", "-2 + 7i"),
        ("Final Answer: The final answer is $\\sqrt{20}$. I hope it is correct.", "\\sqrt{20}"),
        ("Therefore, Tyler has 12 apples left in 3 boxes.", "12"),
        ("so there are now **55 children** following.", "55 children"),
        ("Thus the volume is \\(108\\) cubic units.", "108"),
        (
            "Therefore, the values are \\(x = -1\\), \\(x = 2\\), and \\(x = -2\\).",
            "x = -1, x = 2, x = -2",
        ),
        ("Therefore, the degree of \\((x+1)(x+2)\\) is 2.", "2"),
        ("we get 1 + 1 and 2 + 2 and then", None),
        ("", None),
        (
            (
                "Hence, the solution is \\(f(n) = n\\) for all positive integers \\(n\\). This is"
                " trivial."
            ),
            "f(n) = n",
        ),
    ],
)
def test_answers_of_texts_without_a_box(text, answer):
    assert stated_answer(text) == answer


def test_the_verb_prints_all_graders_side_by_side_and_writes_what_they_disagree_on(
    labelled, tmp_path
):
    done = run(
        "grader-eval",
        labelled,
        "--grader",
        "robust",
        "--grader",
        "string",
        "--out",
        tmp_path / "out.jsonl",
        "--quiet",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("labelled")]
    assert [line[:6] for line in lines] == [
        ["labelled", "robust", "7", "85.71", "1", "0"],
        ["labelled", "string", "7", "57.14", "3", "0"],
    ]
    assert "8 rows, 5 quarantined, 1 with a label that does not stand" in done.stdout
    assert "antlr4-python3-runtime 4.13.2" in done.stdout
    assert "quarantined" in done.stderr
    assert ":10: not JSON" in done.stderr
    out = list(read_jsonl(tmp_path / "out.jsonl"))
    assert Counter(d["grader"] for d in out) == {"robust": 1, "string": 3}
    assert len(list(read_jsonl(tmp_path / "out.quarantine.jsonl"))) == 6
    told = run("grader-eval", labelled, "-g", "robust", "--limit", "2", "--json", cwd=tmp_path)
    table = json.loads(told.stdout)
    assert table["table"][0]["rows"] == 2
    assert table["table"][0]["agreement"] == 1.0
    assert table["canaries_off"] == []
    assert "grader-eval: 2/2" in told.stderr
    (tmp_path / "bad.jsonl").write_text("nothing\n")
    none = run("grader-eval", "bad.jsonl", cwd=tmp_path)
    assert none.returncode == 1
    assert "no row can be used" in none.stderr


# --- grading a run again -------------------------------------------------------------------------
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


# --- completions recorded elsewhere --------------------------------------------------------------
def test_completions_of_others_are_graded_by_group_and_every_difference_is_printed_with_its_reason(
    tmp_path,
):
    rows = [
        {"gold": "1/2", "response": r"\boxed{0.5}", "label": False, "model": "a", "problem": "p"},
        {"gold": "2", "response": r"\boxed{3}", "label": False, "model": "a"},
        {"gold": "5", "response": "so it is 5.", "label": True, "model": "b"},
        {"gold": "B", "response": r"\boxed{y}", "options": ["x", "y"], "model": "b"},
    ]
    file = tmp_path / "outputs.jsonl"
    file.write_text(
        "\n".join(
            [
                *map(json.dumps, rows),
                "nothing",
                '{"gold": "1", "response": 3, "model": "a"}',
                '{"gold": "1"}',
            ]
        )
        + "\n"
    )
    (tmp_path / "read.jsonl").write_text(
        '{"set": "outputs", "row": 1, "label": true, "reason": "a half"}\n'
    )
    done = run(
        "grade",
        file,
        "--by",
        "model",
        "-g",
        "robust",
        "-g",
        "mcq",
        "--adjudications",
        "read.jsonl",
        "--out",
        "v.jsonl",
        "-q",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [
        ["group", "rows", "label", "robust", "mcq"],
        ["a", "2", "0.0", "50.0", "0.0"],
        ["b", "2", "100.0", "0.0", "50.0"],
    ]
    assert (
        "robust says right, the label not: row 1 (a), gold 1/2, answer 0.5: a half" in done.stdout
    )
    assert "4 rows, 3 quarantined" in done.stdout
    assert "robust says wrong, the label not: row 3 (b), gold 5, answer no_answer" in done.stdout
    assert "outputs.jsonl:7: has no field `response` (there are: gold)" in done.stderr
    assert [
        (v["row"], v["grader"], v["correct"], v["label"]) for v in read_jsonl(tmp_path / "v.jsonl")
    ][:4] == [
        (1, "robust", True, False),
        (2, "robust", False, False),
        (3, "robust", False, True),
        (4, "robust", False, None),
    ]
    stated = json.loads(
        run("grade", file, "--by", "model", "--stated", "--json", "-q", cwd=tmp_path).stdout
    )
    assert stated[0]["shares"] == [
        {"group": "a", "rows": 2, "label": 0.0, "robust": 50.0},
        {"group": "b", "rows": 2, "label": 100.0, "robust": 50.0},
    ]
    assert stated[0]["differences"][0]["reason"] is None
    (tmp_path / "bare.jsonl").write_text('{"answer": "7", "text": "\\\\boxed{7}"}\n')
    bare = run(
        "grade", "bare.jsonl", "--gold-field", "answer", "--text-field", "text", "-q", cwd=tmp_path
    )
    assert bare.stdout.splitlines()[1].split() == ["bare", "1", "100.0"]


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["f.jsonl"], "has no field `response`", 1),
        (["f.jsonl", "--by", "model", "--text-field", "x"], "has no field `model`", 1),
        (["missing.jsonl"], "no such file", 2),
        (["f.jsonl", "."], "files and folders", 2),
        ([".", "--by", "model", "-g", "string"], "are for files", 2),
        (["f.jsonl", "-g", "robst"], "robust", 2),
    ],
)
def test_files_that_cannot_be_graded_say_why(words, said, code, tmp_path):
    (tmp_path / "f.jsonl").write_text('{"gold": "1", "x": "1"}\n')
    done = run("grade", *words, "-q", cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
