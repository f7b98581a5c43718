"""Tables, the leaderboard and the report over evaluation runs: what is shown and marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import draw, write_run

from sage_bench.reporting.compare import compare_runs
from sage_bench.reporting.export import eval_runs, write_eval
from sage_bench.reporting.leaderboard import LEADERBOARD, leaderboard
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import EvalRun, TaskResult, read_eval
from sage_bench.reporting.tables import compare, comparison, markdown
from sage_bench.statistics import mean_se
from sage_bench.utils.errors import UsageError

WEAK = {"short": 0.4, "long": 0.2}
STRONG = {"short": 0.7, "long": 0.5}


@pytest.fixture
def two(tmp_path) -> list[Path]:
    return [
        write_run(tmp_path / "grpo/aa", "grpo", draw(1, WEAK)),
        write_run(tmp_path / "sage/bb", "sage", draw(2, STRONG), shuffle=3),
    ]


def test_other_data_under_the_same_name_is_another_table(tmp_path):
    """AMC with 40 and with 83 questions: never in one column, never tested against each other."""
    forty = write_run(tmp_path / "a", "a", {"amc23": draw(1, {"amc23": 0.5})["amc23"]})
    more = write_run(
        tmp_path / "b",
        "b",
        {"amc23": draw(2, {"amc23": 0.5}, questions=83)["amc23"]},
        how={"amc23": {"data_rev": "d83"}},
    )
    report([forty, more], tmp_path / "out")
    text = (tmp_path / "out/table.md").read_text()
    assert text.count("| method | amc23 |") == 2
    assert " − " not in text
    with pytest.raises(UsageError, match="differ in data"):
        compare_runs(eval_runs([forty, more]), Metric())


def test_limited_runs_are_watermarked_everywhere(tmp_path, capsys):
    folder = write_run(tmp_path / "m/aa", "sage", draw(1, WEAK, questions=5), limit=5)
    write_eval(folder)
    mark = "LIMITED to the first 5 questions"
    assert mark in capsys.readouterr().out
    report([folder], tmp_path / "out")
    outputs = [
        folder / "summary.csv",
        folder / "per_question.csv",
        tmp_path / "leaderboard.csv",
        tmp_path / "leaderboard.md",
        *(tmp_path / "out" / n for n in ("report.html", "table.md", "leaderboard.csv")),
    ]
    assert [p.name for p in outputs if mark not in p.read_text()] == []
    whole = write_run(tmp_path / "n/bb", "grpo", draw(2, WEAK, questions=40))
    found = compare_runs(eval_runs([folder, whole]), Metric())
    # paired on what both have
    assert any(mark in n for n in found.notes)
    assert [r.questions for r in found.rows] == [
        10,
        5,
        5,
    ]


def test_runs_of_other_sampling_stand_in_the_report_but_are_not_tested(tmp_path, two):
    hot = write_run(tmp_path / "hot", "hot", draw(5, STRONG), how={"short": {"temperature": 1.0}})
    report([*two, hot], tmp_path / "out")
    text = (tmp_path / "out/table.md").read_text()
    assert "sage @40 − grpo @40: +" in text
    assert "hot @40 − " not in text
    assert "hot @40 is not compared with grpo @40: short: temperature 0.6 and 1.0" in text
    assert "pass@4" in text
    assert "median tokens" in text
    assert "no answer %" in text


def test_the_leaderboard_has_every_metric_with_its_interval(two):
    board = leaderboard([read_eval(f) for f in two], passes=True)
    assert set(board.metric) == {"avg@n", "pass@2", "pass@4"}
    assert len(board) == 2 * 3 * 3
    assert ((board.ci_lo <= board.value) & (board.value <= board.ci_hi)).all()
    assert board[board.task != "avg"].data_rev.eq("d1").all()
    run = read_eval(two[1])
    row = board[
        (board.method == "sage") & (board.task == "short") & (board.metric == "pass@4")
    ].iloc[0]
    mean, se = mean_se((run.tasks["short"].right > 0).astype(float))
    assert (row.value, row.se_question) == pytest.approx((100 * mean, 100 * se))
    assert pd.isna(row.se_seed)
    assert set(leaderboard([run]).metric) == {"avg@n"}


def run_of(tmp_path, method: str, seed: int, gain: float = 0.0, status: str = "ok") -> EvalRun:
    rng = np.random.default_rng(seed)
    tasks = {
        t: TaskResult(np.clip(rng.random(50) * 0.5 + gain, 0, 1), 4, 30.0, 0.01, 0.02, 0, status)
        for t in ("tiny_short", "tiny_long")
    }
    how = {"temperature": 0.6, "top_p": 0.95, "max_gen_toks": 96, "prompt_id": "p", "data_rev": "d"}
    return EvalRun(
        tmp_path / method,
        f"m/{method}",
        method,
        {"method": method, "step": 40, "train_seed": 0},
        tasks,
        {"sampling": dict.fromkeys(tasks, how), "grader": "math_verify"},
    )


def test_tables_say_what_they_show(tmp_path):
    runs = {
        "base": run_of(tmp_path, "base", 0),
        "grpo": run_of(tmp_path, "grpo", 1, 0.1),
        "sage": run_of(tmp_path, "sage", 2, 0.3),
    }
    table = comparison(runs, {"grpo": {"no signal %": 40.0}})
    assert list(table.index) == ["base", "grpo", "sage"]
    assert table.delta["base"] == 0
    assert table.delta["sage"] > table.delta["grpo"] > 0
    text = markdown(table, ["a note"])
    assert text.count("\n|---|") == 1
    assert "**" in text
    assert "–" in text
    assert text.endswith("a note\n")
    found = compare("sage", "grpo", runs)
    assert found["ci"][0] > 0
    assert found["ci"][0] < found["diff"] < found["ci"][1]
    assert found["p"] < 0.01
    board = leaderboard(list(runs.values()))
    assert list(board.columns) == LEADERBOARD
    assert len(board) == 9
    assert set(board[board.task == "avg"].n_questions) == {100}


def test_a_partial_row_is_marked(tmp_path):
    board = leaderboard([run_of(tmp_path, "grpo", 1, status="partial 199/200")])
    assert set(board.status) == {"partial 199/200", "partial"}


def test_summary_of_a_page_is_json_safe(tmp_path):
    runs = {"a": run_of(tmp_path, "a", 0), "b": run_of(tmp_path, "b", 0)}
    assert json.loads(json.dumps(compare("a", "b", runs)))["diff"] == 0
