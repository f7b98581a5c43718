"""How good a judge is: metrics of labelled steps."""

from __future__ import annotations

import pandas as pd
import pytest

from sage_bench.judges.report import f1_interval, score, score_correlation, summary, table
from sage_bench.statistics import clustered_se, wilson


def rows_of(*pairs: tuple[int, int | None], question: str | None = None) -> list[dict]:
    return [
        {
            "file": "f",
            "subset": "",
            "label": label,
            "judgement": said,
            "question": question or i,
            "seconds": 0.25,
            "judge_calls": 2,
        }
        for i, (label, said) in enumerate(pairs)
    ]


def test_metrics_of_a_worked_example():
    """4 rows with an error (found at the step, too early, missed, abstained), 3 without (cleared,
    accused, abstained)."""
    s = score(rows_of((2, 2), (3, 1), (1, -1), (0, None), (-1, -1), (-1, 0), (-1, None)))
    assert (
        s["rows"],
        s["judged"],
        s["abstained"],
        s["errors"],
        s["early"],
        s["late"],
        s["calls"],
    ) == (7, 5, 2, 4, 1, 0, 14)
    assert s["exact"] == pytest.approx(2 / 7)
    assert s["error_acc"] == pytest.approx(1 / 4)
    assert s["correct_acc"] == pytest.approx(1 / 3)
    assert s["f1"] == pytest.approx(2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3)) == pytest.approx(2 / 7)
    assert s["precision"] == pytest.approx(2 / 3)
    assert s["recall"] == pytest.approx(2 / 4)
    assert s["split_f1"] == pytest.approx(4 / 7)
    assert s["exact_lo"], s["exact_hi"] == pytest.approx(wilson(2, 7))
    assert s["exact_se"] == pytest.approx(
        (2 / 7 * 5 / 7 / 6) ** 0.5
    )  # one row a question: sd / sqrt(n)


def test_an_abstention_is_never_right():
    for label in (-1, 0, 3):
        s = score(rows_of((label, None)))
        assert s["exact"] == 0
        assert s["abstained"] == 1
        assert s["judged"] == 0
    assert score(rows_of((-1, None), (0, None)))["f1"] == 0


def test_a_set_without_errors_has_no_f1_and_rows_of_one_question_are_one_piece_of_evidence():
    s = score(rows_of((-1, -1), (-1, 0)))
    assert s["f1"] != s["f1"]
    assert s["recall"] != s["recall"]
    assert s["correct_acc"] == 0.5
    many = [r for i in range(10) for r in rows_of(*[(0, 0 if i % 2 else -1)] * 5, question=f"q{i}")]
    assert score(many)["exact_se"] > 2 * clustered_se(
        pd.Series([r["judgement"] == 0 for r in many]).to_numpy(float), range(50)
    )
    assert f1_interval([True] * 4, [True, False] * 2, range(4)) == (1.0, 1.0)


def test_summary_gives_every_subset_its_line_and_the_file_another():
    rows = [
        {**r, "subset": s} for s in ("a", "b") for r in rows_of((0, 0), (-1, -1 if s == "a" else 0))
    ]
    parts = summary(rows)
    assert [(p["subset"], p["rows"], p["f1"]) for p in parts] == [
        ("a", 2, 1.0),
        ("b", 2, 0.0),
        ("all", 4, pytest.approx(2 / 3)),
    ]
    assert parts[-1]["f1_mean"] == 0.5


def test_false_alarms_are_of_the_rows_without_an_error():
    s = score(rows_of((2, 2), (3, 1), (-1, -1), (-1, 0), (-1, None), (-1, 4)))
    assert s["false_alarms"] == pytest.approx(2 / 4)
    nothing = score(rows_of((2, 2)))["false_alarms"]
    assert nothing != nothing


def with_steps(*rows: tuple[int, int, int | None]) -> list[dict]:
    """(steps, label, judgement) of each row."""
    pairs = [(label, said) for _, label, said in rows]
    out = zip(rows_of(*pairs), rows, strict=True)
    return [{**row, "steps": steps} for row, (steps, _, _) in out]


def test_the_correlation_of_the_scores():
    """Scores of the labels 0, 1/2, 3/4, 1; the judge turns them around."""
    rows = [(4, 0, -1), (4, 2, 3), (4, 3, 2), (4, -1, 0)]
    assert score_correlation(with_steps(*rows)) == pytest.approx(-1)
    same = [(steps, label, label) for steps, label, _ in rows]
    assert score_correlation(with_steps(*same)) == pytest.approx(1)
    # a row abstained from has no score
    assert score_correlation(with_steps(*same, (4, 1, None))) == pytest.approx(1)
    always_one = score_correlation(with_steps(*[(4, k, -1) for k in range(4)]))
    assert always_one != always_one  # it does not vary


def test_the_table_has_both():
    rows = with_steps((4, 0, 0), (4, 2, 2), (4, -1, 1), (4, -1, -1))
    text = table(summary(rows))
    head, _, line = text.splitlines()[:3]
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert cells["false alarms"] == "50.0"
    # ranks of the labels 1, 2, 3.5, 3.5 and of the judgements 1, 3, 2, 4: 3 / sqrt(4.5 * 5)
    assert cells["Spearman"] == "0.63"
