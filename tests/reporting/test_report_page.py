"""The HTML report: it needs no network, and a real browser draws curves and token weights."""

from __future__ import annotations

import html as html_escapes
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from sage_bench.backends.oar.report import responses
from sage_bench.reporting.report import report


def train(backend: str, data: str, out: Path, *words: str) -> Path:
    from sage_bench.api.settings import training_config
    from sage_bench.training import loop, setup

    overrides = [
        "optim.warmup_steps=0",
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


def test_the_report_needs_no_network(trained, tmp_path):
    written = report([trained / "grpo", trained / "sage"], tmp_path)
    assert {p.name for p in written} == {"index.html", "report.html", "curves.csv"}
    page = (tmp_path / "index.html").read_text()
    assert "Reward without a hint" in page
    assert "Hint use" in page
    assert 'src="http' not in page
    loaded = re.findall(r'(?:src|href)="([^"#:]+)"', page)
    assert len(loaded) > 5
    assert all((tmp_path / file).is_file() for file in loaded)
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert set(curves.method) == {"grpo", "sage"}
    assert {
        "plain_reward",
        "validation/reward",
        "dead_wrong",
    } <= set(curves.metric)


def test_the_older_name_is_the_same_page(trained, tmp_path):
    report([trained / "grpo"], tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (tmp_path / "index.html").read_bytes()


def test_the_report_draws_in_a_browser(trained, tmp_path):
    report([trained], tmp_path)
    assert (
        browse(tmp_path / "index.html", tmp_path / "profile").count('class="main-svg"') >= 6
    )  # plotly drew the panels


def test_the_report_shows_affinity_and_the_hint_gap(trained, tmp_path):
    report([trained / "sage"], tmp_path)
    page, curves = (tmp_path / "index.html").read_text(), pd.read_csv(tmp_path / "curves.csv")
    for title, metric in (("Hint gap", "learner/hint_gap"), ("Affinity", "learner/affinity")):
        assert (f"<h3>{title}</h3>" in page) == (metric in set(curves.metric))
    assert "learner/hint_gap" in set(
        curves.metric
    )  # most tiny prompts fail, so SAGE hints in every step


def test_token_weights_are_shown_as_coloured_text(weighted, tmp_path):
    """One span a token, in order, with the number of the file; right and wrong responses side by
    side."""
    report([weighted], tmp_path)
    page = (tmp_path / "index.html").read_text()
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
        for side, _, weight, _ in spans:
            # a weight that is shown as 1 may have either colour, or none
            if abs(float(weight) - 1) >= 1e-3:
                assert side == ("up" if float(weight) > 1 else "down")
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
    page = (tmp_path / "out/index.html").read_text()
    assert "<script>document" not in page
    assert "<i>u" not in page
    assert "<u>1" not in page
    assert page.count('<div class="tokens">') == 1
    dom = browse(tmp_path / "out/index.html", tmp_path / "profile")
    assert "owned" not in re.search(r"<title>(.*?)</title>", dom)[1]
    assert "<b>" not in re.search(r'<div class="tokens">(.*?)</div>', dom, re.DOTALL)[1]


# appended to a page: what the browser says of every token's colours, blended over the page's own
CONTRAST = Path(__file__).with_name("contrast.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True])
def test_coloured_tokens_are_readable_in_both_modes(weighted, tmp_path, dark):
    """In a real browser: every token at least 4.5 : 1 against its background (WCAG AA), and colours
    that tell up from down."""
    report([weighted], tmp_path)
    page = tmp_path / "index.html"
    # the page itself runs no script that stands in it; the one of this test may
    own = page.read_text().replace("script-src 'self'", "script-src 'unsafe-inline' 'self'")
    page.write_text(own.replace("</body>", CONTRAST + "</body>"))
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
