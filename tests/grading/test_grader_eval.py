"""Measuring graders on labelled rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from data_files import rows_of
from grader_verbs import run

from sage_bench.grading.grader_study.measure import (
    given_text,
    measure,
    read_adjudications,
    read_labels,
)
from sage_bench.grading.grader_study.stated import stated_answer
from sage_bench.grading.registry import GRADERS
from sage_bench.utils.errors import DataError
from sage_bench.utils.files import read_jsonl

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


def test_rows_are_kept_or_rejected_with_a_reason(labelled):
    kept, rejected = read_labels(labelled)
    assert len(kept) == 8
    assert kept[0].gold == "1/2"
    assert kept[5].label is False
    assert kept[6].options == ("x", "y")
    assert [r.row for r in kept][-1] == 77
    reasons = {r.where.rsplit(":", 1)[1]: (r.reason, r.malformed) for r in rejected}
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
        "not JSON" in reasons["10"][0],
        "object" in reasons["11"][0],
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
    assert sum(not r.malformed for r in rejected) == 1
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
    rows_of("stated_answers.jsonl"),
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
