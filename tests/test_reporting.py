"""Statistics against closed forms and simulations; tables and the report."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sage_bench.reporting.report import report
from sage_bench.reporting.runs import EvalRun, TaskResult
from sage_bench.reporting.statistics import macro, mean_se, paired, sampling_se, t_interval
from sage_bench.reporting.tables import LEADERBOARD, compare, comparison, leaderboard, markdown


def test_standard_error_is_clustered_by_question():
    """Samples of one question are copies here: the naive error over samples would be half as large."""
    question = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    mean, se = mean_se(question)
    assert mean == 0.6 and se == pytest.approx(np.std(question, ddof=1) / np.sqrt(5))
    assert se == pytest.approx(stats.sem(question))


def test_macro_average_weighs_benchmarks_alike():
    scores = {"a": np.array([1.0, 1.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])}
    mean, se = macro(scores)
    assert mean == 0.75 and se == pytest.approx(np.sqrt(0.0 + stats.sem(scores["b"]) ** 2) / 2)


def test_sampling_error_matches_a_simulation():
    rng = np.random.default_rng(0)
    p, n = rng.random(200), 8
    draws = rng.binomial(n, p, size=(4000, 200)) / n
    assert np.mean([sampling_se(d, n) for d in draws]) == pytest.approx(draws.mean(1).std(), rel=0.03)


def test_intervals_cover():
    """t intervals of the mean of 30 questions, 2,000 simulated benchmarks: 95 % within 1.5 points."""
    rng = np.random.default_rng(1)
    truth, hits = 0.4, 0
    for _ in range(2000):
        p = rng.beta(0.4 * 2, 0.6 * 2, size=30)
        means = rng.binomial(16, p) / 16
        low, high = t_interval(*mean_se(means), 30)
        hits += low <= truth <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def simulate(rng, gain, n=40):
    difficulty = rng.normal(0, 1.5, size=(3, n))
    draw = lambda shift: {str(b): rng.binomial(4, stats.norm.cdf(difficulty[b] + shift)) / 4 for b in range(3)}  # noqa: E731
    return draw(gain), draw(0.0)


def test_paired_test_keeps_its_level_and_finds_a_gain():
    rng = np.random.default_rng(2)
    null = [paired(*simulate(rng, 0.0), draws=400, seed=i).p for i in range(300)]
    assert np.mean(np.array(null) < 0.05) < 0.09
    found = [paired(*simulate(rng, 0.8), draws=400, seed=i) for i in range(40)]
    assert np.mean([f.p < 0.05 for f in found]) > 0.9 and np.mean([f.low > 0 for f in found]) > 0.9


def test_paired_bootstrap_interval_covers():
    rng = np.random.default_rng(3)
    p = rng.random((3, 4000, 2))
    truth = (p[..., 0] - p[..., 1]).mean()
    hits = 0
    for i in range(400):
        pick = rng.integers(4000, size=(3, 50))
        drawn = {str(b): rng.binomial(4, p[b, pick[b]]) / 4 for b in range(3)}
        r = paired({k: v[:, 0] for k, v in drawn.items()}, {k: v[:, 1] for k, v in drawn.items()}, draws=500, seed=i)
        hits += r.low <= truth <= r.high
    assert hits / 400 == pytest.approx(0.94, abs=0.03)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=30), st.integers(0, 5))
def test_comparing_a_method_with_itself_finds_nothing(counts, seed):
    scores = {"t": np.array(counts) / 4}
    result = paired(scores, scores, draws=50, seed=seed)
    assert (result.diff, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_paired_comparison_needs_the_same_questions():
    with pytest.raises(ValueError, match="same questions"):
        paired({"t": np.zeros(3)}, {"t": np.zeros(4)})


def run_of(tmp_path, method: str, seed: int, gain: float = 0.0, status: str = "ok") -> EvalRun:
    rng = np.random.default_rng(seed)
    tasks = {t: TaskResult(np.clip(rng.random(50) * 0.5 + gain, 0, 1), 4, 30.0, 0.01, 0.02, 0, status) for t in ("tiny_short", "tiny_long")}
    how = {"temperature": 0.6, "top_p": 0.95, "max_gen_toks": 96, "prompt_id": "p", "data_rev": "d"}
    return EvalRun(tmp_path / method, f"m/{method}", method, {"method": method, "step": 40, "train_seed": 0}, tasks, {"sampling": dict.fromkeys(tasks, how), "grader": "math_verify"})


def test_tables_say_what_they_show(tmp_path):
    runs = {"base": run_of(tmp_path, "base", 0), "grpo": run_of(tmp_path, "grpo", 1, 0.1), "sage": run_of(tmp_path, "sage", 2, 0.3)}
    table = comparison(runs, {"grpo": {"no signal %": 40.0}})
    assert list(table.index) == ["base", "grpo", "sage"] and table.delta["base"] == 0 and table.delta["sage"] > table.delta["grpo"] > 0
    text = markdown(table, ["a note"])
    assert text.count("\n|---|") == 1 and "**" in text and "–" in text and text.endswith("a note\n")
    found = compare("sage", "grpo", runs)
    assert found["ci"][0] > 0 and found["ci"][0] < found["diff"] < found["ci"][1] and found["p"] < 0.01
    board = leaderboard(list(runs.values()))
    assert list(board.columns) == LEADERBOARD and len(board) == 9 and set(board[board.task == "avg"].n_questions) == {100}


def test_a_partial_row_is_marked(tmp_path):
    board = leaderboard([run_of(tmp_path, "grpo", 1, status="partial 199/200")])
    assert set(board.status) == {"partial 199/200", "partial"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from sage_bench.cli.common import training_config
    from sage_bench.training import loop, setup

    out = tmp_path_factory.mktemp("report")
    words = ["train.prompts_per_step=4", "method.group_size=4", "train.steps=2", "validation.limit=4", "validation.every=1"]
    for backend in ("grpo", "sage"):
        config = training_config(backend=backend, model="tiny-llama", data="tiny", engine=None, configs=[], overrides=words, backend_files=[])
        loop.train(setup.build(config, out / backend, quiet=True))
    return out


def test_the_report_is_one_file_that_needs_no_network(trained, tmp_path):
    written = report([trained / "grpo", trained / "sage"], tmp_path)
    assert {p.name for p in written} == {"report.html", "curves.csv"}
    page = (tmp_path / "report.html").read_text()
    assert "Reward without a hint" in page and "Hint use" in page and 'src="http' not in page
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves.method) == {"grpo", "sage"} and {"plain_reward", "validation/reward", "dead_wrong"} <= set(curves.metric)


def test_the_report_draws_in_a_browser(trained, tmp_path):
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium on this machine")
    report([trained], tmp_path)
    dom = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", f"file://{tmp_path / 'report.html'}"],
        capture_output=True, text=True, timeout=120,
    ).stdout
    assert dom.count('class="main-svg"') >= 6  # plotly drew the panels


def test_summary_of_a_page_is_json_safe(tmp_path):
    runs = {"a": run_of(tmp_path, "a", 0), "b": run_of(tmp_path, "b", 0)}
    assert json.loads(json.dumps(compare("a", "b", runs)))["diff"] == 0
