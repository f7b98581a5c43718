"""The benchmarks run at tiny sizes and write what they promise; their times are nobody's concern
here."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import growth, tables
from benchmarks.decoding import with_end
from benchmarks.models import END, PAD, make_policy, make_prompts, make_tokenizer
from benchmarks.targets import TARGETS, met_by

ROOT = Path(__file__).resolve().parents[2]


def bench(name: str, out: Path) -> list[dict]:
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((out / f"{name}.json").read_text())["rows"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["decoding", "learning", "rounding", "grading", "pipeline", "methods", "growth", "real"],
)
def test_one_writes_its_rows(name, tmp_path):
    rows = bench(name, tmp_path)
    assert rows
    numbers = [v for row in rows for v in row.values() if isinstance(v, float)]
    assert all(number > 0 for number in numbers)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_ours_and_trl_do_the_same_work(tmp_path):
    rows = bench("trl_step", tmp_path)
    steps = [row for row in rows if row["what"] == "step"]
    assert [row["learns"] for row in steps] == ["all", "adapters"]
    for row in steps:
        assert (row["prompt"], row["completion"], row["G"]) == (16, 8, 2)
        assert row["TRL / ours"] == pytest.approx(row["TRL s"] / row["ours s"])
    for name in ("ours s", "TRL s"):
        parts = sum(row[name] for row in rows if row["what"] != "step")
        assert 0 < parts < sum(row[name] for row in steps)


def test_targets_are_read_from_the_results(tmp_path):
    """Rows like those of the benchmarks, just good enough, then one that is not."""
    files: dict[str, list[dict]] = {}
    for target in TARGETS:
        files.setdefault(target.file, []).append({target.column: target.bound})
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"rows": rows}))
    anywhere = [replace(t, where=lambda row, t=t: row.get(t.column) == t.bound) for t in TARGETS]
    assert {row["met"] for row in met_by(tmp_path, anywhere)} == {"yes"}
    worse = [replace(t, bound=t.bound * (1.01 if t.at_least else 0.99)) for t in TARGETS]
    wanted = [replace(t, where=o.where) for t, o in zip(worse, anywhere, strict=True)]
    assert {row["met"] for row in met_by(tmp_path, wanted)} == {"NO"}


@pytest.mark.parametrize("module", [growth, tables])
def test_the_examples_of_their_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_prompts_have_the_stated_length():
    tokenizer = make_tokenizer()
    (ids,) = make_prompts(1, 40)
    text = " ".join(f"w{i}" for i in ids)
    assert tokenizer(text).input_ids == list(ids)


@pytest.mark.parametrize("chance", [0.0, 0.1])
def test_the_end_comes_with_the_stated_chance(chance):
    logits = with_end(torch.randn(5, 50, generator=torch.Generator().manual_seed(0)), chance)
    p = logits.softmax(-1)
    assert torch.allclose(p[:, END], torch.tensor(chance), atol=1e-6)
    assert torch.all(p[:, PAD] == 0)


def test_a_policy_is_the_same_at_every_call():
    one, other = make_policy("qwen3"), make_policy("qwen3")
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
