"""`-t @name`, `--overwrite` and `--strict` of eval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sage_bench.evaluation.tasks.spec import named_profiles, parse, profiles, task_files
from sage_bench.utils.errors import UsageError


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
    )


def test_every_profile_names_tasks_there_are():
    assert {"quick", "paper", "ood", "full"} <= set(profiles())
    for name in profiles():
        assert set(parse(f"@{name}")) <= set(task_files())
    assert parse("@paper") == dict.fromkeys(task_files()["sb_math6"].group, 16) | {
        "sb_gpqa_diamond": 16,
        "sb_mmlu_pro": 1,
    }
    assert parse("@quick,sb_amc23:8") == {"sb_aime24": 4, "sb_math500": 1, "sb_amc23": 8}
    assert [p.limit for p in named_profiles("@quick,@paper,tiny")] == [50, None]


def test_a_profile_that_is_not_there_or_malformed_is_an_error_with_its_place(tmp_path):
    with pytest.raises(UsageError, match="did you mean `quick`"):
        parse("@quik")
    (tmp_path / "_profiles.yaml").write_text("mine: {tasks: a, about: b, limt: 3}\n")
    with pytest.raises(UsageError, match=r"_profiles\.yaml:mine.*limt"):
        profiles(tmp_path)
    assert profiles(tmp_path / "none") == {}


def rows(n: int) -> str:
    return "".join(
        json.dumps({"id": i, "problem": f"What is {i}+1?", "answer": str(i + 1)}) + "\n"
        for i in range(n)
    )


@pytest.mark.slow
def test_a_profile_limits_its_questions_overwrite_draws_anew_and_quiet_is_quiet(tmp_path):
    (tmp_path / "sb_aime24.jsonl").write_text(rows(30))
    (tmp_path / "sb_math500.jsonl").write_text(rows(500))
    words = ["eval", "-m", "fake:0.5", "-t", "@quick", "--data", tmp_path, "--out", "out", "-q"]
    words.append("--accept-other-data")
    first = run(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "LIMITED" in first.stdout
    assert "it/s" not in first.stderr
    folder = tmp_path / first.stdout.splitlines()[-1]
    counts = {
        t: len((folder / f"samples/{t}.jsonl").read_text().splitlines())
        for t in ("sb_aime24", "sb_math500")
    }
    assert counts == {"sb_aime24": 120, "sb_math500": 50}
    before = (folder / "samples/sb_aime24.jsonl").read_text()
    assert run(*words, cwd=tmp_path).returncode == 0
    assert not (folder.parent / ".trash").exists()
    again = run(*words, "--overwrite", cwd=tmp_path)
    assert (
        again.returncode == 0 and again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    ), again.stderr
    (old,) = (folder.parent / ".trash").iterdir()
    assert (old / "samples/sb_aime24.jsonl").read_text() == before
    assert len((folder / "samples/sb_aime24.jsonl").read_text().splitlines()) == 120
    wider = run(*words, "-L", "60", cwd=tmp_path)
    assert wider.returncode == 0
    assert "limit: 50 -> 60" in wider.stderr


@pytest.mark.slow
def test_strict_counts_gated_tasks(tmp_path):
    (tmp_path / "sb_aime24.jsonl").write_text(rows(30))
    words = [
        "eval",
        "-m",
        "fake:0.5",
        "-t",
        "sb_aime24:1,sb_gpqa_diamond:1",
        "--data",
        f"sb_aime24={tmp_path / 'sb_aime24.jsonl'}",
        "--accept-other-data",
        "--offline",
        "--out",
        "out",
        "-q",
    ]
    assert run(*words, cwd=tmp_path).returncode == 0
    strict = run(*words, "--strict", cwd=tmp_path)
    assert strict.returncode == 3
    assert "https://huggingface.co/datasets/Idavidrein/gpqa" in strict.stderr
