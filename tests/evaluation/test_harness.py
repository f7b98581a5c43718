"""lm-eval is driven by its public parts, and says what its own command says."""

from __future__ import annotations

import subprocess

import pytest

from sage_bench.evaluation.harness import lm_eval_results
from sage_bench.evaluation.lm import StoreLM
from sage_bench.evaluation.tasks.loading import DataOptions, load, task_manager
from sage_bench.generation.samplers.fake import Fake

# what the command adds about the machine and about options that are not ours
OF_THE_MACHINE = {"config", "git_hash", "date", "pretty_env_info", "upper_git_hash"}
OF_THE_MACHINE |= {"transformers_version", "lm_eval_version"}


def tasks():
    return load({"tiny_short": 2, "tiny_mixed": 1}, DataOptions())[0]


def plain(value):
    """Values that can be compared: functions by name."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return getattr(value, "__name__", value) if callable(value) else value


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(ours, lm-eval's own) results of two tasks."""
    from lm_eval import evaluator

    folder = tmp_path_factory.mktemp("run")
    ours = lm_eval_results(StoreLM(Fake("fake:0.5"), folder), tasks(), 3)
    theirs = evaluator.simple_evaluate(
        model=StoreLM(Fake("fake:0.5"), folder),
        tasks=list(tasks().values()),
        task_manager=task_manager(),
        apply_chat_template=True,
        limit=3,
        bootstrap_iters=0,
        log_samples=True,
        confirm_run_unsafe_code=True,
    )
    return plain(ours), plain(theirs)


def test_the_same_keys_but_for_the_report_of_the_machine(both):
    ours, theirs = both
    assert set(theirs) - OF_THE_MACHINE == set(ours) - OF_THE_MACHINE


@pytest.mark.parametrize(
    "key", ["results", "samples", "n-samples", "versions", "n-shot", "higher_is_better"]
)
def test_the_same_results(both, key):
    ours, theirs = both
    assert ours[key] == theirs[key]


def test_the_same_configuration_of_the_tasks(both):
    ours, theirs = both
    assert ours["configs"] == theirs["configs"]


def test_no_program_is_started(tmp_path, monkeypatch):
    def refuse(*words, **how):
        raise AssertionError(f"started {words}")

    lm = StoreLM(Fake("fake:0.5"), tmp_path)
    loaded = tasks()
    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "check_output", refuse)
    results = lm_eval_results(lm, loaded, 1)
    assert set(results["results"]) == {"tiny_short", "tiny_mixed"}
