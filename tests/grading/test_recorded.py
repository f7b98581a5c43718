"""Completions recorded elsewhere, graded by group."""

from __future__ import annotations

import json

import pytest
from grader_verbs import run

from sage_bench.utils.files import read_jsonl


@pytest.mark.slow
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
