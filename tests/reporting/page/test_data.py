"""What the report's page is given: charts, indexes of samples, groups, provenance, faults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import draw, write_run
from study_folders import write_study

from sage_bench.reporting.charts import Series, range_of, rounded, value_range
from sage_bench.reporting.curves import by_seed, charts
from sage_bench.reporting.page.chunks import read_chunk
from sage_bench.reporting.page.scores import front_of, score_charts, trained_by
from sage_bench.reporting.report import report, unique
from sage_bench.reporting.runs import TrainRun, read_eval, read_train


def trained(backend: str, seed: int, **columns) -> TrainRun:
    config = {"backend": backend, "train.seed": seed, "optim.lr": 1e-6}
    metrics = pd.DataFrame({"step": range(len(next(iter(columns.values())))), **columns})
    return TrainRun(Path(f"{backend}{seed}"), backend, config, metrics, pd.DataFrame(), [])


# ---- curves -------------------------------------------------------------------------------------
def test_seeds_of_a_method_are_one_line_of_medians_and_ends():
    rewards = ([0.1, 0.2], [0.3, 0.6], [0.2, 0.3])
    runs = {f"grpo{i}": trained("grpo", i, reward=r) for i, r in enumerate(rewards)}
    (chart,) = (c for c in charts(runs) if c.title == "Reward of the groups trained on")
    (series,) = chart.series
    assert series.y == [0.2, 0.3]
    assert (series.low, series.high) == ([0.1, 0.2], [0.3, 0.6])


def test_runs_of_other_settings_stand_apart():
    one, other = trained("grpo", 0, reward=[0.1]), trained("grpo", 0, reward=[0.2])
    other.config["optim.lr"] = 1e-5
    assert list(by_seed({"a": one, "b": other})) == ["a", "b"]


def test_runs_in_folders_of_one_name_are_all_there():
    """As a study lays them out: MODEL/ROW/seed_N."""
    places = [f"out/runs/{row}/seed_{i}" for row in ("sgpo", "sgpo_reference") for i in range(2)]
    runs = {Path(place): trained("sgpo", int(place[-1]), reward=[0.1]) for place in places}
    for place, run in runs.items():
        run.config["method.denominator"] = place.parts[2]
    runs[Path("out/runs/grpo/seed_0")] = trained("grpo", 0, reward=[0.1])
    named = unique(runs)
    shared = ["sgpo/seed_0", "sgpo/seed_1", "sgpo_reference/seed_0", "sgpo_reference/seed_1"]
    assert list(named) == [*shared, "grpo"]
    sizes = {name: len(members) for name, members in by_seed(named).items()}
    assert sizes == {"sgpo": 2, "sgpo_reference": 2, "grpo": 1}


def test_a_folder_that_ends_another_keeps_its_name():
    runs = {Path(p): trained("grpo", 0, reward=[0.1]) for p in ("/x/run", "/y/x/run")}
    assert len(unique(runs)) == 2
    assert len(by_seed(unique(runs))) == 1


def test_rounding_is_no_signal():
    noise = [0.99999999994, 0.99999999992, 1.00000000003]
    runs = {"x": trained("grpo", 0, reward=noise)}
    (chart,) = (c for c in charts(runs) if c.title == "Reward of the groups trained on")
    assert chart.series[0].y == [1.0, 1.0, 1.0]
    low, high = chart.y_range
    assert high - low >= 0.02


def test_a_reward_of_nothing_is_drawn_and_unused_hints_are_not():
    runs = {"x": trained("grpo", 0, plain_reward=[0.0, 0.0], hinted=[0.0, 0.0])}
    assert [c.title for c in charts(runs)] == ["Reward without a hint"]


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-9, -1e-9], [5e-8], [1000.0001, 1000.0002]])
def test_an_axis_is_never_stretched_to_noise(values):
    low, high = value_range(values)
    assert high - low >= max(1e-3, 0.02 * max(map(abs, values)))
    assert low <= min(values)
    assert high >= max(values)


def test_a_range_holds_the_bands():
    series = [Series("a", [0, 1], [0.4, 0.5], [0.3, 0.4], [0.6, 0.9])]
    low, high = range_of(series)
    assert low <= 0.3
    assert high >= 0.9


def test_a_long_run_is_drawn_as_means_of_steps():
    runs = {"x": trained("grpo", 0, reward=np.linspace(0, 1, 5000).tolist())}
    (chart,) = (c for c in charts(runs) if c.title == "Reward of the groups trained on")
    assert len(chart.series[0].x) == 150
    assert np.mean(chart.series[0].y) == pytest.approx(0.5, abs=1e-3)


# ---- evaluations --------------------------------------------------------------------------------
def test_pass_at_k_reaches_the_samples_there_are(tmp_path):
    run = read_eval(write_run(tmp_path / "a", "base", draw(0, {"tiny_short": 0.4}, n=6)))
    (series,) = score_charts([run], {})["passes"].charts["tiny_short"].series
    assert series.x == [1, 2, 3, 4, 5, 6]
    assert series.y[0] == rounded(100 * run.tasks["tiny_short"].means.mean())
    assert series.y[-1] == rounded(100 * (run.tasks["tiny_short"].right > 0).mean())


def test_a_policy_finds_the_run_that_trained_it(tmp_path):
    study = write_study(tmp_path, ["x"], samples=2, steps=3, share=0.01, seeds=2)
    trains = {p.parent: read_train(p.parent) for p in (tmp_path / "train").rglob("config.json")}
    found = [trained_by(read_eval(folder), trains) for folder in study[1:]]
    names = [run.folder.name for run in found]
    assert names == ["grpo_seed0", "grpo_seed1", "sage_seed0", "sage_seed1"]


def test_training_prompts_are_in_no_average(tmp_path):
    rates = {"tiny_short": 0.4, "tiny_long": 0.2}
    first = read_eval(write_run(tmp_path / "a", "base", draw(0, rates)))
    other = read_eval(write_run(tmp_path / "b", "grpo", draw(1, rates)))
    asked = write_run(tmp_path / "c", "base", draw(2, {"train_tiny": 0.4}), label={"step": 41})
    found = score_charts([first, other, read_eval(asked)], {})
    assert list(found["scores"].charts) == ["average", "tiny_short", "tiny_long"]
    assert [s.name for s in found["cost"].charts["tokens of an answer"].series] == ["base", "grpo"]


def test_a_run_from_elsewhere_has_no_cost(tmp_path):
    run = read_eval(write_run(tmp_path / "a", "sage", draw(0, {"tiny_short": 0.4})))
    assert trained_by(run, {Path("x/grpo0"): trained("grpo", 0, reward=[1.0])}) is None


def test_the_front_leaves_out_what_is_dearer_and_worse():
    assert front_of([(3, 5.0), (1, 4.0), (2, 3.0), (3, 6.0)]) == [(1, 4.0), (3, 6.0)]


# ---- the folder ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run with odd texts, and the data of its page."""
    folder = tmp_path_factory.mktemp("run")
    run = write_run(folder / "run", "base", {"tiny_short": np.array([["7", "5"], ["", "7"]])})
    samples = run / "samples" / "tiny_short.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows[0]["text"] = '</script><script>alert("x")</script> \ud800 \u2028'
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path_factory.mktemp("page")
    report([run], out)
    return out


def test_the_index_holds_every_sample(written):
    (task,) = read_chunk(written / "report_files/data/e0.js")
    assert task["correct"] == {"math_verify": "1001"}
    assert (task["status"], task["finish"]) == ("oono", "ssls")
    assert (task["counts"], task["tokens"]) == ([2, 2], [10, 10, 96, 10])
    assert [task["answers"][i] if i >= 0 else None for i in task["answer"]] == ["7", "5", None, "7"]


def test_texts_come_back_as_they_were(written):
    texts = read_chunk(written / "report_files/data/e0/0-0.js")
    assert texts[0][0] == '</script><script>alert("x")</script> \ud800 \u2028'
    assert texts[1] == ["well", "so \\boxed{7}"]


def test_nothing_a_model_wrote_stands_in_the_page_or_its_scripts(written):
    for file in [written / "index.html", *(written / "report_files/data").rglob("*.js")]:
        assert "alert(" not in file.read_text()


def test_the_page_runs_scripts_of_its_folder_only(written):
    page = (written / "index.html").read_text()
    policy = page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    scripts = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert scripts.split() == ["script-src", "'self'", "file:"]


def test_fonts_lie_in_the_style_sheet_with_their_licence_beside_it(written):
    style = (written / "report_files/katex.css").read_text()
    assert style.count("data:font/woff2;base64,") == 20
    assert "url(fonts/" not in style
    assert "MIT" in (written / "report_files/katex.LICENSE.txt").read_text()


def test_a_second_report_leaves_nothing_of_the_first(written, tmp_path):
    run = write_run(tmp_path / "run", "base", draw(0, {"tiny_short": 0.4}, questions=3))
    report([run], tmp_path / "out")
    stale = tmp_path / "out/report_files/data/e7.js"
    stale.write_text("")
    report([run], tmp_path / "out")
    assert not stale.exists()


def test_faults_are_listed_and_hide_nothing(tmp_path):
    rates = {"tiny_short": 0.4}
    write_run(tmp_path / "runs/whole", "base", draw(0, rates, questions=4))
    write_run(tmp_path / "runs/part", "grpo", draw(1, rates, questions=4), drop=3)
    broken = write_run(tmp_path / "runs/broken", "sage", draw(2, rates, questions=4))
    (broken / "questions" / "tiny_short.json").write_text("{")
    report([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    faults = page.split('class="notice faults"')[1].split("</details>")[0]
    assert "2 runs are damaged or unfinished" in faults
    assert "partial 13/16" in faults
    assert "questions/tiny_short.json" in faults
    summary = json.loads(page.split('id="summary">')[1].split("</script>")[0])
    assert [run["name"] for run in summary["evals"]] == ["grpo @40", "base @40"]


def test_groups_that_cannot_be_read_hide_no_curve(tmp_path):
    write_study(tmp_path, ["x"], samples=2, steps=3, share=0.01, seeds=1)
    file = tmp_path / "train" / "sage_seed0" / "completions.jsonl"
    file.write_text("[]\n" + file.read_text())
    report([tmp_path / "train"], tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert "completions.jsonl:1" in page
    summary = json.loads(page.split('id="summary">')[1].split("</script>")[0])
    assert [run["name"] for run in summary["trains"]] == ["grpo"]
    assert {s["name"] for c in summary["training"] for s in c["series"]} == {"grpo", "sage"}
