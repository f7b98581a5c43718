"""`--show-config` and `--dry-run` of training: everything that counts is there, nothing is cut."""

from __future__ import annotations

import json

import pytest
from program import run

TRAIN = ("train", "--backend", "sage", "--model", "tiny-llama", "--data", "tiny")
CHILD = '''
from sage_bench import register_backend
from sage_bench.backends.grpo import GRPO


@register_backend("child_of_grpo")
class Child(GRPO):
    """A child with nothing of its own."""
'''


def test_show_config_lists_every_switch_of_the_method():
    from sage_bench.methods.registry import BACKENDS

    shown = json.loads(run(*TRAIN, "--show-config", "--json", "method.hint_calls=per_level").stdout)
    switches = {f"method.{name}" for name in BACKENDS.get("sage").Config.model_fields}
    assert switches <= set(shown)
    assert shown["method.hint_calls"] == {"value": "per_level", "origin": "command line"}
    assert shown["method.group_size"]["origin"] == "preset tiny-llama"
    assert shown["method.std_ddof"]["origin"] == "default"


def test_show_config_is_not_cut():
    long = "x" * 500
    done = run(*TRAIN, "--show-config", f"validation.source=null prompts={long}", COLUMNS="40")
    assert done.returncode == 2
    done = run(*TRAIN, "--show-config", f"prompts={long}", COLUMNS="40")
    assert long in done.stdout


def test_a_dry_run_says_what_it_said():
    text = run(*TRAIN, "--dry-run").stdout
    for word in (
        *("backend", "source", "model", "data", "schedule", "rollouts", "optimiser", "objective"),
        *("engine", "switches"),
    ):
        assert f"\n{word} " in f"\n{text}"
    assert "paper and released code disagree on:" in text
    assert "arXiv 2602.03143" in text


def test_a_child_does_not_show_the_source_of_its_parent_as_its_own(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    words = ("--backend", "child_of_grpo", "--backend-file", "child.py", "--dry-run")
    done = run(*TRAIN, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "source     none of its own; builds on grpo" in done.stdout


def test_a_warning_is_part_of_the_plan():
    done = run(*TRAIN, "--dry-run", "method.group_size=1")
    assert "warning    method.group_size=1" in done.stdout
    plan = json.loads(run(*TRAIN, "--dry-run", "--json", "method.group_size=1").stdout)
    assert len(plan["warnings"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "tiny-lama"), "did you mean `tiny-llama`"),
        (("--config", "tiny-lama"), "did you mean `tiny-llama`"),
        (("validation.source=nope",), "unknown dataset `nope`"),
        (("sampling.max_tokens=100000",), "do not fit the model's context"),
        (("train.steps=yes",), "is true or false"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(words, said):
    done = run(*TRAIN, "--dry-run", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_help_and_page_agree_on_how_long_the_tiny_policies_take():
    from pathlib import Path

    page = " ".join((Path(__file__).parents[2] / "docs" / "train.md").read_text().split())
    assert "ten to twenty minutes each on one core" in page
    help_text = " ".join(run("tiny", "build", "--help").stdout.split())
    assert "ten to twenty minutes each on one core" in help_text
