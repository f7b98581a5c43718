"""The file of a matrix: its cells, and every mistake named with its line before anything starts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sage_bench.api import matrix_sources
from sage_bench.api.matrix import batch_files, matrix, plan
from sage_bench.api.matrix_plan import dry_run, status
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.weights import hash_weights
from sage_bench.study.matrix.cells import cells_of, chosen
from sage_bench.study.matrix.spec import read_matrix, words_of
from sage_bench.utils.errors import UsageError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
STORIES = sorted((CONFIGS / "stories").rglob("*.yaml"))
FILE = """\
name: small
models: [tiny-llama]
backends:
  - base
  - grpo
  - {name: short, backend: sage, set: {train.steps: 3}}
seeds: 2
data: tiny
set: {train.steps: 2}
evaluation:
  tasks: tiny_short:1
  limit: 2
"""


def written(folder: Path, text: str = FILE, **changes: str) -> Path:
    """A matrix file. changes: a line's beginning to the whole line that replaces it."""
    file = folder / "m.yaml"
    lines = []
    for line in text.splitlines():
        key = line.partition(":")[0].strip()
        lines.append(changes.get(key, line))
    file.write_text("\n".join(lines) + "\n")
    return file


def refused(file: Path) -> str:
    with pytest.raises(UsageError) as caught:
        matrix(file, file.parent / "out")
    assert not (file.parent / "out").exists()
    return str(caught.value)


# ---- mistakes -----------------------------------------------------------------------------------
def test_an_unknown_key_is_named_with_its_line_and_the_closest_one(tmp_path):
    found = refused(written(tmp_path, seeds="seds: 2"))
    assert "m.yaml:7: seds: unknown key; did you mean `seeds`?" in found


def test_an_unknown_key_of_a_row_is_named(tmp_path):
    found = refused(written(tmp_path, FILE.replace("backend: sage", "bakend: sage")))
    said = "unknown key; did you mean `backend` or `backend_files`?"
    assert f"m.yaml:6: backends[2].bakend: {said}" in found


def test_an_unknown_backend_is_named(tmp_path):
    found = refused(written(tmp_path, FILE.replace("  - grpo", "  - grop")))
    assert "m.yaml:5: backends[1]: unknown backend `grop`; did you mean `grpo`?" in found


def test_an_unknown_model_is_named(tmp_path):
    found = refused(written(tmp_path, models="models: [tiny-lama]"))
    assert "m.yaml:2: models[0]: there is no model `tiny-lama`; did you mean" in found


def test_an_unknown_key_of_training_is_named_where_it_was_set(tmp_path):
    found = refused(written(tmp_path, set="set: {train.stpes: 2}"))
    assert "m.yaml:9: set.train.stpes: `train.stpes` unknown key" in found


def test_an_unknown_switch_of_a_method_is_named_where_it_was_set(tmp_path):
    found = refused(written(tmp_path, FILE.replace("train.steps: 3", "method.fixed_lvel: 3")))
    assert "m.yaml:6: backends[2]" in found
    assert "fixed_lvel" in found


def test_an_unknown_task_is_named(tmp_path):
    found = refused(written(tmp_path, tasks="  tasks: tiny_shrt:1"))
    assert "m.yaml:10: evaluation" in found
    assert "tiny_shrt" in found


def test_a_data_file_that_is_not_there_is_named(tmp_path):
    found = refused(written(tmp_path, data=f"data: {tmp_path}/no.jsonl"))
    assert f"m.yaml:8: data: `{tmp_path}/no.jsonl` no such data file" in found


def test_a_row_whose_data_lack_its_columns_is_named(tmp_path):
    rows = [{"question": f"{i}+1", "answer": str(i + 1)} for i in range(4)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = refused(written(tmp_path, data=f"data: {file}"))
    assert "m.yaml:6: backends[2]" in found
    assert "lacks what `sage` reads" in found
    assert "backends[1]" not in found  # GRPO reads nothing but questions and answers


def test_a_name_that_stands_twice_is_named(tmp_path):
    found = refused(written(tmp_path, FILE.replace("name: short", "name: grpo")))
    assert "m.yaml:6: backends[2]: the name `grpo` stands twice" in found


def test_an_equal_budget_of_a_row_that_is_not_there_is_named(tmp_path):
    found = refused(written(tmp_path, FILE + "equal: {rollouts: [grpo], reference: sage}\n"))
    assert "m.yaml:13: equal.reference: `sage` is not in this matrix" in found


def test_best_without_a_validation_set_is_refused(tmp_path):
    text = FILE.replace("{train.steps: 2}", "{validation.source: null}") + "select: best\n"
    assert "m.yaml:13: select: `best` needs a validation set" in refused(written(tmp_path, text))


def test_best_where_no_saved_step_is_validated_is_refused(tmp_path):
    text = FILE + "select: best\n"
    found = refused(written(tmp_path, text, set="set: {train.steps: 7, train.save_every: 5}"))
    assert "m.yaml:13: select: no checkpoint of `grpo` meets a validation" in found


def test_all_mistakes_are_named_at_once(tmp_path):
    text = FILE.replace("  - grpo", "  - grop").replace("tiny_short:1", "tiny_shrt:1")
    found = refused(written(tmp_path, text))
    assert "`grop`" in found
    assert "tiny_shrt" in found


def test_weights_that_are_none_cannot_be_trained(tmp_path):
    found = refused(written(tmp_path, models="models: [{name: fake, model: 'fake:0.5'}]"))
    assert "m.yaml:2: models[0]" in found


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        read_matrix(tmp_path / "none.yaml")


# ---- cells --------------------------------------------------------------------------------------
def test_every_row_is_trained_selected_and_evaluated_for_every_seed(tmp_path):
    cells = cells_of(read_matrix(written(tmp_path)).spec, tmp_path)
    kinds = [c.kind for c in cells]
    assert (kinds.count("train"), kinds.count("select"), kinds.count("eval")) == (4, 4, 5)
    by_name = {c.name: c for c in cells}
    evaluated = by_name["eval/tiny-llama/short/seed_1"]
    assert evaluated.after == ("select/tiny-llama/short/seed_1",)
    assert by_name[evaluated.after[0]].after == ("train/tiny-llama/short/seed_1",)


def test_a_later_set_wins_and_the_seed_is_the_cells_own(tmp_path):
    cells = {c.name: c for c in cells_of(read_matrix(written(tmp_path)).spec, tmp_path)}
    words = cells["train/tiny-llama/short/seed_1"].words
    assert [w for w in words if w.startswith("train.")] == ["train.steps=3", "train.seed=1"]
    assert words[:3] == ("train", "--backend", "sage")


def test_a_file_of_a_backend_is_of_its_row_alone(tmp_path):
    planned = plan(CONFIGS / "stories" / "hint.yaml", tmp_path)
    with_file = {c.row for c in planned.cells if "--backend-file" in c.words}
    assert with_file == {"second_try"}
    configs = planned.checked.trainings
    assert configs["train/tiny-llama/second_try/seed_0"].config.backend == "second_try"


def test_equal_budgets_wait_for_their_reference_and_may_have_fewer_seeds(tmp_path):
    text = FILE + "equal: {rollouts: [grpo], tokens: [grpo], reference: short, seeds: 1}\n"
    cells = {c.name: c for c in cells_of(read_matrix(written(tmp_path, text)).spec, tmp_path)}
    equal = [name for name in cells if name.startswith("train/") and "equal" in name]
    assert equal == [
        "train/tiny-llama/grpo_equal_rollouts/seed_0",
        "train/tiny-llama/grpo_equal_tokens/seed_0",
    ]
    assert cells[equal[0]].after == (
        "train/tiny-llama/short/seed_0",
        "train/tiny-llama/grpo/seed_0",
    )


def test_an_equal_budget_goes_as_far_as_its_rows_do(tmp_path):
    text = FILE.replace("{train.steps: 3}", "{train.steps: 3}, seeds: 1")
    text += "equal: {rollouts: [grpo], reference: short}\n"
    cells = cells_of(read_matrix(written(tmp_path, text)).spec, tmp_path)
    assert [c.seed for c in cells if c.budget is not None] == [0]


def test_names_that_no_folder_tells_apart_are_refused(tmp_path):
    file = written(tmp_path, FILE.replace("name: short", "name: 'grpo,'"))
    with pytest.raises(UsageError, match="two cells would be called train/tiny-llama/grpo/seed_0"):
        cells_of(read_matrix(file).spec, tmp_path)


def test_only_takes_what_matches_and_what_it_needs(tmp_path):
    cells = cells_of(read_matrix(written(tmp_path)).spec, tmp_path)
    found = [c.name for c in chosen(cells, ["eval/*/grpo/seed_1"])]
    assert found == [f"{kind}/tiny-llama/grpo/seed_1" for kind in ("train", "select", "eval")]


def test_only_that_matches_nothing_is_an_error(tmp_path):
    cells = cells_of(read_matrix(written(tmp_path)).spec, tmp_path)
    with pytest.raises(UsageError, match="no cell is called like"):
        chosen(cells, ["eval/none/*"])


def test_values_of_set_survive_the_command_line():
    values = {"method.step_pattern": r"=\d(?=\s|$)", "optim.betas": [0.9, 0.95], "a": None}
    assert words_of(values) == [
        "method.step_pattern==\\d(?=\\s|$)",
        "optim.betas=[0.9, 0.95]",
        "a=null",
    ]


# ---- looking ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_dry_run_of_the_papers_table_needs_nothing_and_says_what_is_missing(tmp_path):
    found = dry_run(plan(CONFIGS / "table1.yaml", tmp_path))
    assert len(found.values["cells"]) == 165
    assert found.values["totals"]["hours"] > 100
    assert found.values["totals"]["tokens"] > 1e9
    missing = "\n".join(found.values["missing"])
    assert "model Qwen/Qwen2.5-7B-Instruct" in missing
    assert "training data `sage-train`" in missing
    assert "benchmark `sb_aime24`" in missing
    assert not list(tmp_path.iterdir())


def test_the_ablations_change_one_switch_each(tmp_path):
    planned = plan(CONFIGS / "stories" / "sage.yaml", tmp_path)
    configs = planned.checked.trainings
    offline = configs["train/tiny-llama/sage_offline_2/seed_0"].config
    assert offline.method == {"group_size": 8, "hint_source": "offline", "fixed_level": 2}
    assert len([name for name in configs if name.endswith("seed_0")]) == 12


@pytest.mark.parametrize("file", STORIES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_every_story_can_be_started_but_for_records_that_come_first(file, tmp_path):
    planned = plan(file, tmp_path)
    assert not planned.checked.mistakes
    assert all("no record of" in m or "no judge in" in m for m in planned.checked.missing)
    assert planned.file.spec.seeds == (0, 1, 2, 3, 4)
    worlds = {"tiny-llama": "tiny:4", "tiny2-llama": "tiny2:4"}
    (model,) = planned.file.spec.models
    assert planned.file.spec.evaluation.tasks == (worlds[model.name],)


def test_epochs_are_reckoned_over_the_rows_that_are_here(tmp_path):
    tokens = []
    for epochs in (1, 2):
        file = tmp_path / f"{epochs}.yaml"
        text = FILE.replace("{train.steps: 2}", f"{{train.epochs: {epochs}}}")
        file.write_text(text.replace("set: {train.steps: 3}", "set: {}"))
        planned = plan(file, tmp_path / "out")
        assert planned.checked.rows["train/tiny-llama/grpo/seed_0"] == 256
        cells = {cell["cell"]: cell for cell in dry_run(planned).values["cells"]}
        tokens.append(cells["train/tiny-llama/grpo/seed_0"]["estimate"]["tokens"])
    assert tokens[1] == pytest.approx(2 * tokens[0])


def test_keys_of_records_are_inputs_only_where_a_record_is_read(tmp_path):
    inputs = plan(CONFIGS / "stories" / "sgpo.yaml", tmp_path).checked.inputs
    live, recorded = (f"train/tiny-llama/{row}/seed_0" for row in ("sgpo", "offline_all"))
    assert inputs[recorded]["engine.recorded.match"] == "problem"
    assert inputs[recorded]["record"] == "missing"
    assert not [key for key in inputs[live] if "record" in key]


def test_what_other_runs_make_is_an_input_and_refused_where_it_is_missing(tmp_path, monkeypatch):
    file = CONFIGS / "stories" / "judge_quality.yaml"
    monkeypatch.chdir(tmp_path)
    matrix_sources.judge_at.cache_clear()  # a working copy may have the judge under runs/
    with pytest.raises(
        UsageError, match=r"yaml:17: .* no judge in runs/judge_quality/judge: teach"
    ):
        plan(file, tmp_path / "out", online=True)
    judge = Path("runs/judge_quality/judge")
    judge.parent.mkdir(parents=True)
    judge.symlink_to(model_path("package:data/tiny_policies/llama"))
    matrix_sources.judge_at.cache_clear()
    planned = plan(file, tmp_path / "out")
    row = planned.checked.inputs["train/tiny-llama/sgpo_trained/seed_0"]
    assert row["judge weights"] == hash_weights(str(judge), None)
    assert "judge weights" not in planned.checked.inputs["train/tiny-llama/sgpo_exact/seed_0"]
    assert [m.rpartition(": ")[0].rpartition(" in ")[2] for m in planned.checked.missing] == [
        "runs/judge_quality/judge_alone"
    ]
    matrix_sources.judge_at.cache_clear()


def test_the_study_of_judges_has_a_row_for_each_quality(tmp_path):
    planned = plan(CONFIGS / "stories" / "judge_quality.yaml", tmp_path)
    assert not planned.checked.mistakes
    configs = planned.checked.trainings
    first = {name.split("/")[2]: found.config for name, found in configs.items() if "_0" in name}
    judges = {row: config.method.get("judge") for row, config in first.items()}
    assert judges == {
        "sgpo_no_judge": "tiny_world",
        "sgpo_exact": "tiny_world",
        "sgpo_trained": "policy",
        "sgpo_trained_4_votes": "policy",
        "sgpo_trained_alone": "policy",
        "sgpo_wrong_10": "corrupted",
        "sgpo_wrong_30": "corrupted",
        "sgpo_wrong_50": "corrupted",
    }
    assert first["sgpo_no_judge"].method["judge_share"] == 0
    assert first["sgpo_trained_4_votes"].method["votes"] == 4
    assert first["sgpo_wrong_30"].method["judge_options"] == {"judge": "tiny_world", "share": 0.3}
    assert len(configs) == 8 * 5


def test_status_of_a_matrix_that_was_not_begun(tmp_path):
    found = status(plan(written(tmp_path), tmp_path / "out"))
    assert found.values["counts"] == {"waiting": 13}


def test_batch_files_are_shell_and_wait_for_what_they_need(tmp_path):
    files = batch_files(written(tmp_path), tmp_path / "out")
    for file in files:
        subprocess.run(["bash", "-n", file], check=True)
    shown = subprocess.run(
        ["bash", files[-1]], env={"SBATCH": "echo"}, capture_output=True, text=True, check=True
    )
    assert len(files) == 4 + 5 + 1 + 1  # trainings, evaluations, tables, the script
    assert "afterany" in shown.stdout
    script = files[-1].read_text()
    assert "--dependency=afterok:${job_1} --kill-on-invalid-dep=yes eval_tiny-llama_grpo" in script


@pytest.mark.parametrize("name", ["sage", "hint", "sgpo", "oar"])
def test_a_story_told_again_has_the_same_rows(name, tmp_path):
    first = plan(CONFIGS / f"stories/{name}.yaml", tmp_path).checked.trainings
    again = plan(CONFIGS / f"stories/second/{name}.yaml", tmp_path).checked.trainings
    assert [name.replace("/tiny2-", "/tiny-") for name in again] == list(first)
    for one, other in zip(first.values(), again.values(), strict=True):
        for part in ("method", "objective", "optim", "sampling", "train"):
            assert getattr(other.config, part) == getattr(one.config, part)
        assert other.config.data.source == one.config.data.source.replace("tiny", "tiny2")


def test_grpo_given_the_rollouts_of_sage_differs_in_steps_alone(tmp_path):
    rows = plan(CONFIGS / "stories/second/equal_rollouts.yaml", tmp_path).checked.trainings
    plain = rows["train/tiny2-llama/grpo/seed_0"].config
    longer = rows["train/tiny2-llama/grpo_110_steps/seed_0"].config
    assert (plain.train.steps, longer.train.steps) == (40, 110)
    assert longer.train.model_copy(update={"steps": 40}) == plain.train
    for part in ("method", "objective", "optim", "sampling", "data"):
        assert getattr(longer, part) == getattr(plain, part)
