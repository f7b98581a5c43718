"""One leaderboard of several folders: merged, ranked, refused, complete or marked."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from runs import draw, write_run

from sage_bench.reporting.export import eval_runs
from sage_bench.reporting.leaderboard import LEADERBOARD, leaderboard
from sage_bench.reporting.merge import WHERE_FROM, merged, ranking, write_merged
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import EvalRun, read_eval
from sage_bench.reporting.tables import comparison
from sage_bench.utils.errors import UsageError

WEAK = {"short": 0.4, "long": 0.2}
STRONG = {"short": 0.9, "long": 0.8}
# what a leaderboard has to say of every number
COLUMNS = (
    "model method train_seed step select_rule task n_questions n_samples metric value se_question"
    " se_seed ci_lo ci_hi tokens_mean trunc_pct noans_pct timeouts grader prompt_id temp top_p"
    " max_tokens data_rev fingerprint status"
).split()


@pytest.fixture
def here_and_there(tmp_path):
    """Two methods on one machine, one on another, which also has a copy of the first."""
    first = write_run(tmp_path / "here/grpo/aa", "grpo", draw(1, WEAK))
    write_run(tmp_path / "here/base/bb", "base", draw(3, {"short": 0.2, "long": 0.1}))
    write_run(tmp_path / "there/sage/cc", "sage", draw(2, STRONG))
    for folder in tmp_path.rglob("manifest.json"):
        values = json.loads(folder.read_text())
        values["fingerprint"] = {"sampler": {"weights": folder.parent.name, "sampler": "vllm"}}
        values["versions"] = {"vllm": "0.30.1"}
        folder.write_text(json.dumps(values))
    shutil.copytree(first, tmp_path / "there/grpo/aa")
    return [tmp_path / "here", tmp_path / "there"]


def runs_in(folders) -> list[EvalRun]:
    return list(eval_runs(folders).values())


def test_runs_of_several_machines_are_one_leaderboard(here_and_there, tmp_path):
    written = write_merged(runs_in(here_and_there), tmp_path / "out")
    board = pd.read_csv(written[0])
    assert set(COLUMNS) <= set(board.columns)
    assert set(WHERE_FROM) <= set(board.columns)
    averages = board[(board.task == "avg") & (board.metric == "avg@n")]
    assert sorted(averages.method) == ["base", "grpo", "sage"]  # the copy counts once
    assert set(board.model_sha) == {"aa", "bb", "cc"}
    assert set(board.engine) == {"vllm"}
    assert set(board.engine_version) == {"0.30.1"}
    lines = written[1].read_text().splitlines()
    ranked = [line.split(" | ")[2] for line in lines[2:]]
    assert ranked == ["sage", "grpo", "base"]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| 3"]


def sources(folder, golds):
    """Change what a run's manifest says of its data."""
    file = folder / "manifest.json"
    values = json.loads(file.read_text())
    values["golds"] = {task: {"source": source} for task, source in golds.items()}
    file.write_text(json.dumps(values))
    return read_eval(folder)


def test_every_row_names_its_data_set_and_revision(tmp_path):
    folder = write_run(tmp_path / "a", "a", draw(1, WEAK))
    run = sources(folder, {"short": "math-ai/amc23@8081", "long": "/data/of/mine/long.jsonl"})
    board = merged([run]).set_index(["metric", "task"])
    found = board.dataset["avg@n"]
    assert found["short"] == "math-ai/amc23@8081"
    assert found["long"] == "long.jsonl@d1"  # a file by its name and the digest of its rows
    assert found["avg"] == "math-ai/amc23@8081; long.jsonl@d1"
    assert board.dataset.notna().all()


def test_the_date_is_that_of_the_last_sample_whatever_a_copy_does_to_files(tmp_path):
    folder = write_run(tmp_path / "a", "a", draw(1, WEAK))
    file = folder / "samples" / "long.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[-1]["time"] = 1_700_000_000.0  # 2023-11-14
    cut_off = json.dumps(rows[0])[:40]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + cut_off)
    assert set(merged([read_eval(folder)]).date) == {"2023-11-14"}


def labelled(folder, **label):
    """A run of seed 0 that says how its checkpoint was chosen."""
    file = folder / "manifest.json"
    values = json.loads(file.read_text())
    values["label"] |= {"model_name": "tiny", **label}
    values["fingerprint"] = {"sampler": {"weights": folder.name}}
    file.write_text(json.dumps(values))
    return read_eval(folder)


def test_checkpoints_that_were_not_selected_have_no_rank(tmp_path):
    better = labelled(
        write_run(tmp_path / "a", "grpo", draw(1, STRONG)), select_rule="not selected", step=20
    )
    counts = labelled(
        write_run(tmp_path / "b", "grpo", draw(2, WEAK)), select_rule="best on validation", step=40
    )
    board = merged([better, counts])
    assert set(board.select_rule) == {"not selected", "best on validation"}
    lines = ranking(board).splitlines()
    assert lines[2].startswith("| 1 | tiny | grpo | 0 | 40 |")
    assert lines[3].startswith("| – | tiny | grpo | 0 | 20 |")
    assert lines[3].endswith("| not selected |")


def test_a_copy_that_was_evaluated_before_its_step_was_selected_counts_once(tmp_path):
    first = write_run(tmp_path / "here/x", "grpo", draw(1, WEAK))
    copy = tmp_path / "there/x"
    shutil.copytree(first, copy)
    runs = [labelled(first), labelled(copy, select_rule="best on validation")]
    assert set(merged(runs).select_rule) == {"best on validation"}


def test_what_training_cost_travels_with_the_evaluation(tmp_path):
    """The leaderboard may be made where the training run is not."""
    cost = {"rollouts": 48, "tokens": 1152, "hours": 0.5}
    run = labelled(write_run(tmp_path / "a", "grpo", draw(1, WEAK)), training_cost=cost)
    row = merged([run]).iloc[0]
    assert (row.train_rollouts, row.train_tokens, row.train_hours) == (48, 1152, 0.5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"how": {"long": {"temperature": 1.0}}}, "long: temperature 0.6 in .* and 1.0 in"),
        ({"how": {"short": {"data_rev": "d2"}}}, "short: data_rev d1 in .* and d2 in"),
        ({"grader": "robust"}, "grader math_verify in .* and robust in"),
    ],
)
def test_other_protocols_are_refused_by_name(tmp_path, changes, named):
    write_run(tmp_path / "a", "a", draw(1, WEAK))
    write_run(tmp_path / "b", "b", draw(2, STRONG), **changes)
    with pytest.raises(UsageError, match=named) as error:
        merged(runs_in([tmp_path]))
    assert "different protocols cannot be ranked in one column" in str(error.value)


def without(run: EvalRun, task: str) -> EvalRun:
    """The run as it is read when one of its tasks has no complete question."""
    tasks = {t: r for t, r in run.tasks.items() if t != task}
    manifest = run.manifest
    return EvalRun(
        run.folder, run.model, run.method, run.label, tasks, manifest, {task: "partial 0/160"}
    )


def test_a_run_that_lacks_a_benchmark_has_no_average_anywhere(tmp_path):
    whole = read_eval(write_run(tmp_path / "a", "base", draw(1, WEAK)))
    lacking = without(read_eval(write_run(tmp_path / "b", "grpo", draw(2, STRONG))), "long")
    board = leaderboard([lacking])
    assert list(board.task) == ["short", "long", "avg"]
    assert board.value.isna().tolist() == [False, True, True]
    assert board.set_index("task").status["avg"] == "partial"
    assert board.set_index("task").status["long"] == "partial 0/160"
    assert board.set_index("task").n_questions["long"] == 0
    table = comparison({"base": whole, "grpo": lacking})
    assert table.avg.isna().tolist() == [False, True]
    assert table.delta.isna().tolist() == [False, True]
    lines = ranking(merged([whole, lacking])).splitlines()
    assert lines[2].startswith("| 1 | m/base | base |")
    assert lines[3].startswith("| – |")
    assert "| grpo |" in lines[3]
    assert lines[3].endswith("| partial |")


def test_the_difference_to_the_base_is_on_the_questions_of_both(tmp_path):
    """20 and 10 questions: the delta of the table is the paired one."""
    base = draw(1, {"short": 0.4}, questions=20)
    half = {"short": draw(2, {"short": 0.7}, questions=20)["short"][:10]}
    runs = {
        "base": read_eval(write_run(tmp_path / "a", "base", base)),
        "grpo": read_eval(write_run(tmp_path / "b", "grpo", half)),
    }
    table = comparison(runs)
    right = {m: (t["short"] == "7").mean(1) for m, t in (("base", base), ("grpo", half))}
    assert table.delta["grpo"] == pytest.approx(
        100 * (right["grpo"].mean() - right["base"][:10].mean())
    )
    assert table.avg["base"] == pytest.approx(100 * right["base"].mean())
    report([tmp_path], tmp_path / "out")
    assert "delta: on the questions that both rows completed" in (
        (tmp_path / "out/table.md").read_text()
    )


def test_training_seeds_give_the_leaderboard_its_seed_error(tmp_path):
    runs = []
    for seed in range(3):
        table = draw(seed, {"short": 0.2 + 0.3 * seed, "long": 0.5})
        folder = write_run(tmp_path / f"run{seed}", "grpo", table, label={"train_seed": seed})
        runs.append(read_eval(folder))
    board = leaderboard(runs)
    assert list(board.columns) == LEADERBOARD
    short = board[board.task == "short"]
    assert len(set(short.se_seed.round(9))) == 1
    assert short.se_seed.iloc[0] > 10
    assert (board[board.task == "avg"].se_seed > 0).all()
    assert (short.se_sampling < short.se_question).all()
    assert leaderboard(runs[:1]).se_seed.isna().all()


def test_the_plain_report_has_a_block_for_every_model(tmp_path):
    for model in ("Llama-3.2-3B-Instruct", "Qwen2.5-7B-Instruct"):
        for i, method in enumerate(("base", "grpo")):
            label = {"model_name": model, "step": None, "train_seed": None}
            folder = tmp_path / model / method
            write_run(folder, method, draw(i, WEAK), label=label)
    report([tmp_path], tmp_path / "out")
    text = (tmp_path / "out/table.md").read_text()
    assert "### Llama-3.2-3B-Instruct: comparison" in text
    assert "### Qwen2.5-7B-Instruct: comparison" in text
    assert text.count("\n| base |") == 4  # two tables of each model
    assert "base (" not in text
