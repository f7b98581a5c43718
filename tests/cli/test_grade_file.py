"""`grade-file` grades what others recorded; `grade FILE` does too for one release, with a word."""

from __future__ import annotations

import json

import pytest
from program import run

ROWS = [
    {"gold": "1/2", "response": r"\boxed{0.5}", "label": False, "model": "a"},
    {"gold": "2", "response": r"\boxed{3}", "label": False, "model": "b"},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "outputs.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    return tmp_path


def test_the_old_verb_gives_the_same_and_names_the_new_one(folder):
    words = ("outputs.jsonl", "--by", "model", "-g", "string", "-g", "robust", "-q")
    new = run("grade-file", *words, cwd=folder)
    old = run("grade", *words, cwd=folder)
    assert new.returncode == 0, new.stderr
    assert old.stdout == new.stdout
    assert new.stderr == ""
    assert "sage-bench grade-file FILE" in old.stderr
    assert old.stderr.startswith("warning:")


def test_rows_whose_label_is_not_shared_are_printed(folder):
    done = run("grade-file", "outputs.jsonl", "-q", cwd=folder)
    assert "robust says right, the label not: row 1 (outputs), gold 1/2, answer 0.5" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "outputs.jsonl: 2 rows, 0 quarantined; percent of right completions"
    )


def test_every_verdict_can_be_kept(folder):
    done = run("grade-file", "outputs.jsonl", "--out", "v.jsonl", "--json", "-q", cwd=folder)
    rows = [json.loads(line) for line in (folder / "v.jsonl").read_text().splitlines()]
    assert [(row["row"], row["correct"], row["label"]) for row in rows] == [
        (1, True, False),
        (2, False, False),
    ]
    (found,) = json.loads(done.stdout)
    assert found["shares"] == [{"group": "outputs", "rows": 2, "label": 0.0, "robust": 50.0}]


def test_grade_of_folders_refuses_what_belongs_to_files(folder):
    done = run("grade", ".", "--by", "model", cwd=folder)
    assert done.returncode == 2
    assert "grade-file" in done.stderr


def test_the_help_of_grade_shows_folders_only():
    assert "--gold-field" not in run("grade", "--help").stdout
    assert "--gold-field" in run("grade-file", "--help").stdout
