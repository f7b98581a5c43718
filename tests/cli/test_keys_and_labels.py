"""Keys of servers are in no file and on no screen; labels forge no table and no page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_server import ChatServer, chat
from program import run

KEY = "sekret0123456789abcd"
SMALL = (
    *("train.steps=1", "train.prompts_per_step=2", "method.group_size=2", "train.save_every=1"),
    *("sampling.max_tokens=16", "validation.source=null", "log.tensorboard=false"),
)
FORGED = "x | **99.9**\n| forged | 1 | <script>alert(1)</script>\x1b[2J"


def files_with(folder: Path, text: str) -> list[str]:
    return [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    ]


@pytest.fixture
def trained(tmp_path):
    """A run whose configuration holds keys in a URL and in a nested body."""
    options = f"{{base_url: 'http://host/v1?api-key={KEY}', body: {{api_key: {KEY}}}}}"
    words = (
        *("train", "--backend", "grpo", "--model", "tiny-llama", "--data", "tiny", "--out", "run"),
        *("-q", *SMALL, f"model.template_options={options}"),
    )
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path, words, done


def test_a_training_run_keeps_no_key(trained):
    folder, words, done = trained
    assert files_with(folder, KEY) == []
    values = json.loads((folder / "run/config.json").read_text())["values"]
    assert values["model.template_options.base_url"] == "http://host/v1?api-key=***"
    assert values["model.template_options.body.api_key"] == "***"
    assert KEY not in done.stdout + done.stderr
    again = run(*words, "train.steps=2", cwd=folder)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("look", ["--show-config", "--dry-run"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_key_is_printed(look, form):
    options = f"{{base_url: 'http://host/v1?api-key={KEY}', body: {{api_key: {KEY}}}}}"
    words = ("--backend", "sgpo", "--model", "tiny-llama", "--data", "tiny", "method.judge=openai")
    done = run("train", *words, f"method.judge_options={options}", look, *form)
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    assert "api-key=***" in done.stdout


def test_an_evaluation_keeps_no_key_and_goes_on_with_another_one(tmp_path):
    with ChatServer(lambda n, body: chat("so \\boxed{3}")) as server:
        words = ("eval", "-m", "m", "--sampler", "openai", "-t", "tiny_short:1", "-L", "2", "-q")
        for key in (KEY, KEY[::-1]):
            url = f"base_url={server.url}?api-key={key}"
            done = run(*words, "--sampler-option", url, "--out", "runs", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert files_with(tmp_path, key) == []
            assert key not in done.stdout + done.stderr
    assert len(list((tmp_path / "runs/m").iterdir())) == 1, "a key is no part of what is asked"
    assert len(server.requests) == 2


def test_a_judge_keeps_no_key_and_goes_on_with_another_one(tmp_path):
    rows = [{"problem": f"{n}+1?", "steps": [f"{n}+1=9"], "label": 0} for n in (1, 2)]
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    reply = chat('{"steps": [], "first_error": 1, "why": "so"}')
    with ChatServer(lambda n, body: reply) as server:
        for key, limit in ((KEY, "1"), (KEY[::-1], "2")):
            words = (f"base_url={server.url}?api-key={key}", "model=m", "steps.jsonl", "-q")
            more = ("--judge", "openai", "--limit", limit, "--out", "judged")
            done = run("judge-eval", *words, *more, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert files_with(tmp_path, key) == []
            assert key not in done.stdout + done.stderr


def test_an_error_of_a_server_names_no_key(tmp_path):
    url = f"base_url=http://127.0.0.1:9/v1?api-key={KEY}"
    words = ("eval", "-m", "m", "--sampler", "openai", "-t", "tiny_short:1", "-L", "1", "-q")
    more = ("--sampler-option", url, "--sampler-option", "tries=1", "--out", "runs")
    done = run(*words, *more, cwd=tmp_path)
    assert done.returncode != 0
    assert KEY not in done.stdout + done.stderr


def test_a_label_forges_no_row_and_no_page(tmp_path):
    for model, label in (("fake:0.4", "weak"), ("fake:0.8", FORGED), ("fake:0.9", "=1+1")):
        words = ("-t", "tiny_short:2", "-L", "4", "--label", label, "--out", "runs", "-q")
        done = run("eval", "-m", model, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert not [line for line in done.stdout.splitlines() if line.startswith("| forged")]
    compared = run("compare", "runs", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert not [line for line in compared.stdout.splitlines() if line.startswith("| forged")]
    assert run("report", "runs", "--out", "report", cwd=tmp_path).returncode == 0
    page = (tmp_path / "report/report.html").read_text()
    assert "<script>alert(1)" not in page
    for table in tmp_path.rglob("*.md"):
        rows = table.read_text().splitlines()
        assert not [line for line in rows if line.startswith("| forged")], table
    for table in tmp_path.rglob("*.csv"):
        cells = [cell for line in table.read_text().splitlines() for cell in line.split(",")]
        assert "=1+1" not in cells, table
    assert "'=1+1" in (tmp_path / "report/leaderboard.csv").read_text()


def test_a_folder_that_looks_like_a_script_is_text_on_the_page(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    words = ("--backend", "sft", "--model", "tiny-llama", "--data", "tiny", "-q", *SMALL)
    for folder in (f"runs/{name}", "runs/b"):
        done = run("train", *words, "--out", folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert run("report", "runs", "--out", "report", cwd=tmp_path).returncode == 0
    assert name not in (tmp_path / "report/report.html").read_text()
