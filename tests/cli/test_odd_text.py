"""Terminals that lack characters, and names nobody should give: one paragraph, nothing lost."""

from __future__ import annotations

import json

import pytest
from program import run

EVAL = ("eval", "-m", "fake:0.5", "-t", "tiny_short:2", "-L", "3", "-q")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_characters_still_shows_the_result(encoding, tmp_path):
    for model, label in (("fake:0.5", "α"), ("fake:0.6", "β")):
        words = ("-m", model, "--out", "runs", "--label", label)
        done = run(*EVAL, *words, cwd=tmp_path, encoding=encoding)
        assert done.returncode == 0, done.stderr
        assert "\\u03b" in done.stdout
    compared = run("compare", "runs", cwd=tmp_path, encoding=encoding)
    assert compared.returncode == 0, compared.stderr
    assert "\\u03b2 " in compared.stdout
    assert "tiny_short" in compared.stdout
    assert run("--help", encoding=encoding).returncode == 0


@pytest.mark.parametrize("name", ["[/x]", "[bold]", "x:smile:", "a b|c", "=1+1", "\udcff", "ünï"])
def test_a_folder_may_have_any_name(name, tmp_path):
    done = run(*EVAL, "--out", f"x/{name}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().splitlines()[-1]
    assert folder.startswith("x/")
    again = run("status", "x", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)[0]["state"] == "done"


@pytest.mark.parametrize(
    "words",
    [
        (*EVAL, "--out", "x" * 300),
        ("eval", "-m", "m" * 5000, "-t", "tiny_short", "--out", "x"),
        ("eval", "-m", "a/" + "m" * 5000, "-t", "tiny_short", "--out", "x", "--sampler", "hf"),
        ("train", "--model", "m" * 5000, "--data", "tiny", "--dry-run"),
        ("train", "--model", "tiny-llama", "--data", "d" * 5000 + ".jsonl", "--dry-run"),
        ("train", "--model", "tiny-llama", "--data", "tiny", "--out", "x" * 300),
        ("train", "--config", "c" * 5000, "--model", "tiny-llama", "--data", "tiny"),
        ("report", "r" * 5000),
        ("status", "s" * 5000),
        ("grade", "g" * 5000, "-g", "string"),
        ("grade-file", "g" * 5000 + ".jsonl"),
        ("compare", "c" * 5000),
        (*EVAL, "--limit", "[/x]", "--out", "x"),
        (*EVAL, "--out", "x", "[/bold]=1"),
    ],
)
def test_names_beyond_all_limits_are_one_paragraph(words, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert done.returncode in (1, 2), done.stdout
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 12_000


@pytest.mark.parametrize("verb", ["grade-file", "grader-eval"])
def test_brackets_nested_too_deep_are_a_row_that_is_set_aside(verb, tmp_path):
    good = '{"gold": "2", "response": "\\\\boxed{2}", "label": true}'
    (tmp_path / "deep.jsonl").write_text(good + "\n" + "[" * 200_000 + "\n")
    done = run(verb, "deep.jsonl", "-g", "string", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 rows, 1 quarantined" in done.stdout


def test_half_a_surrogate_pair_in_a_row_is_no_traceback(tmp_path):
    good = '{"gold": "2", "response": "\\\\boxed{2}"}'
    bad = '{"gold": "2", "response": "\\ud83d \\\\boxed{2}"}'
    (tmp_path / "half.jsonl").write_text(f"{good}\n{bad}\n")
    done = run("grade-file", "half.jsonl", "-g", "string", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "half of a surrogate pair" in done.stderr
    assert "1 rows, 1 quarantined" in done.stdout
