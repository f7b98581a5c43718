"""The program from outside: help, exit codes, errors, listings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from program import run


def outside(*words: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words], capture_output=True, text=True, timeout=300
    )


VERBS = (
    "demo",
    "train",
    "launch",
    "eval",
    "grade",
    "grade-file",
    "judge-eval",
    "check",
    "grader-eval",
    "report",
    "view",
    "leaderboard",
    "figures",
    "compare",
    "ls",
    "validate",
    "doctor",
    "status",
    "watch",
    "export",
    "import",
    "data openr1-15k",
    "data decontaminate",
    "tiny build",
)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_has_examples_and_imports_nothing_heavy(verb):
    words = [*verb.split(), "--help"]
    code = (
        f"import sys; sys.argv = ['sage-bench'] + {words!r}\nfrom sage_bench.cli.main import"
        " main\ntry:\n    main()\nexcept SystemExit as e:\n    assert not e.code\nassert not"
        " {'torch', 'transformers', 'pandas', 'lm_eval', 'numpy', 'scipy'} &"
        " set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sage-bench" in done.stdout
    assert not verb or done.stdout.count("sage-bench ") >= 3


def test_version_and_module_are_the_same_program():
    assert outside("--version").stdout.startswith("sage-bench ")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["train", "--backend", "grop", "--model", "tiny-llama", "--data", "tiny", "--out", "x"],
            2,
            "did you mean `grpo`",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "--engine",
                "locale",
            ],
            2,
            "did you mean `local`",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tinny",
                "--out",
                "x",
            ],
            2,
            "did you mean `tiny`",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "optim.lrr=1",
            ],
            2,
            "did you mean `optim.lr`",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "lr=1",
            ],
            2,
            "did you mean `optim.lr`",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "optim.lr=fast",
            ],
            2,
            "optim.lr",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "method.levels=2",
            ],
            2,
            "method.levels",
        ),
        (["train", "--backend", "grpo", "--data", "tiny", "--out", "x"], 2, "--model"),
        (
            ["train", "--model", "/no/such/model", "--data", "tiny", "--out", "x"],
            1,
            "no such model folder",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "no.jsonl",
                "--out",
                "x",
            ],
            2,
            "no such data file",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "/proc/x",
            ],
            1,
            "cannot be written",
        ),
        (
            [
                "train",
                "--backend",
                "grpo",
                "--model",
                "tiny-llama",
                "--data",
                "tiny",
                "--out",
                "x",
                "train.prompts_per_step=9999",
            ],
            2,
            "fewer than one batch",
        ),
        (["train", "--config", "missing.yaml", "--out", "x"], 2, "missing.yaml"),
        (
            ["eval", "--model", "tiny-llama", "--tasks", "tiny_shrt", "--out", "x"],
            2,
            "did you mean `tiny_short`",
        ),
        (["eval", "--model", "tiny-llama", "--tasks", "tiny:zero", "--out", "x"], 2, "tiny:zero"),
        (
            [
                "eval",
                "--model",
                "tiny-llama",
                "--tasks",
                "tiny:4",
                "--out",
                "x",
                "--temperature",
                "0",
            ],
            2,
            "equal copies",
        ),
        (["ls", "backend"], 2, "did you mean `backends`"),
        (["report", "nowhere"], 2, "not a run folder"),
        (["grade", "nowhere", "--grader", "oat"], 2, "no such file or folder"),
        (["grade", "nowhere", "--grader", "oatt"], 2, "did you mean `oat`"),
        (["grade", "."], 2, "nothing to do"),
        (["grader-eval", "nowhere.jsonl", "--grader", "strng"], 2, "did you mean `string`"),
        (["grader-eval", "nowhere.jsonl"], 2, "no such data file"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_usage_is_one_paragraph_and_its_own_exit_code(words, code, said, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not [
        p for p in tmp_path.rglob("*") if p.suffix in {".jsonl", ".safetensors"}
    ]  # nothing half-written


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("eval", "--model", "empty", "--tasks", "tiny", "--out", "o", cwd=tmp_path)
    assert done.returncode == 1
    assert "config.json is missing" in done.stderr


@pytest.mark.parametrize(
    "kind", ["backends", "judges", "tasks", "models", "engines", "graders", "datasets", "samplers"]
)
def test_listings_are_readable_by_people_and_programs(kind):
    rows = json.loads(run("ls", kind, "--json").stdout)
    text = run("ls", kind).stdout
    assert rows
    assert all(r["name"] in text for r in rows)


def test_backends_say_source_switches_and_disputes():
    text = run("ls", "backends", "--verbose").stdout
    assert "arXiv 2602.03143" in text
    assert "[paper per_level, code one]" in text
    sage = next(
        b for b in json.loads(run("ls", "backends", "--json").stdout) if b["name"] == "sage"
    )
    assert {"name", "default", "help", "paper", "code"} <= set(
        next(s for s in sage["switches"] if s["name"] == "hint_calls")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset", ["llama-3.2-3b-instruct", "qwen2.5-7b-instruct", "qwen3-4b-instruct-2507"]
)
@pytest.mark.parametrize("backend", ["sage", "grpo", "sage_light", "sft"])
def test_the_papers_models_have_presets_that_load(preset, backend):
    import sage_bench

    file = Path(sage_bench.__file__).parent / "config" / "presets" / f"{preset}.yaml"
    for how in (["--config", str(file)], ["--model", preset]):
        done = run("train", *how, "--backend", backend, "--dry-run")
        assert done.returncode == 0, done.stderr
        steps = (
            "3 epochs, 64 prompts"
            if backend == "sft"
            else "500 steps, 128 prompts each, 2 optimiser steps"
        )
        assert steps in done.stdout
        assert ("lr 5e-05 cosine" if backend == "sft" else "lr 1e-06 constant") in done.stdout
    if backend != "sft":
        assert f"rollouts   {128 * (4 if 'qwen3' in preset else 8)} a step" in done.stdout


def test_every_value_knows_where_it_comes_from(tmp_path):
    (tmp_path / "my.yaml").write_text("optim: {lr: 2.0e-5}\ntrain: {steps: 7}\n")
    done = run(
        "train",
        "--backend",
        "grpo",
        "--model",
        "tiny-llama",
        "--data",
        "tiny",
        "--config",
        "my.yaml",
        "--show-config",
        "train.steps=9",
        cwd=tmp_path,
        SAGE_BENCH_TRAIN__SEED="3",
    )
    rows = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    lines = {row[0]: row[1:3] for row in rows if len(row) == 3}
    assert lines["optim.lr"] == ["2e-05", "my.yaml"]
    assert lines["train.steps"] == [
        "9",
        "command line",
    ]
    assert lines["train.seed"] == ["3", "environment"]
    assert lines["sampling.max_tokens"] == ["96", "preset tiny-llama"]
    assert lines["optim.eps"] == ["1e-08", "default"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optim: {lrr: 1}", "bad.yaml: optim.lrr: unknown key; did you mean `optim.lr`"),
        ("optim: [", "is not YAML"),
        ("- a", "must be a mapping"),
        ("train: {steps: many}", "bad.yaml: train.steps"),
    ],
)
def test_a_wrong_yaml_names_file_and_key(text, said, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    done = run(
        "train",
        "--model",
        "tiny-llama",
        "--data",
        "tiny",
        "--config",
        "bad.yaml",
        "--out",
        "x",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert said in done.stderr


def test_garbage_is_collected_while_a_verb_runs():
    """It is not while the program starts, which `--help` consists of."""
    program = """
import gc, sys
from sage_bench.__main__ import run
from sage_bench.cli.main import app
app.command("probe")(lambda: print(gc.isenabled()))
sys.argv = ["sage-bench", "probe"]
run()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
