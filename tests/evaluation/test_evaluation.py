"""Evaluation for real: lm-eval over our tasks, the store, kills, and the same number through bare
lm-eval."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sage_bench.data.tiny_world import BENCHMARKS, problems
from sage_bench.evaluation import runner
from sage_bench.evaluation.store import SampleStore
from sage_bench.evaluation.tasks.files import tasks_folder
from sage_bench.evaluation.tasks.spec import parse, task_files
from sage_bench.generation.samplers.hf import Hf
from sage_bench.reporting.export import write_eval
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl


@pytest.fixture(scope="module")
def sampler(packaged) -> Hf:
    return Hf(packaged)


def evaluate(sampler: Hf, out: Path, tasks: str = "tiny_short:2", **changes) -> Path:
    return runner.evaluate(
        runner.EvalConfig(sampler.path, parse(tasks), out, **{"limit": 12, **changes}),
        sampler,
        quiet=True,
    )


def rows(folder: Path, task: str = "tiny_short") -> list[dict]:
    return [
        {k: v for k, v in r.items() if k != "time"}
        for r in read_jsonl(folder / "samples" / f"{task}.jsonl")
    ]


def test_every_sample_is_stored_with_what_made_it(sampler, tmp_path):
    folder = evaluate(sampler, tmp_path)
    stored = rows(folder)
    assert {(r["doc_id"], r["sample"]) for r in stored} == {
        (d, s) for d in range(12) for s in range(2)
    }
    assert len({r["seed"] for r in stored}) == 24
    assert {r["finish"] for r in stored} <= {"stop", "length"}
    assert all(r["tokens"] > 0 for r in stored)
    grades = list(read_jsonl(folder / "grades/tiny_short.robust.jsonl"))
    assert len(grades) == 24
    assert {g["status"] for g in grades} <= {"ok", "no_answer"}
    assert all("robust" in g["grader_version"] for g in grades)


def test_the_store_and_lm_eval_agree_on_the_score(sampler, tmp_path):
    folder = evaluate(sampler, tmp_path, "tiny_short:4,tiny_mixed:4")
    run, results = read_eval(folder), json.loads((folder / "results.json").read_text())
    for task, r in run.tasks.items():
        assert r.means.mean() == pytest.approx(results["results"][task]["avg_at_n,all"], abs=1e-12)
    assert results["n-samples"]["tiny_short"]["effective"] == 12


def test_running_again_generates_nothing_and_changes_nothing(sampler, tmp_path, monkeypatch):
    folder = evaluate(sampler, tmp_path)
    before = (folder / "samples/tiny_short.jsonl").read_bytes()
    monkeypatch.setattr(sampler, "draw", lambda asks: pytest.fail("generated again"))
    assert evaluate(sampler, tmp_path) == folder
    assert (folder / "samples/tiny_short.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("cut", [3, 40])
def test_a_torn_store_is_healed_and_only_what_is_missing_comes_back(sampler, tmp_path, cut):
    whole = evaluate(sampler, tmp_path / "whole", "tiny_short:4", limit=40)
    folder = evaluate(sampler, tmp_path / "torn", "tiny_short:4", limit=40)
    file = folder / "samples/tiny_short.jsonl"
    file.write_bytes(file.read_bytes()[: -cut * 100])  # some rows lost, the last one torn
    kept = len(list(read_jsonl(file)))
    assert 0 < kept < 160
    assert not file.read_bytes().endswith(b"\n")
    evaluate(sampler, tmp_path / "torn", "tiny_short:4", limit=40)
    assert sorted(rows(folder), key=str) == sorted(rows(whole), key=str)
    assert (folder / "grades/tiny_short.robust.jsonl").read_bytes() == (
        whole / "grades/tiny_short.robust.jsonl"
    ).read_bytes()


def test_more_samples_top_up(sampler, tmp_path):
    folder = evaluate(sampler, tmp_path, "tiny_short:4")
    four = rows(folder)
    assert evaluate(sampler, tmp_path, "tiny_short:8") == folder
    eight = rows(folder)
    assert eight[: len(four)] == four
    assert len(eight) == 96
    assert sorted(eight, key=str) == sorted(
        rows(evaluate(sampler, tmp_path / "direct", "tiny_short:8")), key=str
    )


@pytest.mark.slow
def test_other_sampling_or_seed_is_another_run(sampler, tmp_path):
    folders = {
        evaluate(sampler, tmp_path),
        evaluate(sampler, tmp_path, seed=1),
        evaluate(sampler, tmp_path, sampling={"temperature": 1.0}),
        evaluate(sampler, tmp_path, limit=5),
    }
    assert len(folders) == 4
    assert not {r["seed"] for r in rows(evaluate(sampler, tmp_path))} & {
        r["seed"] for r in rows(evaluate(sampler, tmp_path, seed=1))
    }


@pytest.mark.slow
def test_kill_nine_during_evaluation_and_the_same_command_gives_the_same_table(tmp_path):
    def command(out):
        return [
            sys.executable,
            "-m",
            "sage_bench",
            "eval",
            "--model",
            "tiny-llama",
            "--tasks",
            "tiny_short:8,tiny_long:8",
            "--out",
            str(out),
            "--threads",
            "1",
            "-q",
        ]

    straight = Path(
        subprocess.run(
            command(tmp_path / "a"), capture_output=True, text=True, timeout=300, check=True
        ).stdout.split()[-1]
    )
    process = subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "b").glob("*/*/samples/*.jsonl")):
        time.sleep(0.02)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = next((tmp_path / "b").glob("*/*"))
    assert sum(len(rows(killed, t)) for t in ("tiny_short", "tiny_long")) < 1600
    again = subprocess.run(
        command(tmp_path / "b"), capture_output=True, text=True, timeout=300, check=True
    )
    assert Path(again.stdout.split()[-1]) == killed
    for name in ("summary.csv", "per_question.csv"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes()


def test_the_first_row_of_a_key_counts(tmp_path):
    store = SampleStore(tmp_path, "t")
    how = {"seed": 1, "prompt_hash": "h", "finish": "stop", "prompt_tokens": 1, "tokens": 1}
    row = {"task": "t", "doc_id": 0, "sample": 0, **how, "text": "first"}
    store.append([row])
    store.append([{**row, "text": "second"}])
    with store.file.open("a") as f:
        f.write(json.dumps({**row, "text": "third"}) + "\n")
    assert SampleStore(tmp_path, "t").rows[0, 0, "h"]["text"] == "first"


def test_evaluation_asks_with_the_prompt_of_training(sampler):
    from sage_bench.generation.prompts import Renderer

    task = runner.load_tasks(runner.EvalConfig("m", {"tiny_short": 1}, Path()), {"tiny_short": 1})[
        "tiny_short"
    ]
    doc = next(iter(task.eval_docs))
    asked = sampler.render(
        [
            {"role": "system", "content": task.config.description},
            {"role": "user", "content": task.doc_to_text(doc)},
        ]
    )
    assert sampler.renderer.ids(asked) == Renderer(sampler.policy.tokenizer).answer(doc["question"])


@pytest.mark.slow
def test_bare_lm_eval_runs_the_same_files(packaged, sampler, tmp_path):
    """lm_eval's own HF model on our YAML: other random numbers, the same task; agreement within
    sampling error."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lm_eval",
            "run",
            "--model",
            "hf",
            "--model_args",
            f"pretrained={packaged},dtype=float32",
            "--tasks",
            "tiny_short",
            "--include_path",
            str(tasks_folder()),
            "--device",
            "cpu",
            "--batch_size",
            "100",
            "--apply_chat_template",
            "--output_path",
            str(tmp_path / "bare"),
            "--log_samples",
        ],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    bare = json.loads(next((tmp_path / "bare").rglob("results_*.json")).read_text())["results"][
        "tiny_short"
    ]
    ours = read_eval(evaluate(sampler, tmp_path / "ours", "tiny_short:4", limit=None)).tasks[
        "tiny_short"
    ]
    assert abs(bare["avg_at_n,all"] - ours.means.mean()) < 4 * np.sqrt(2 * 0.25 / 400)


def test_tasks_are_expanded_and_checked():
    assert parse("tiny:3") == {t: 3 for t in BENCHMARKS}
    assert parse(["tiny_short:2", "tiny_long"], samples=5) == {"tiny_short": 2, "tiny_long": 5}
    for wrong in ("", "tiny:0", "tiny:x", "aime2"):
        with pytest.raises(UsageError):
            parse(wrong)
    assert {f.values["metadata"]["version"] for f in task_files().values() if not f.group} == {1.0}


def test_broken_task_files_are_errors_that_name_them(tmp_path):
    (tmp_path / "broken.yaml").write_text("task: [")
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        task_files(tmp_path)
    (tmp_path / "broken.yaml").write_text("repeats: 3")
    with pytest.raises(UsageError, match="neither"):
        task_files(tmp_path)


def test_outputs_people_read(sampler, tmp_path, capsys):
    folder = evaluate(sampler, tmp_path, "tiny_short:2,tiny_long:2")
    write_eval(folder)
    assert "tiny_short" in capsys.readouterr().out
    board = pd.read_csv(tmp_path / "leaderboard.csv")
    assert list(board.columns[:6]) == [
        "model",
        "method",
        "train_seed",
        "step",
        "select_rule",
        "task",
    ]
    assert set(board.task) == {"tiny_short", "tiny_long", "avg"}
    row = board[board.task == "tiny_short"].iloc[0]
    assert (row.n_questions, row.n_samples, row.temp, row.max_tokens, row.status) == (
        12,
        2,
        0.6,
        96,
        "LIMITED first 12",
    )
    assert 0 <= row.ci_lo <= row.value <= row.ci_hi <= 100
    assert len(pd.read_csv(folder / "per_question.csv")) == 24


def test_missing_samples_are_missing_not_wrong(sampler, tmp_path):
    folder = evaluate(sampler, tmp_path, "tiny_short:4")
    whole = read_eval(folder).tasks["tiny_short"]
    file = folder / "grades/tiny_short.robust.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    partial = read_eval(folder).tasks["tiny_short"]
    assert partial.status == "partial 47/48"
    assert len(partial.means) == 11
    assert np.array_equal(partial.means, whole.means[:11])


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_benchmarks_are_exact_distinct_and_apart_from_training(name):
    bench, train = (
        problems(name),
        {p.question for p in problems("tiny")} | {p.question for p in problems("tiny-val")},
    )
    assert len(bench) == len({p.question for p in bench}) == 100
    assert not {p.question for p in bench} & train
    for p in bench:
        text = p.question.replace("\nthen ", "").replace(" ", "")
        value, results = int(text[0]), []
        for op, operand in zip(text[1::2], text[2::2], strict=True):
            value = eval(f"{value}{op}{operand}") % 10
            results.append(str(value))
        assert p.answer == "".join(results)
        assert p.answer[0] != "0"
