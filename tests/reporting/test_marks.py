"""Every mark of the table of methods, on runs that really are what it says, by typed commands.

A real evaluation of a real tiny policy or of `fake:P`; nothing in a manifest is written by hand.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from program import run
from small_runs import train

from sage_bench.reporting.method_rows import MARKS

pytestmark = pytest.mark.slow

TASKS = ("-t", "tiny_short:2,tiny_mixed:2")


def evaluate(out: Path, *words: object, code: int = 0, tasks: tuple[str, ...] = TASKS) -> Path:
    done = run("eval", *words, *tasks, "--out", out, "-q")
    assert done.returncode == code, done.stderr
    return Path(done.stdout.strip().splitlines()[-1])


def fake(out: Path, rate: float, method: str, *words: object, **how) -> Path:
    told = ("-m", f"fake:{rate}", "--model-name", "tiny", "--label", method)
    return evaluate(out, *told, *words, **how)


def table(*folders: Path, words: tuple[object, ...] = ()) -> str:
    done = run("report", *folders, *words, "--format", "text")
    assert done.returncode == 0, done.stderr
    return done.stdout


def tidy(*folders: Path, words: tuple[object, ...] = ()) -> pd.DataFrame:
    done = run("report", *folders, *words, "--json", "--format", "csv")
    assert done.returncode == 0, done.stderr
    return pd.DataFrame(json.loads(done.stdout)["rows"]).set_index(["method", "benchmark"])


def letters(text: str, method: str) -> set[str]:
    """The marks on the row of a method, by the footnotes' own words."""
    row = next(line for line in text.splitlines() if line.startswith(f"{method}  "))
    found = set(re.findall(r"\[([a-g]+)\]", row))
    notes = dict(re.findall(r"^([a-g]): (.*)\.$", text, re.M))
    names = {words: name for name, words in MARKS.items()}
    return {names[notes[letter]] for marks in found for letter in marks}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A whole run of a policy that is nearly always right: nothing to mark."""
    return fake(tmp_path_factory.mktemp("base"), 0.97, "base")


def test_a_whole_run_has_no_mark(base):
    text = table(base)
    assert "[" not in text.splitlines()[4]
    assert set(tidy(base).status) == {"ok"}


def test_limited(base, tmp_path):
    few = fake(tmp_path, 0.97, "few", "-L", "8")
    assert letters(table(base, few), "few") == {"limited"}
    assert tidy(base, few).status["few", "avg_id"] == "limited"
    assert tidy(base, few).status["base", "avg_id"] == "ok"


def test_partial_where_a_kill_left_samples_out(base, tmp_path):
    cut = fake(tmp_path, 0.97, "cut")
    samples = cut / "samples" / "tiny_mixed.jsonl"
    rows = samples.read_text().splitlines(keepends=True)
    samples.write_text("".join(rows[:-15]))
    assert run("grade", cut, "--grader", "robust").returncode == 0
    found = tidy(base, cut)
    assert found.status["cut", "tiny_mixed"] == "partial"
    assert found.status["cut", "tiny_short"] == "ok"
    assert letters(table(base, cut), "cut") == {"partial"}


def test_partial_where_a_benchmark_has_no_sample_at_all(base, tmp_path):
    cut = fake(tmp_path, 0.97, "cut")
    (cut / "samples" / "tiny_mixed.jsonl").unlink()
    shutil.rmtree(cut / "grades")
    assert run("grade", cut, "--grader", "robust").returncode == 0
    found = tidy(base, cut)
    assert found.status["cut", "tiny_mixed"] == "partial"
    assert pd.isna(found.score["cut", "avg_id"])
    assert found.status["cut", "avg_id"] == "partial"


def test_truncated_above_five_percent(base, tmp_path):
    """A tenth of the wrong answers of fake:P is cut: 9 % at fake:0.1, 0.3 % at fake:0.97."""
    weak = fake(tmp_path, 0.1, "weak")
    assert letters(table(base, weak), "weak") == {"truncated"}
    assert letters(table(base, weak), "base") == set()


def test_truncated_of_a_real_policy_at_a_tiny_limit(base, tmp_path):
    told = ("-m", "tiny-llama", "--model-name", "tiny", "--label", "short", "-L", "6")
    short = evaluate(tmp_path / "a", *told, "--max-tokens", "4")
    alone = evaluate(tmp_path / "b", *told[:-4], "--label", "base", "-L", "6", "--max-tokens", "4")
    text = table(short, alone)
    assert {"truncated", "limited"} <= letters(text, "short")


def test_runs_at_another_limit_of_tokens_are_refused(base, tmp_path):
    short = fake(tmp_path, 0.9, "short", "--max-tokens", "4")
    done = run("report", base, short, "--format", "text")
    assert done.returncode == 2
    assert "max_gen_toks 96" in done.stderr
    ranked = run("leaderboard", base, short, "--out", tmp_path / "board")
    assert ranked.returncode == 2
    assert "different protocols cannot be ranked in one column" in ranked.stderr
    assert "tiny_short: max_gen_toks 96 in" in ranked.stderr
    assert not (tmp_path / "board").exists()


def test_two_folders_are_one_leaderboard_that_says_where_numbers_come_from(base, tmp_path):
    other = fake(tmp_path / "other machine", 0.5, "weak")
    done = run("leaderboard", base, tmp_path / "other machine", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    board = pd.read_csv(tmp_path / "leaderboard.csv")
    assert set(board.method) == {"base", "weak"}
    assert set(board.engine) == {"fake"}
    digests = json.loads((other / "manifest.json").read_text())["sampling"]
    mixed = board[board.task == "tiny_mixed"]
    assert set(mixed.dataset) == {f"tiny_mixed@{digests['tiny_mixed']['data_rev']}"}
    assert board.date.notna().all()
    lines = done.stdout.splitlines()
    assert [line.split(" | ")[2] for line in lines[2:4]] == ["base", "weak"]


def test_degraded(tmp_path):
    data = tmp_path / "data.jsonl"
    rows = ({"id": str(i), "question": f"{i}+1=", "answer": str(i + 1)} for i in range(6))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("train.steps=1", "train.allow_degraded=true")
    poor = train(tmp_path / "poor", *words, backend="sage", data=str(data))
    whole = train(tmp_path / "whole", "train.steps=1", backend="grpo")
    asked = ("-L", "6")
    folders = [evaluate(tmp_path / "evals", "-m", place, *asked) for place in (poor, whole)]
    text = table(*folders)
    assert "degraded" in letters(text, "sage")
    assert "degraded" not in letters(text, "grpo")


def test_recorded(tmp_path):
    live = train(tmp_path / "live", "train.steps=1", "log.groups=all", backend="grpo")
    words = ("train.steps=1", f"engine.rollouts=recorded:{tmp_path / 'live'}")
    again = train(tmp_path / "again", *words, backend="dr_grpo")
    asked = ("-L", "6")
    folders = [evaluate(tmp_path / "evals", "-m", place, *asked) for place in (live, again)]
    text = table(*folders)
    assert "recorded" in letters(text, "dr_grpo")
    assert "recorded" not in letters(text, "grpo")
    assert re.search(r"Recorded groups live \(.*\): dr_grpo\.", text)


# ---- every checkpoint, and what choosing on the test data is worth ------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Three steps, all saved and validated."""
    folder = tmp_path_factory.mktemp("trained") / "grpo"
    words = ("train.steps=3", "validation.every=1", "validation.samples=4", "validation.limit=8")
    train(folder, *words, "sampling.max_tokens=32", "train.prompts_per_step=8", backend="grpo")
    return folder


@pytest.fixture(scope="module")
def swept(trained, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    done = run("eval", "--checkpoints", trained, *TASKS, "-L", "8", "--out", out, "-q")
    assert done.returncode == 0, done.stderr
    return out


def rewards(trained: Path) -> dict[int, float]:
    lines = (trained / "validation.jsonl").read_text().splitlines()
    return {row["step"]: row["reward"] for row in map(json.loads, lines)}


def chosen(trained: Path) -> int:
    """The step that validation selects, by hand."""
    after = {step: reward for step, reward in rewards(trained).items() if step > 0}
    return min(after, key=lambda step: (-after[step], step))


def labels(out: Path) -> dict[int, str]:
    found = [json.loads(f.read_text())["label"] for f in out.rglob("manifest.json")]
    return {label["step"]: label["select_rule"] for label in found}


def test_every_saved_step_is_evaluated_and_validation_selects_one(trained, swept):
    expected = {step: "not selected" for step in range(4)}
    assert labels(swept) == {**expected, chosen(trained): "best on validation"}


def test_the_same_command_goes_on_and_prints_a_table_by_step(trained, swept, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(swept, out)
    gone = next(out.glob("*step_000002"))
    shutil.rmtree(gone)
    before = {f: f.stat().st_mtime for f in out.rglob("samples/*.jsonl")}
    words = ("eval", "--checkpoints", trained, *TASKS, "-L", "8", "--out", out, "-q", "--json")
    done = run(*words, "--select", "last")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["step"] for row in found["table"]] == [0, 1, 2, 3]
    assert found["selected"]["step"] == 3
    assert found["selected"]["select_rule"] == "last step"
    assert [row["validation"] for row in found["table"]] == [
        pytest.approx(100 * rewards(trained)[step]) for step in range(4)
    ]
    assert next(out.glob("*step_000002")).is_dir()
    # what was there was not drawn again
    assert all(file.stat().st_mtime == time for file, time in before.items())
    assert labels(out)[3] == "last step"


def test_only_the_selected_step_is_evaluated_on_request(trained, tmp_path):
    evaluate(tmp_path, "-m", trained, "--select", "best", "-L", "8")
    assert labels(tmp_path) == {chosen(trained): "best on validation"}


def test_best_of_test_is_off_by_default_marked_and_says_what_it_is_worth(trained, swept):
    plain = table(swept)
    assert "best of test" not in plain
    assert f"Checkpoints: best on validation (step {chosen(trained)})." in plain
    assert "3 further checkpoints were evaluated and not selected." in plain
    text = table(swept, words=("--best-of-test",))
    assert "chosen on test" in letters(text, "grpo, best of test")
    assert letters(text, "grpo") == {"limited"} | (letters(text, "grpo") & {"truncated"})
    found = tidy(swept, words=("--best-of-test",))
    averages = {}
    for file in swept.rglob("summary.csv"):
        board = pd.read_csv(file)
        row = board[(board.task == "avg") & (board.metric == "avg@n")].iloc[0]
        averages[int(row.step)] = row.value
    best = max(value for step, value in averages.items() if step > 0)
    assert found.score["grpo, best of test", "avg_id"] == pytest.approx(best)
    gain = best - averages[chosen(trained)]
    assert f"(best on validation): {gain:+.1f} points" in text
    # no place among the methods, and no test on the data it was chosen on
    assert ">" not in next(line for line in text.splitlines() if "grpo, best of test" in line)
    assert "best of test − base" not in text


def test_the_leaderboard_ranks_only_what_was_selected(trained, tmp_path):
    out = tmp_path / "evals"
    words = ("eval", "--checkpoints", trained, "-t", "tiny_short:1", "--out", out, "-q")
    assert run(*words).returncode == 0
    done = run("leaderboard", out, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    ranks = [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines()[2:6]]
    assert ranks == ["1", "–", "–", "–"]
    board = pd.read_csv(tmp_path / "leaderboard.csv").drop_duplicates("step").set_index("step")
    ledger = [json.loads(s) for s in (trained / "ledger.jsonl").read_text().splitlines()]
    spent = sum(row["rollouts"] for row in ledger if row["step"] < 2)
    assert board.train_rollouts[2] == spent
    assert board.train_tokens[2] == sum(r["tokens"] for r in ledger if r["step"] < 2)
    assert board.train_hours[2] > 0


def test_what_cannot_be_evaluated_is_named_before_anything_is_drawn(trained, tmp_path):
    both = run("eval", "--checkpoints", trained, "-m", "tiny-llama", *TASKS, "--out", tmp_path)
    assert both.returncode == 2
    assert "--checkpoints names the weights" in both.stderr
    wrong = run("eval", "--checkpoints", trained, "--select", "bets", *TASKS, "--out", tmp_path)
    assert "did you mean `best`" in wrong.stderr
    no_run = run("eval", "--checkpoints", tmp_path, *TASKS, "--out", tmp_path)
    assert "this is not a training run" in no_run.stderr
    planned = run("eval", "--checkpoints", trained, *TASKS, "--dry-run")
    assert "This 4 times: for each of the saved steps 0, 1, 2, 3." in planned.stdout
