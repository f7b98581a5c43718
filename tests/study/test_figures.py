"""The figures of a study, from small real runs: three steps of a tiny policy, a few questions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from program import run
from small_runs import train

from sage_bench.api.evaluation import evaluate
from sage_bench.reporting.runs import read_eval, read_train
from sage_bench.reporting.svg import Bars, Lines, Span, bars_svg, lines_svg
from sage_bench.study.figures import write_figures
from sage_bench.study.figures.collect import collect, until
from sage_bench.training.no_signal import no_signal_share
from sage_bench.utils.errors import UsageError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]

WORDS = ("train.steps=3", "train.save_every=3", "train.prompts_per_step=4", "method.group_size=4")
WORDS += ("optim.warmup_steps=0",)
HARD = "sampling.max_tokens=24"
# the rows of the study: what each of them sets
ROWS = {
    "grpo": ("grpo", ()),
    "sage": ("sage", ()),
    "sage, online, level 1": ("sage", ("method.fixed_level=1",)),
    "sage, offline, level 2": ("sage", ("method.fixed_level=2", "method.hint_source=offline")),
    "sage, off-policy": ("sage", ("method.score_plain=true",)),
}
SEEDS = {"grpo": (0, 1), "sage": (0, 1)}
ASKED = {"tasks": "tiny_short:2,tiny_mixed:2", "overrides": {"sampling.limit": 6}}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Five rows of one policy, two of them trained twice, and the policy itself."""
    out = tmp_path_factory.mktemp("study") / "study"
    evaluate("tiny-llama", out=out / "evals" / "base", **ASKED)
    for row, (backend, words) in ROWS.items():
        for seed in SEEDS.get(row, (0,)):
            folder = out / "runs" / row.replace(", ", "-") / f"seed{seed}"
            more = (*WORDS, HARD, *words, f"train.seed={seed}")
            checkpoint = train(folder, *more, backend=backend)
            told = {**ASKED["overrides"], "label": row}
            place = out / "evals" / folder.parent.name / folder.name
            evaluate(str(checkpoint), ASKED["tasks"], out=place, overrides=told)
    return out


@pytest.fixture(scope="module")
def figures(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    write_figures(study, out)
    return out


def frame(figures: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(figures / f"{name}.csv")


def test_every_evaluation_finds_the_training_it_came_from(study):
    rows, _ = collect(study)
    assert len(rows) == 8
    trained = {row.method: row.trained for row in rows}
    assert trained["base"] is None
    for method, (backend, _) in ROWS.items():
        assert trained[method].backend == backend
    assert {row.model for row in rows} == {"tiny-llama"}


def test_a_study_that_was_moved_still_knows_its_trainings(study, tmp_path):
    moved = tmp_path / "elsewhere" / "study"
    shutil.copytree(study, moved)
    away = study.rename(study.with_name("away"))
    try:
        rows, _ = collect(moved)
    finally:
        away.rename(study)
    found = [row.trained.folder for row in rows if row.trained is not None]
    assert len(found) == 7
    assert all(moved in folder.parents for folder in found)


def test_stages_of_one_training_are_cut_at_their_own_step(study):
    whole = read_train(study / "runs" / "grpo" / "seed0")
    first = until(whole, 2)
    assert list(first.metrics.step) == [0, 1]
    assert {row["step"] for row in first.ledger} == {0, 1}
    assert list(until(whole, None).metrics.step) == [0, 1, 2]


def test_table_1_has_the_averages_of_the_evaluations(study, figures):
    found = frame(figures, "table1-averages").set_index("method")
    by_hand = []
    for folder in (study / "evals" / "grpo").rglob("manifest.json"):
        tasks = read_eval(folder.parent).tasks.values()
        by_hand.append(100 * sum(t.means.mean() for t in tasks) / 2)
    assert found["seeds"]["grpo"] == 2
    assert found["low"]["grpo"] == pytest.approx(min(by_hand))
    assert found["high"]["grpo"] == pytest.approx(max(by_hand))
    assert found["median"]["grpo"] == pytest.approx(sum(by_hand) / 2)
    table = pd.read_csv(figures / "table1.csv")
    assert set(table.method) == {"base", *ROWS}


def test_table_2_is_the_share_of_prompts_without_a_signal(study, figures):
    found = frame(figures, "table2").set_index(["method", "phase"])
    runs = [read_train(study / "runs" / "grpo" / f"seed{s}") for s in (0, 1)]
    by_hand = [100 * no_signal_share(r.ledger) for r in runs]
    assert found["low"]["grpo", "all"] == pytest.approx(min(by_hand))
    assert found["high"]["grpo", "all"] == pytest.approx(max(by_hand))
    first = [100 * no_signal_share(r.ledger, until=1) for r in runs]
    assert found["high"]["grpo", "start"] == pytest.approx(max(first))
    assert found["paper"]["sage", "all"].startswith("30.0 (Llama-3.2-3B-Instruct)")


def test_table_3_is_relative_to_the_baseline_of_the_same_seed(study, figures):
    found = frame(figures, "table3").set_index(["model", "method", "cost"])
    assert set(found["median"]["tiny-llama", "grpo"]) == {1.0}
    ratios = []
    for seed in (0, 1):
        sage, grpo = (read_train(study / f"runs/{m}/seed{seed}") for m in ("sage", "grpo"))
        ratios.append(sage.rollouts() / grpo.rollouts())
    assert found["low"]["tiny-llama", "sage", "rollouts"] == pytest.approx(min(ratios))
    assert found["high"]["tiny-llama", "sage", "rollouts"] == pytest.approx(max(ratios))
    assert max(ratios) > 1
    assert found["seeds"]["all models", "sage", "tokens"] == 2
    assert found["paper"]["tiny-llama", "sage", "seconds"] == "2.3 (Qwen2.5-7B-Instruct)"


def test_figure_3_has_a_bar_for_every_source_and_level(figures):
    found = frame(figures, "figure3")
    bars = set(zip(found.category, found.series, strict=True))
    assert bars == {
        ("no training", "no hint"),
        ("no hint", "no hint"),
        ("level 1", "self-hint, online"),
        ("level 2", "self-hint, offline"),
    }
    paper = dict(zip(zip(found.category, found.series, strict=True), found.paper, strict=True))
    assert paper["level 1", "self-hint, online"] == 56.7
    assert paper["level 2", "self-hint, offline"] == 55.4
    assert paper["no hint", "no hint"] == 54.1


def test_figure_5_has_the_ablations(figures):
    found = frame(figures, "figure5").set_index("variant")
    assert {"no training", "no hint", "sage", "sage, off-policy"} <= set(found.index)
    assert {"online (level 1)", "offline (level 2)"} <= set(found.index)
    assert found.paper["sage, off-policy"] == 56.5
    assert found.paper["sage"] == 59.2
    assert found.seeds["sage"] == 2


def test_figure_6_counts_the_prompts_of_a_step_by_hint_level(study, figures):
    found = frame(figures, "figure6")
    assert "grpo" not in set(found.method)
    sage = found[found.method == "sage"].set_index(["level", "step"])
    by_hand = []
    for seed in (0, 1):
        rows = [r for r in read_train(study / f"runs/sage/seed{seed}").ledger if r["step"] == 0]
        by_hand.append(100 * sum(r["level"] > 0 for r in rows) / len(rows))
    assert sage["low"]["any", 0] == pytest.approx(min(by_hand))
    assert sage["high"]["any", 0] == pytest.approx(max(by_hand))


def test_pictures_are_well_formed_and_the_page_shows_them_all(figures):
    pictures = sorted(p.name for p in figures.glob("*.svg"))
    assert len(pictures) == 6
    page = (figures / "figures.md").read_text()
    for name in pictures:
        ET.parse(figures / name)
        assert f"({name})" in page
    assert "Not here" not in page


def test_what_was_not_run_is_said_with_what_to_run(study, tmp_path):
    write_figures(study / "evals" / "base", tmp_path)
    page = (tmp_path / "figures.md").read_text()
    assert "Not here: no training run" in page
    assert "Not here: runs of sage with method.fixed_level=1, 2 or 3" in page
    with pytest.raises(UsageError, match="there is no figure `figure4`"):
        write_figures(study, tmp_path, only=["figure4"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="there is no run here"):
        write_figures(empty, tmp_path)


def test_the_command_prints_what_it_wrote(study, tmp_path):
    done = run("figures", study, "--out", tmp_path, "--only", "figure6", "--json")
    files = [Path(f).name for f in json.loads(done.stdout)["files"]]
    assert files == ["figure6.csv", "figure6-tiny-llama.svg", "figures.md"]
    wrong = run("figures", study, "--out", tmp_path, "--only", "figure9")
    assert wrong.returncode == 2


def heights(svg: str) -> list[float]:
    """Of the bars, in pixels: rectangles with a title."""
    space = "{http://www.w3.org/2000/svg}"
    found = ET.fromstring(svg).iter(f"{space}rect")
    return [float(r.get("height")) for r in found if r.find(f"{space}title") is not None]


def test_bars_are_as_high_as_their_values():
    rows = {"a": {"x": Span(10, 8, 12), "y": Span(20, 20, 20)}}
    one, two = heights(bars_svg(Bars("t", "y", ["x", "y"], rows)))
    assert two == pytest.approx(2 * one, rel=0.01)


def test_labels_of_charts_stay_text():
    nasty = "<script>&\x1b"
    svg = lines_svg(Lines(nasty, "x", "y", {nasty: {0: Span(1, 0, 2), 1: Span(2, 1, 3)}}))
    ET.fromstring(svg)
    assert "<script>" not in svg


def test_numbers_over_the_steps_are_those_of_the_runs(study):
    command = [sys.executable, "scripts/over_steps.py", str(study), "--parts", "3"]
    command += ["--columns", "reward", "validation", "no_such_column"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in printed.splitlines() if " sage, off-policy " in line][:1]
    rewards = read_train(study / "runs" / "sage-off-policy" / "seed0").metrics.reward
    assert line.split()[-3:] == [f"{value:.3f}" for value in rewards]
    assert printed.rstrip().endswith("no run has this column")


def test_averages_are_those_of_the_table(study, figures):
    command = [sys.executable, "scripts/averages.py", str(figures / "table1.csv")]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    frame = pd.read_csv(figures / "table1.csv")
    (score,) = frame[(frame.method == "grpo") & (frame.benchmark == "avg_id")].score
    (line,) = [line for line in printed.splitlines() if line.startswith("| grpo |")]
    assert f"{score:.1f}" in line
    assert "(2)" in line
