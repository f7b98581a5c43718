"""The soak script, for a minute: killed at random and resumed, everything ends equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak.py"
sys.path.insert(0, str(SCRIPT.parent))


def soak(out: Path, minutes: float, *more: str) -> tuple[int, dict]:
    words = [sys.executable, str(SCRIPT), "--minutes", str(minutes), "--out", str(out), *more]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout[done.stdout.index("\n{") :])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_minute_of_kills_ends_equal(tmp_path):
    code, result = soak(tmp_path, 1)
    assert result["problems"] == []
    assert code == 0
    assert result["equal"] == result["trials"] >= 1
    assert sum(result["signals"].values()) >= 1


def test_it_sees_what_differs(tmp_path):
    """A comparison that finds every run equal would be worth nothing."""
    from soak import digests

    for name, text in (("a", '{"step": 1, "reward": 0.5}'), ("b", '{"step": 1, "reward": 0.25}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text + "\n")
    assert digests(tmp_path / "a") != digests(tmp_path / "b")
    (tmp_path / "b" / "metrics.jsonl").write_text(
        '{"seconds/step": 3.0, "reward": 0.5, "step": 1}\n'
    )
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
