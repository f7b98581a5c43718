"""The functions behind the verbs: what they return, and that docs/python-api.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import sage_bench
from sage_bench import compare, evaluate, grade, grade_file
from sage_bench.utils.errors import PartialError, UsageError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-api.md"


@pytest.mark.slow
def test_the_examples_of_the_page_run_in_order(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 7
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "runs/grpo/checkpoints/step_000002" in done.stdout
    assert "better − " in done.stdout
    assert "leaderboard.csv" in done.stdout
    assert "did you mean `grpo`" in done.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, sage_bench\n"
        "sage_bench.register_backend, sage_bench.register_sampler, sage_bench.register_judge\n"
        "heavy = {'torch', 'transformers', 'pandas', 'lm_eval', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(set(sage_bench.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_says_what_it_is_for(name):
    value = getattr(sage_bench, name)
    assert callable(value)
    assert value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="trian"):
        sage_bench.trian  # noqa: B018


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluations")
    how = {"sampling.limit": 10}
    return [
        evaluate(model, "tiny_short:4", out=out, overrides={**how, "label": label})
        for model, label in (("fake:0.2", "weak"), ("fake:0.9", "strong"))
    ]


def test_an_evaluation_returns_its_tables(evaluations):
    weak, strong = evaluations
    assert set(strong.per_question.columns) >= {"task", "uid", "n", "correct"}
    assert len(strong.per_question) == 10
    assert strong.per_question.correct.sum() > weak.per_question.correct.sum()
    assert strong.partial is None
    assert "tiny_short" in strong.text
    assert set(strong.table.method) == {"strong"}


def test_a_comparison_is_a_table_of_pairs(evaluations):
    found = compare([run.folder for run in evaluations])
    (row,) = found.table.to_dict("records")
    assert (row["task"], row["questions"]) == ("tiny_short", 10)
    assert abs(row["diff"]) == pytest.approx(abs(row["value_a"] - row["value_b"]))
    assert found.partial is False
    assert found.as_dict()["rows"][0]["task"] == "tiny_short"


def test_grades_come_by_run_task_and_grader(evaluations):
    strong = evaluations[1].folder
    found = grade(strong, "string", agreement=True)
    assert set(found.scores.grader) == {"robust", "string"}
    assert set(found.scores.task) == {"tiny_short"}
    (pair,) = found.agreement.to_dict("records")
    assert (pair["a"], pair["b"], pair["samples"]) == ("robust", "string", 40)


def test_a_file_of_completions_is_graded(tmp_path):
    file = tmp_path / "outputs.jsonl"
    file.write_text('{"gold": "2", "response": "\\\\boxed{2}", "label": false}\nno json\n')
    (found,) = grade_file(file)
    assert found.rows == 1
    assert isinstance(found.shares, pd.DataFrame)
    assert [row["label"] for row in found.differences] == [False]
    assert len(found.quarantined) == 1


def test_what_is_missing_is_raised_unless_it_is_allowed(tmp_path):
    task = {"overrides": {"sampling.limit": 3, "data.offline": True}, "out": tmp_path / "out"}
    with pytest.raises(PartialError, match="not evaluated"):
        evaluate("fake:0.5", "tiny_short,sb_amc23", **task)
    found = evaluate("fake:0.5", "tiny_short,sb_amc23", allow_partial=True, **task)
    assert isinstance(found.partial, PartialError)
    assert set(found.per_question.task) == {"tiny_short"}


def test_wrong_arguments_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="did you mean `tiny_short`"):
        evaluate("fake:0.5", "tiny_shrt", out=tmp_path)
    with pytest.raises(UsageError, match="no such file or folder"):
        grade(tmp_path / "nowhere", "string")
