"""Jobs that wait for each other, and what happens when one fails."""

from __future__ import annotations

import json

import pytest
from runs import draw, write_run

from sage_bench.reporting.report import comparison_line
from sage_bench.reporting.runs import read_eval
from sage_bench.statistics import NO_CLAIM
from sage_bench.study.demo import jobs_of
from sage_bench.study.demo_config import DemoConfig
from sage_bench.study.demo_report import Trained, _comparisons
from sage_bench.study.figures.collect import StudyRun, order_of
from sage_bench.study.jobs import Job, Jobs
from sage_bench.utils.errors import SageBenchError


def test_jobs_run_after_those_they_need_and_hand_on_their_last_line(tmp_path):
    order: list[str] = []

    def words(name, *args):
        def late():
            order.append(name)
            return args

        return late

    jobs = [
        Job("second", words("second", "ls", "engines"), after=("first",)),
        Job("first", words("first", "ls", "tasks", "--path")),
    ]
    out = Jobs(jobs, tmp_path, quiet=True).run()
    assert order == ["first", "second"]
    assert out["first"].endswith("tasks")
    assert "trl" in out["second"]


def test_a_failing_job_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(
        SageBenchError, match=r"`bad` failed \(exit code 2\):\n(.|\n)*unknown kind `nothing`"
    ):
        Jobs([Job("bad", ["ls", "nothing"])], tmp_path, quiet=True).run()


def test_the_demo_is_made_of_commands_a_user_could_type(tmp_path):
    jobs = {j.name: j for j in jobs_of(DemoConfig(tmp_path, steps=7))}
    assert jobs["train sage"].args[:4] == ["train", "--backend", "sage", "--model"]
    assert "train.steps=7" in jobs["train sage"].args
    assert str(tmp_path / "sage/checkpoints/step_000007") in jobs["eval sage"].args
    assert jobs["eval sage"].after == ("train sage",)
    assert set(jobs["train grpo, equal rollouts"].after) == {
        "train grpo",
        "train sage",
        "eval grpo",
    }
    assert "train grpo, equal rollouts" not in {
        j.name for j in jobs_of(DemoConfig(tmp_path, methods=("grpo", "sft")))
    }
    more = {
        j.name: j
        for j in jobs_of(DemoConfig(tmp_path, steps=7, methods=("grpo", "grpo_more", "sage")))
    }
    assert "train grpo, equal rollouts" not in more
    assert more["train grpo_more"].after == ("train sage",)
    assert {f"method.like={tmp_path / 'sage'}", "method.like_steps=7", "train.steps=140"} <= set(
        more["train grpo_more"].args
    )


def test_every_method_is_trained_from_every_seed(tmp_path):
    jobs = {j.name: j for j in jobs_of(DemoConfig(tmp_path, steps=7, seed=4, seeds=3))}
    assert {"train grpo", "train grpo, seed 5", "train sage, seed 6"} <= set(jobs)
    assert "train.seed=6" in jobs["train sage, seed 6"].args
    assert str(tmp_path / "sage_seed6") in jobs["train sage, seed 6"].args
    trained = str(tmp_path / "sage_seed6/checkpoints/step_000007")
    assert trained in jobs["eval sage, seed 6"].args
    # the longest of all is done for one seed unless more are asked for
    assert sum("equal rollouts" in name for name in jobs) == 1
    every = jobs_of(DemoConfig(tmp_path, seeds=3, equal_seeds=3))
    assert sum("train grpo, equal rollouts" in j.name for j in every) == 3


def test_from_one_seed_the_demo_claims_nothing(tmp_path):
    """Rows are there, and intervals over questions; no p-value of a method."""
    rows = {"base": Trained({None: evaluated(tmp_path, "base", None, 0.2)}, {})}
    rows["grpo"] = Trained({0: evaluated(tmp_path, "grpo", 0, 0.9)}, {0: None})
    (found,) = _comparisons(DemoConfig(tmp_path, methods=("grpo",), seeds=1), rows)
    assert found["p"] is None
    assert found["ci"] is None
    assert found["seeds"] == [0]
    assert found["note"] == NO_CLAIM
    assert found["questions"]["p"] < 0.001
    assert found["questions"]["ci"][0] > 0.3
    line = comparison_line(found)
    assert line.endswith("one training run each: no claim about the methods")
    assert "p =" not in line


def evaluated(folder, method, seed, rate):
    """A stored evaluation of a policy that is right at a rate."""
    label = {"train_seed": seed}
    return read_eval(
        write_run(folder / f"{method}{seed}", method, draw(1, {"short": rate}), label=label)
    )


@pytest.mark.slow
def test_a_small_demo_ends_in_its_files(tmp_path):
    from sage_bench.study import demo

    config = DemoConfig(
        tmp_path,
        tasks="tiny_short:2,tiny_mixed:2",
        steps=2,
        equal_rollouts=False,
        methods=("grpo", "last_hint"),
        seeds=2,
        backend_files=("examples/last_hint.py",),
        overrides=("train.prompts_per_step=4", "method.group_size=4", "validation.limit=4"),
    )
    text = demo.run(config, quiet=True)
    assert text.count("\n| ") == 3
    assert "last_hint" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["methods"]) == {"base", "grpo", "last_hint"}
    assert {"avg", "se", "no_signal"} <= set(summary["methods"]["base"])
    assert {(c["a"], c["b"]) for c in summary["comparisons"]} == {
        ("last_hint", "grpo"),
        ("grpo", "base"),
        ("last_hint", "base"),
    }
    assert summary["methods"]["base"]["sd_seeds"] is None
    assert summary["methods"]["grpo"]["sd_seeds"] >= 0
    assert summary["methods"]["grpo"]["seeds"] == [0, 1]
    averages = summary["methods"]["grpo"]["avg_by_seed"]
    assert summary["methods"]["grpo"]["avg"] == pytest.approx(sum(averages) / 2)
    for found in summary["comparisons"]:
        assert (found["over"], found["seeds"]) == ("seeds", [0, 1])
        assert found["ci"][0] <= found["diff"] <= found["ci"][1]
        assert 0 < found["p"] <= 1
        assert found["questions"]["about"] == "these two policies, not the methods"
    against_grpo = summary["comparisons"][0]
    assert against_grpo["pairing"] == "by seed"  # the runs say that they saw the same prompts
    assert "over the training seeds 0, 1" in text
    assert {"table.md", "leaderboard.csv", "report.html", "grpo", "last_hint"} <= {
        p.name for p in tmp_path.iterdir()
    }
    assert (
        demo.run(config, quiet=True).splitlines()[:5] == text.splitlines()[:5]
    )  # again: nothing is redone, nothing changes


def test_rows_of_figures_come_in_the_order_of_the_matrix(tmp_path):
    methods = ("grpo", "grpo, equal rollouts", "oar_p", "sage", "base")
    rows = [StudyRun("tiny-llama", name, 0, None, None) for name in methods]
    assert sorted(rows, key=order_of(tmp_path)) == rows
    written = {"backends": [{"name": name} for name in ("base", "sage", "grpo")]}
    (tmp_path / "matrix.json").write_text(json.dumps(written))
    found = [row.method for row in sorted(rows, key=order_of(tmp_path))]
    assert found == ["base", "sage", "grpo", "grpo, equal rollouts", "oar_p"]
