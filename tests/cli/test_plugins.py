"""Packages of others that do not load: every verb goes on, `ls` and `doctor` name them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sage_bench.cli import doctor_checks
from sage_bench.grading.registry import GRADERS


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with an installed package whose grader raises on import, and a backend's module."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sb_broken.py").write_text("raise RuntimeError('no licence')\n")
    (folder / "sb_leaves.py").write_text("raise SystemExit('no exam today')\n")
    (folder / "sb_module.py").write_text(
        "from sage_bench import register_backend\n"
        "from sage_bench.backends.grpo import GRPO\n"
        "@register_backend('theirs')\n"
        "class Theirs(GRPO):\n    'Their method.'\n"
    )
    info = folder / "sb_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sb-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sage_bench.graders]\nlicensed = sb_broken:Grader\n"
        "[sage_bench.tasks]\nexam = sb_leaves\n"
        "[sage_bench.backends]\ntheirs = sb_module\n"
    )
    return folder


def outside(site, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_ls_names_a_plugin_that_does_not_load(site):
    done = outside(site, "ls", "graders")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("licensed")]
    assert "does not load: RuntimeError: no licence" in line
    assert "entry point of sb-things" in line
    assert "robust" in done.stdout


def test_ls_names_tasks_that_do_not_load(site):
    done = outside(site, "ls", "tasks")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("exam")]
    assert "does not load: SystemExit: no exam today" in line
    assert "sb_aime24" in done.stdout


def test_a_verb_that_needs_other_tasks_goes_on(site, tmp_path):
    words = ["eval", "-m", "fake:0.6", "-t", "tiny_short:1", "--limit", "2"]
    done = outside(site, *words, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr


def test_a_task_of_a_package_that_does_not_load_is_one_paragraph(site):
    done = outside(site, "validate", "-t", "exam")
    assert done.returncode == 2
    assert "no exam today" in done.stderr
    assert "Traceback" not in done.stderr


def test_using_a_plugin_that_does_not_load_is_one_paragraph(site):
    done = outside(site, "grade", "nowhere", "-g", "licensed")
    assert done.returncode == 1
    assert "the grader `licensed` is installed but does not load" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_entry_point_that_names_a_module_gives_its_backend(site):
    done = outside(site, "ls", "backends")
    assert done.returncode == 0, done.stderr
    assert "Their method." in done.stdout
    assert "does not load" not in done.stdout


def test_doctor_names_a_plugin_that_does_not_load(monkeypatch):
    assert doctor_checks.plugins().state == "ok"
    monkeypatch.setitem(GRADERS._broken, "licensed", "RuntimeError: no licence")
    finding = doctor_checks.plugins()
    assert finding.state == "wrong"
    assert finding.found == "graders licensed: RuntimeError: no licence"
    assert "uninstall" in finding.remedy
