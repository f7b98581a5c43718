"""doctor: the real machine, and machines on which something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version

import datasets
import pytest
import stand_ins
from hub_cache import leave

from sage_bench.cli import doctor_checks as doctor
from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.grading.pool import Pool


def test_this_machine(tmp_path):
    found = {f.name: f for f in doctor.examine(tmp_path / "runs", network=False)}
    assert found["torch"].found == version("torch")
    assert found["lm_eval"].found == version("lm_eval")
    assert found["antlr4-python3-runtime"].found == "4.13.2"
    assert {
        "python",
        "vllm",
        "gpu",
        "cpu",
        "browser",
        "runs folder",
        "hub cache",
        "benchmarks",
        "hub",
    } <= set(found)
    assert found["grading canary"].state == "ok"
    assert found["grading canary"].found.startswith("6 of 6")
    assert found["graders"].state == "ok"
    assert all(f.remedy for f in found.values() if f.state == "wrong")
    assert found["hub"].state == "note"
    assert "offline" in found["hub"].found
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_comparer_that_says_otherwise_is_noticed():
    class Old(Pool):
        """As with antlr 4.11: a percentage stays text."""

        def compare(self, jobs):
            return [
                {**reply, "correct": reply["correct"] and "%" not in answer}
                for (_, answer), reply in zip(jobs, super().compare(jobs), strict=True)
            ]

    with closing(Old()) as pool:
        finding = doctor.canary(pool)
    assert finding.state == "wrong"
    assert r"50\% against 50; 50\% against 0.5 (math-verify 0.9" in finding.found
    assert "antlr4-python3-runtime==4.13.2" in finding.remedy


def test_comparisons_that_are_lost_are_not_taken_for_wrong_answers():
    class Lost(Pool):
        def compare(self, jobs):
            return [{"correct": False, "status": "timeout"} for _ in jobs]

    assert doctor.canary(Lost()).found.count(" against ") == 6, (
        "two of the six should be unequal, and nobody knows that they are"
    )


def test_versions_that_do_not_fit_and_packages_that_are_missing(monkeypatch):
    def other(name: str) -> str:
        if name == "math-verify":
            raise doctor.PackageNotFoundError
        return {"antlr4-python3-runtime": "4.11.0"}.get(name, version(name))

    monkeypatch.setattr(doctor, "version", other)
    found = {f.name: f for f in doctor.packages()}
    assert (found["antlr4-python3-runtime"].state, found["antlr4-python3-runtime"].remedy) == (
        "wrong",
        "pip install 'antlr4-python3-runtime==4.13.2'",
    )
    assert found["math-verify"].state == "wrong"
    assert found["math-verify"].found == "not installed"
    assert found["torch"].state == "ok"
    assert doctor.vllm().state in ("ok", "note")


def test_what_is_missing_has_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert (doctor.browser().state, doctor.browser().remedy) == (
        "note",
        "apt-get install chromium",
    )
    assert "OMP_WAIT_POLICY=PASSIVE" in doctor.cpu().remedy
    assert doctor.writable("runs folder", doctor.Path("/proc/x")).state == "wrong"
    assert doctor.writable("runs folder", tmp_path / "a/b").state in ("ok", "note")
    broken = doctor.guarded("gpu", lambda: 1 / 0)
    assert (broken.state, broken.found) == ("wrong", "ZeroDivisionError: division by zero")


def test_a_task_whose_grader_is_not_there_is_noticed(monkeypatch):
    assert doctor.graders().state == "ok"
    monkeypatch.delitem(stand_ins.GRADERS._entries, "mcq")
    assert doctor.graders().state == "wrong"
    assert "mcq" in doctor.graders().found


@pytest.mark.parametrize("revision", ["pinned", "0" * 40])
def test_cached_benchmarks_are_counted_by_their_revision(revision, tmp_path, monkeypatch):
    place = task_files()["sb_amc23"].values["metadata"]["hub"]
    leave(
        tmp_path,
        place["id"],
        "default",
        "test",
        place["revision"] if revision == "pinned" else revision,
        [{"question": "1?", "answer": "1"}],
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    assert doctor.benchmarks().found.startswith(
        f"{int(revision == 'pinned')} of 8 in the cache, not sb_aime24"
    )


def test_the_command(tmp_path):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sage_bench", "doctor", "--no-network", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            env={**os.environ, "HF_TOKEN": "hf_secret"},
        )

    done = run("--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 4)
    assert {"name", "state", "found", "remedy"} == set(found["findings"][0])
    assert "secret" not in done.stdout
    done = run("--out", "/proc/x")
    assert done.returncode == 4
    assert "runs folder" in done.stderr
    assert "what" in done.stdout.splitlines()[0]
    assert "grading canary" in done.stdout
