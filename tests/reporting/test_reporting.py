"""Statistics against closed forms and simulations; tables and the report."""

from __future__ import annotations

import html as html_escapes
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sage_bench.backends.oar.report import responses
from sage_bench.reporting.leaderboard import LEADERBOARD, leaderboard
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import EvalRun, TaskResult
from sage_bench.reporting.tables import compare, comparison, markdown
from sage_bench.statistics import macro, mean_se, paired, sampling_se, t_interval


def test_standard_error_is_clustered_by_question():
    """Samples of one question are copies here: the naive error over samples would be half as
    large."""
    question = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    mean, se = mean_se(question)
    assert mean == 0.6
    assert se == pytest.approx(np.std(question, ddof=1) / np.sqrt(5))
    assert se == pytest.approx(stats.sem(question))


def test_macro_average_weighs_benchmarks_alike():
    scores = {"a": np.array([1.0, 1.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])}
    mean, se = macro(scores)
    assert mean == 0.75
    assert se == pytest.approx(np.sqrt(0.0 + stats.sem(scores["b"]) ** 2) / 2)


def test_sampling_error_matches_a_simulation():
    rng = np.random.default_rng(0)
    p, n = rng.random(200), 8
    draws = rng.binomial(n, p, size=(4000, 200)) / n
    assert np.mean([sampling_se(d, n) for d in draws]) == pytest.approx(
        draws.mean(1).std(), rel=0.03
    )


def test_intervals_cover():
    """t intervals of the mean of 30 questions, 2,000 simulated benchmarks: 95 % within 1.5
    points."""
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
    draw = lambda shift: {
        str(b): rng.binomial(4, stats.norm.cdf(difficulty[b] + shift)) / 4 for b in range(3)
    }
    return draw(gain), draw(0.0)


def test_paired_test_keeps_its_level_and_finds_a_gain():
    rng = np.random.default_rng(2)
    null = [paired(*simulate(rng, 0.0), draws=400, seed=i).p for i in range(300)]
    assert np.mean(np.array(null) < 0.05) < 0.09
    found = [paired(*simulate(rng, 0.8), draws=400, seed=i) for i in range(40)]
    assert np.mean([f.p < 0.05 for f in found]) > 0.9
    assert np.mean([f.low > 0 for f in found]) > 0.9


def test_paired_bootstrap_interval_covers():
    rng = np.random.default_rng(3)
    p = rng.random((3, 4000, 2))
    truth = (p[..., 0] - p[..., 1]).mean()
    hits = 0
    for i in range(400):
        pick = rng.integers(4000, size=(3, 50))
        drawn = {str(b): rng.binomial(4, p[b, pick[b]]) / 4 for b in range(3)}
        r = paired(
            {k: v[:, 0] for k, v in drawn.items()},
            {k: v[:, 1] for k, v in drawn.items()},
            draws=500,
            seed=i,
        )
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


def train(backend: str, data: str, out: Path, *words: str) -> Path:
    from sage_bench.api.settings import training_config
    from sage_bench.training import loop, setup

    overrides = [
        "train.prompts_per_step=4",
        "method.group_size=4",
        "train.steps=2",
        "validation.limit=4",
        "validation.every=1",
        *words,
    ]
    config = training_config(
        backend=backend,
        model="tiny-llama",
        data=data,
        engine=None,
        configs=[],
        overrides=overrides,
        backend_files=[],
    )
    loop.train(setup.build(config, out / backend, quiet=True))
    return out / backend


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    for backend in ("grpo", "sage"):
        train(backend, "tiny", out)
    return out


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A run of OAR-G on short problems, which the tiny policy solves now and then: groups with
    right and wrong responses."""
    from sage_bench.data.tiny_world import problems

    out = tmp_path_factory.mktemp("weighted")
    (out / "short.jsonl").write_text(
        "".join(
            json.dumps(
                {"uid": p.uid, "question": p.question, "answer": p.answer, "solution": p.solution}
            )
            + "\n"
            for p in problems("tiny_short")[:64]
        )
    )
    return train(
        "oar_g",
        str(out / "short.jsonl"),
        out,
        "train.prompts_per_step=8",
        "method.group_size=8",
        "train.steps=3",
    )


def browse(page: Path, profile: Path, *flags: str) -> str:
    """The document after a real browser has run it."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium on this machine")
    return subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=8000",
            *flags,
            "--dump-dom",
            f"file://{page}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def test_the_report_is_one_file_that_needs_no_network(trained, tmp_path):
    written = report([trained / "grpo", trained / "sage"], tmp_path)
    assert {p.name for p in written} == {"report.html", "curves.csv"}
    page = (tmp_path / "report.html").read_text()
    assert "Reward without a hint" in page
    assert "Hint use" in page
    assert 'src="http' not in page
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves.method) == {"grpo", "sage"}
    assert {
        "plain_reward",
        "validation/reward",
        "dead_wrong",
    } <= set(curves.metric)


def test_the_report_draws_in_a_browser(trained, tmp_path):
    report([trained], tmp_path)
    assert (
        browse(tmp_path / "report.html", tmp_path / "profile").count('class="main-svg"') >= 6
    )  # plotly drew the panels


def test_the_report_shows_affinity_and_the_hint_gap(trained, tmp_path):
    report([trained / "sage"], tmp_path)
    page, curves = (tmp_path / "report.html").read_text(), pd.read_csv(tmp_path / "curves.csv")
    for title, metric in (("Hint gap", "learner/hint_gap"), ("Affinity", "learner/affinity")):
        assert (f"<h3>{title}</h3>" in page) == (metric in set(curves.metric))
    assert "learner/hint_gap" in set(
        curves.metric
    )  # most tiny prompts fail, so SAGE hints in every step


def test_token_weights_are_shown_as_coloured_text(weighted, tmp_path):
    """One span a token, in order, with the number of the file; right and wrong responses side by
    side."""
    report([weighted], tmp_path)
    page = (tmp_path / "report.html").read_text()
    blocks = re.findall(r'<div class="tokens">(.*?)</div>', page, re.DOTALL)
    found = responses(weighted)
    assert len(blocks) == len(found) > 1
    assert {r.facts.split(",")[0] for r in found} == {
        "right",
        "wrong",
    }
    for block, r in zip(blocks, found, strict=True):
        spans = re.findall(
            r'<span(?: class="(\w+)" style="--s:([\d.]+)")? title="weight ([\d.]+)">(.*?)</span>',
            block,
            re.DOTALL,
        )
        assert [html_escapes.unescape(text) for *_, text in spans] == [s.text for s in r.spans]
        assert len(spans) == block.count("<span")
        assert all(
            side == ("" if w == "1.000" and not side else "up" if float(w) > 1 else "down")
            or abs(float(w) - 1) < 1e-3
            for side, _, w, _ in spans
        )
        assert sum(s.weight for s in r.spans) == pytest.approx(
            len(r.spans), abs=0.01
        )  # the advantage keeps its mass
    stored = [
        json.loads(line) for line in (weighted / "completions.jsonl").read_text().splitlines()
    ]
    texts = {c["text"] for row in stored for c in row["completions"]}
    assert all("".join(s.text for s in r.spans).removesuffix("<|end|>") in texts for r in found)


def test_token_texts_are_escaped_and_weights_of_one_are_left_out(weighted, tmp_path):
    run = shutil.copytree(weighted, tmp_path / "run")
    nasty = ['<script>document.title="owned"</script>', '"><b>', "&amp;", "\n", "x"]
    row = {
        "step": 0,
        "uid": "<i>u</i>",
        "level": 0,
        "prompt": "",
        "hint": None,
        "answer": "<u>1</u>",
    }
    row |= {
        "completions": [{"text": "", "finish": "stop", "reward": 0.0}] * 2,
        "weights": [
            [(t, w) for t, w in zip(nasty, (0.1, 1.0, 2.0, 1.5, 40.0), strict=True)],
            [("y", 1.0)],
        ],
    }
    (run / "completions.jsonl").write_text(json.dumps(row) + "\n")
    assert [[s.text for s in r.spans] for r in responses(run)] == [nasty]
    report([run], tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>document" not in page
    assert "<i>u" not in page
    assert "<u>1" not in page
    assert page.count('<div class="tokens">') == 1
    dom = browse(tmp_path / "out/report.html", tmp_path / "profile")
    assert "owned" not in re.search(r"<title>(.*?)</title>", dom)[1]
    assert "<b>" not in re.search(r'<div class="tokens">(.*?)</div>', dom, re.DOTALL)[1]


# appended to a page: what the browser says of every token's colours, blended over the page's own
CONTRAST = r"""
<pre id="seen"></pre><script>
  const rgba = c => { const n = c.match(/[\d.]+/g).map(Number); return c.startsWith("color(") ? n.slice(-4).map((v, i) => i < 3 ? 255 * v : v) : n.length < 4 ? [...n, 1] : n };
  const light = c => { const l = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * l[0] + .7152 * l[1] + .0722 * l[2] };
  const over = (a, b) => b.map((v, i) => a[3] * a[i] + (1 - a[3]) * v);
  const paper = rgba(getComputedStyle(document.body).backgroundColor);
  const seen = [...document.querySelectorAll(".tokens span, .legend span")].map(s => {
    const style = getComputedStyle(s), a = light(over(rgba(style.backgroundColor), paper.slice(0, 3))), b = light(rgba(style.color));
    return { contrast: (Math.max(a, b) + .05) / (Math.min(a, b) + .05), colour: style.backgroundColor, title: s.title };
  });
  document.getElementById("seen").textContent = JSON.stringify({ dark: matchMedia("(prefers-color-scheme: dark)").matches, seen });
</script>"""


@pytest.mark.parametrize("dark", [False, True])
def test_coloured_tokens_are_readable_in_both_modes(weighted, tmp_path, dark):
    """In a real browser: every token at least 4.5 : 1 against its background (WCAG AA), and colours
    that tell up from down."""
    report([weighted], tmp_path)
    page = tmp_path / "report.html"
    page.write_text(page.read_text().replace("</body>", CONTRAST + "</body>"))
    dom = browse(
        page, tmp_path / "profile", f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    )
    told = json.loads(
        html_escapes.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1])
    )
    assert told["dark"] is dark
    assert len(told["seen"]) > 20
    assert min(s["contrast"] for s in told["seen"]) >= 4.5
    legend = {s["title"]: s["colour"] for s in told["seen"][:5]}
    assert list(legend) == [
        "weight 0.250",
        "weight 0.500",
        "weight 1.000",
        "weight 2.000",
        "weight 4.000",
    ]
    assert len(set(legend.values())) == 5


def test_summary_of_a_page_is_json_safe(tmp_path):
    runs = {"a": run_of(tmp_path, "a", 0), "b": run_of(tmp_path, "b", 0)}
    assert json.loads(json.dumps(compare("a", "b", runs)))["diff"] == 0
