"""Running a judge over labelled steps: what is stored, and the verb."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from labelled_rows import BAD, GOOD, write

from sage_bench.judges.base import Judge
from sage_bench.judges.labelled import read_labelled
from sage_bench.judges.reference import Reference
from sage_bench.judges.registry import JUDGES
from sage_bench.judges.run import JudgeConfig, judge_rows
from sage_bench.types import Sample, Sampling
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import read_jsonl


class Counting(Reference):
    """The reference judge, counting what it is asked; it abstains from questions with `1/3`."""

    def __init__(self):
        self.asked: list[str] = []

    def judge(self, ctx, prob, responses, votes):
        self.asked.append(prob.uid)
        said = yield from super().judge(ctx, prob, responses, votes)
        return [[] for _ in said] if "1/3" in prob.question else said


def test_rows_already_judged_are_not_judged_again(tmp_path):
    found = read_labelled([write(tmp_path / "steps.jsonl", GOOD)])
    config = JudgeConfig("reference", tmp_path / "out", batch=2)
    first = Counting()
    rows = judge_rows(config, lambda: first, found, quiet=True)
    assert [r["judgement"] for r in rows] == [1, -1, None, 0]
    assert [r["votes"] for r in rows] == [
        [2],
        [None],
        [],
        [1],
    ]
    store = (tmp_path / "out/judgements.jsonl").read_text()
    (tmp_path / "out/judgements.jsonl").write_text(
        "\n".join(store.splitlines()[:2]) + '\n{"name": "steps/ma'
    )  # killed while it wrote the third
    second = Counting()
    again = judge_rows(config, lambda: second, found, quiet=True)
    assert second.asked == ["steps/math-1", "steps/math-2"]
    assert [(r["name"], r["judgement"]) for r in again] == [
        (r["name"], r["judgement"]) for r in rows
    ]

    def never():
        raise AssertionError("nothing is left to judge")

    assert judge_rows(config, never, found, quiet=True) == again  # not even the judge is made
    third = Counting()
    judge_rows(
        JudgeConfig("reference", tmp_path / "out", retry=True), lambda: third, found, quiet=True
    )
    assert third.asked == ["steps/math-1"]  # --retry: what was abstained from
    changed = [{**GOOD[0], "steps": ["3*4 = 12", "2 + 12 = 14"]}, *GOOD[1:]]
    fourth = Counting()
    judge_rows(
        config,
        lambda: fourth,
        read_labelled([write(tmp_path / "steps.jsonl", changed)]),
        quiet=True,
    )
    assert fourth.asked == ["steps/gsm8k-1"]  # a row that changed is another row
    with pytest.raises(UsageError, match=r"another judge \(votes: 1 then, 3 now"):
        judge_rows(JudgeConfig("reference", tmp_path / "out", votes=3), never, found, quiet=True)


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", "judge-eval", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


@pytest.mark.slow
def test_the_verb_prints_the_table_and_writes_it(tmp_path):
    write(tmp_path / "steps.jsonl", [*GOOD, BAD[0][0]])
    done = run("--judge", "reference", "steps.jsonl", "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "| steps/gsm8k | 2 | 2 | 0 | 100.0 ± –" in done.stdout
        or "| steps/gsm8k | 2 | 2 | 0 | 100.0 |" in done.stdout
    )
    assert "set aside: 1 x no question" in done.stdout
    assert "4/4" in done.stderr
    assert done.stdout.rstrip().endswith("o")
    parts = json.loads((tmp_path / "o/summary.json").read_text())["parts"]
    assert [(p["subset"], p["rows"], p["exact"], p["f1"]) for p in parts] == [
        ("gsm8k", 2, 1.0, 1.0),
        ("math", 2, 1.0, 1.0),
        ("all", 4, 1.0, 1.0),
    ]
    assert len(list(read_jsonl(tmp_path / "o/judgements.jsonl"))) == 4
    assert list(pd.read_csv(tmp_path / "o/summary.csv").subset) == ["gsm8k", "math", "all"]
    before = (tmp_path / "o/judgements.jsonl").read_bytes()
    assert (
        run("--judge", "reference", "steps.jsonl", "--out", "o", cwd=tmp_path).stdout == done.stdout
    )
    assert (tmp_path / "o/judgements.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path, shared):
    """Killed with -9 while it judges; the same command then judges the rest only, and ends in the
    judgements of an undisturbed run."""
    words = [
        "--judge",
        "reference",
        str(shared / "data/steps/mr_gsm8k.jsonl"),
        "--batch",
        "8",
        "-q",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "sage_bench", "judge-eval", *words, "--out", "killed"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    store = tmp_path / "killed/judgements.jsonl"
    deadline = time.monotonic() + 240
    while (
        process.poll() is None
        and time.monotonic() < deadline
        and not (store.exists() and store.stat().st_size)
    ):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = store.read_text().rpartition("\n")[0]
    assert 0 < before.count("\n") + 1 < 293
    assert run(*words, "--out", "killed", cwd=tmp_path).returncode == 0
    assert run(*words, "--out", "whole", cwd=tmp_path).returncode == 0
    assert store.read_text().startswith(before)
    facts = [
        {
            r["name"]: (r["judgement"], r["votes"])
            for r in read_jsonl(tmp_path / d / "judgements.jsonl")
        }
        for d in ("killed", "whole")
    ]
    assert facts[0] == facts[1]
    assert len(facts[0]) == 293 == len(list(read_jsonl(store)))


@pytest.mark.slow
def test_the_policy_needs_a_model_and_a_tiny_one_abstains(tmp_path):
    write(tmp_path / "steps.jsonl", GOOD)
    done = run("--judge", "policy", "steps.jsonl", "--out", "o", cwd=tmp_path)
    assert done.returncode == 2
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(
        "--judge",
        "policy",
        "max_tokens=16",
        "steps.jsonl",
        "--model",
        "tiny-llama",
        "--votes",
        "2",
        "--out",
        "p",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = list(read_jsonl(tmp_path / "p/judgements.jsonl"))
    # it knows only its own arithmetic, and says no JSON
    assert [r["judgement"] for r in rows] == [None] * 4
    assert all(r["events"] for r in rows)
    assert json.loads((tmp_path / "p/summary.json").read_text())["parts"][-1]["abstained"] == 4
    assert "| steps/all | 4 | 0 | 4 | 0.0" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--judge", "referense", "steps.jsonl"], 2, "did you mean `reference`"),
        (["--judge", "reference", "none.jsonl"], 2, "no such data file"),
        (["--judge", "reference", "votes=3"], 2, "no file"),
        (["--judge", "reference", "steps.jsonl", "depth=3"], 2, "options of the judge"),
        (
            ["--judge", "openai", "steps.jsonl", "model=x", "base_url=localhost"],
            2,
            "judge: base_url",
        ),
        (
            [
                "--judge",
                "openai",
                "steps.jsonl",
                "model=x",
                "base_url=http://localhost/v1",
                "api_key=sk-secret",
            ],
            2,
            "key_env",
        ),
        (["--judge", "policy", "steps.jsonl", "--model", "/none"], 1, "no such model folder"),
    ],
)
def test_wrong_usage_of_the_verb(words, code, said, tmp_path):
    write(tmp_path / "steps.jsonl", GOOD)
    done = run(*words, "--out", "o", cwd=tmp_path)
    assert done.returncode == code
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "sk-secret" not in done.stderr + done.stdout
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"sk-secret" in f.read_bytes()]
    assert not (tmp_path / "o/judgements.jsonl").exists()


def test_judges_are_listed():
    assert JUDGES.names() == ["corrupted", "openai", "policy", "reference", "tiny_world"]
    done = subprocess.run(
        [sys.executable, "-m", "sage_bench", "ls", "judges", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert {r["name"] for r in json.loads(done.stdout)} == set(JUDGES.names())
    assert all(r["about"] for r in json.loads(done.stdout))


class Asks(Judge):
    """A judge that asks the policy and forgot to say so."""

    def judge(self, ctx, problem, responses, votes):
        answers = yield [Sample((1, 2), 1, Sampling(max_tokens=8), purpose="judge")]
        return [[len(a)] for a in answers]


def test_a_judge_that_asks_the_policy_without_saying_so_is_told(tmp_path):
    found = read_labelled([write(tmp_path / "steps.jsonl", GOOD)])
    config = JudgeConfig("asks", tmp_path / "out")
    with pytest.raises(SageBenchError, match=r"sent a Sample to the policy.*needs = frozenset"):
        judge_rows(config, Asks, found, quiet=True)


def test_a_judge_that_needs_what_only_training_has_is_refused_before_it_begins(tmp_path):
    class Needs(Asks):
        needs = frozenset({"score"})

    found = read_labelled([write(tmp_path / "steps.jsonl", GOOD)])
    with pytest.raises(UsageError, match=r"needs \['score'\], which only an engine in training"):
        judge_rows(JudgeConfig("needs", tmp_path / "out"), Needs, found, quiet=True)
    assert not (tmp_path / "out/judgements.jsonl").exists()


def test_a_judge_draws_from_the_model_it_is_given(packaged, tmp_path):
    class Says(Asks):
        needs = frozenset({"sample"})

    found = read_labelled([write(tmp_path / "steps.jsonl", GOOD)])
    config = JudgeConfig("says", tmp_path / "out", model=packaged)
    rows = judge_rows(config, Says, found, quiet=True)
    assert [r["judgement"] for r in rows] == [0] * 4
    assert [r["judge_calls"] for r in rows] == [1] * 4
