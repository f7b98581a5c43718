"""Exports: each is read back by its own reader and agrees with the evaluation to 1e-12.

Readers of other projects run in environments of their own, named by variables; without them those
tests skip: EEE_PYTHON (every-eval-ever, Python 3.12), INSPECT_PYTHON
(inspect_ai).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from evaluating import evaluate
from program import run as program
from runs import draw, write_run

from sage_bench.generation.samplers.fake import Fake
from sage_bench.reporting.exchange import eee, importing, lm_eval
from sage_bench.reporting.exchange.kinds import export
from sage_bench.reporting.exchange.scores import Score, finished, model_name
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_json, read_jsonl

NAME = "my-org/my-model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A real evaluation of two tasks, as lm-eval drove it."""
    out = tmp_path_factory.mktemp("evaluated")
    return evaluate(Fake("fake:0.6"), out, "tiny_short:4,tiny_mixed:4", "fake:0.6", limit=None)


def written(folder: Path, kind: str, out: Path, name: str | None = NAME) -> list[Path]:
    return export(folder, kind, out, name=name)


def by_key(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(s.task, s.metric): s for s in scores}


# ---- what is exported ---------------------------------------------------------------------------
def test_scores_are_those_of_the_leaderboard(folder):
    board = leaderboard([read_eval(folder)], passes=True).set_index(["task", "metric"])
    found = by_key(list(finished(folder).scores))
    for key in (("tiny_short", "avg@n"), ("tiny_mixed", "pass@2"), ("tiny_mixed", "pass@4")):
        row = board.loc[key]
        assert 100 * found[key].value == pytest.approx(row.value, abs=1e-10)
        assert 100 * found[key].se == pytest.approx(row.se_question, abs=1e-10)
        assert 100 * found[key].low == pytest.approx(row.ci_lo, abs=1e-10)


def test_an_unfinished_evaluation_is_not_exported(tmp_path):
    broken = write_run(tmp_path / "run", "grpo", draw(0, {"tiny": 0.5}), drop=3)
    with pytest.raises(DataError, match="not finished: tiny partial 157/160"):
        written(broken, "eee", tmp_path / "out")


def test_an_unknown_form_names_the_closest(folder, tmp_path):
    with pytest.raises(UsageError, match=r"unknown form `ee`.*`eee`"):
        written(folder, "ee", tmp_path)


def test_a_checkpoint_on_this_machine_has_a_local_name(tmp_path):
    run = read_eval(write_run(tmp_path / "run", "grpo", draw(0, {"tiny": 0.5})))
    assert model_name(run) == "m/grpo"
    run.manifest["model"] = "runs/sage/checkpoints/step_000040"
    assert model_name(run) == "local/sage-step_000040"


# ---- read back ----------------------------------------------------------------------------------
FORMS = {"eee": "data/*/*/*/*.json", "lm-eval": "results.json", "inspect": "*.json"}


@pytest.mark.parametrize("kind", FORMS)
def test_what_was_exported_is_read_back_to_the_last_digit(kind, folder, tmp_path):
    written(folder, kind, tmp_path)
    found = importing.read_files(sorted(tmp_path.glob(FORMS[kind])))
    assert not found.quarantine
    assert {item.model for item in found.scores} == {NAME}
    back = by_key([item.score for item in found.scores])
    expected = by_key(list(finished(folder).scores))
    assert back.keys() == expected.keys()
    for key, score in expected.items():
        for part in ("value", "se", "low", "high", "questions", "samples"):
            assert getattr(back[key], part) == pytest.approx(getattr(score, part), abs=1e-12)


def test_a_single_question_has_no_standard_error(tmp_path):
    one = {"tiny_short": np.array([["7", "7", "5", ""]])}
    run = write_run(tmp_path / "run", "grpo", one)
    for kind, files in FORMS.items():
        written(run, kind, tmp_path / kind)
        found = importing.read_files(sorted((tmp_path / kind).glob(files)))
        scores = by_key([item.score for item in found.scores])
        assert scores["tiny_short", "avg@n"].se is None
        assert scores["tiny_short", "avg@n"].value == 0.5


# ---- Every Eval Ever ----------------------------------------------------------------------------
def test_every_eval_ever_has_model_errors_and_intervals(folder, tmp_path):
    (document, _) = written(folder, "eee", tmp_path)
    found = read_json(document)
    assert found["schema_version"] == "0.3.0"
    assert found["model_info"]["id"] == NAME
    assert len(found["evaluation_results"]) == 2 * 4
    for result in found["evaluation_results"]:
        assert set(result["score_details"]["uncertainty"]) == {
            "num_samples",
            "standard_error",
            "confidence_interval",
        }


def test_every_eval_ever_lists_every_sample(folder, tmp_path):
    (document, samples) = written(folder, "eee", tmp_path)
    rows = list(read_jsonl(samples))
    assert len(rows) == read_json(document)["detailed_evaluation_results"]["total_rows"]
    short = [r["evaluation"]["score"] for r in rows if r["evaluation_name"] == "tiny_short"]
    score = by_key(list(finished(folder).scores))["tiny_short", "avg@n"]
    assert np.mean(short) == pytest.approx(score.value, abs=1e-12)
    assert rows[0]["input"]["raw"] == "5-1-3"


def test_no_text_of_gated_data_leaves(tmp_path):
    secret = "the flux capacitor"
    rates = {"sb_aime24": 0.4, "sb_gpqa_diamond": 0.6}
    run = write_run(tmp_path / "run", "grpo", draw(0, rates, questions=30))
    questions = run / "questions" / "sb_gpqa_diamond.json"
    rows = [{**q, "question": secret} for q in json.loads(questions.read_text())]
    questions.write_text(json.dumps(rows))
    for kind in ("eee", "inspect"):
        files = written(run, kind, tmp_path / kind)
        texts = [file.read_text() for file in files]
        assert any("sb_gpqa_diamond" in text for text in texts)
        assert not any(secret in text for text in texts)


def test_a_document_that_does_not_fit_the_schema_names_its_field(folder):
    document = eee.aggregate(finished(folder, NAME))
    document["source_metadata"]["source_type"] = "hearsay"
    with pytest.raises(DataError, match=r"source_metadata\.source_type.*0\.3\.0"):
        eee.check(document, eee.AGGREGATE, where="here")


def other_python(variable: str, package: str) -> str:
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} does not name a Python with {package}")
    return python


def test_the_projects_own_validator_accepts_it(folder, tmp_path):
    python = other_python("EEE_PYTHON", "every-eval-ever")
    written(folder, "eee", tmp_path)
    words = ["-m", "every_eval_ever", "validate", "--format", "json"]
    files = sorted(str(file) for file in tmp_path.rglob("*.json*"))
    done = subprocess.run([python, *words, *files], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [r["valid"] for r in json.loads(done.stdout)] == [True, True]


# ---- lm-eval ------------------------------------------------------------------------------------
def test_lm_eval_has_the_model_and_an_error_for_every_metric(folder, tmp_path):
    (file,) = written(folder, "lm-eval", tmp_path)
    found = read_json(file)
    assert found["model_name"] == NAME
    assert found["config"]["model_args"].startswith(f"pretrained={NAME}")
    task = found["results"]["tiny_short"]
    keys = [k.partition(",")[0] for k in task if "," in k]
    names = {k for k in keys if not k.endswith((lm_eval.ERROR, lm_eval.LOW, lm_eval.HIGH))}
    assert names == {"avg_at_n", "pass_at_2", "pass_at_n", "no_answer"}
    assert all(isinstance(task[f"{name}_stderr,all"], float) for name in names)


def test_lm_eval_prints_its_table_of_it(folder, tmp_path):
    from lm_eval.utils import make_table

    (file,) = written(folder, "lm-eval", tmp_path)
    found = read_json(file)
    (line,) = [
        row for row in make_table(found).splitlines() if "tiny_short" in row and "avg_at_n" in row
    ]
    error = found["results"]["tiny_short"]["avg_at_n_stderr,all"]
    assert f"{error:.4f}" in line


def test_results_of_the_run_itself_agree(folder, tmp_path):
    (file,) = written(folder, "lm-eval", tmp_path)
    exported, stored = read_json(file)["results"], read_json(folder / "results.json")["results"]
    for key in ("avg_at_n,all", "pass_at_n,all", "no_answer,all"):
        assert exported["tiny_mixed"][key] == pytest.approx(stored["tiny_mixed"][key], abs=1e-12)


def test_keys_of_others_keep_their_names(tmp_path):
    theirs = {
        "results": {"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.5, "acc,none": 0.25}},
        "versions": {"gsm8k": 3.0},
        "config": {"model": "hf", "model_args": "pretrained=org/model,dtype=float16"},
    }
    (tmp_path / "results.json").write_text(json.dumps(theirs))
    found = importing.read_files([tmp_path / "results.json"])
    assert [(i.model, i.score.metric, i.score.value) for i in found.scores] == [
        ("org/model", "exact_match,strict-match", 0.5),
        ("org/model", "acc", 0.25),
    ]


# ---- Inspect ------------------------------------------------------------------------------------
INSPECT = """
import json, sys
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import SampleScore, Score, accuracy, mean_score, pass_at, stderr
log = read_eval_log(sys.argv[1])
grader = log.results.scores[0].name
by_id = {}
for s in log.samples:
    by_id.setdefault(s.id, []).append(Score(value=s.scores[grader].value))
def over(reducer):
    scores = [SampleScore(score=reducer(found)) for found in by_id.values()]
    return accuracy()(scores), stderr()(scores)
print(json.dumps({"model": log.eval.model, "status": log.status, "epochs": log.eval.config.epochs,
                  "mean": over(mean_score()), "pass": over(pass_at(2))}))
"""


def test_inspect_reads_the_log_and_computes_the_same(folder, tmp_path):
    python = other_python("INSPECT_PYTHON", "inspect_ai")
    files = written(folder, "inspect", tmp_path)
    expected = by_key(list(finished(folder).scores))
    (log,) = [file for file in files if "tiny_mixed" in file.name]
    done = subprocess.run([python, "-c", INSPECT, str(log)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["status"], found["epochs"]) == (NAME, "success", 4)
    for key, metric in (("mean", "avg@n"), ("pass", "pass@2")):
        score = expected["tiny_mixed", metric]
        assert found[key] == pytest.approx([score.value, score.se], abs=1e-12)


# ---- the Hub ------------------------------------------------------------------------------------
def test_results_of_the_hub_are_read_by_its_own_library(tmp_path):
    from huggingface_hub import parse_eval_result_entries

    rates = {"sb_aime24": 0.4, "sb_gpqa_diamond": 0.6}
    run = write_run(tmp_path / "run", "grpo", draw(0, rates, questions=30))
    files = written(run, "hf-results", tmp_path / "out")
    assert [str(f.relative_to(tmp_path / "out")) for f in files] == [
        ".eval_results/sb_aime24.yaml",
        ".eval_results/sb_gpqa_diamond.yaml",
    ]
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[1].read_text()))
    assert (entry.dataset_id, entry.task_id) == ("Idavidrein/gpqa", "gpqa_diamond")
    score = by_key(list(finished(run).scores))["sb_gpqa_diamond", "avg@n"]
    assert entry.value == pytest.approx(100 * score.value, abs=1e-12)
    assert "standard error" in entry.notes


def test_a_limited_run_is_no_result_of_a_benchmark(tmp_path):
    run = write_run(tmp_path / "run", "grpo", draw(0, {"sb_aime24": 0.4}), limit=5)
    with pytest.raises(UsageError, match="LIMITED to the first 5"):
        written(run, "hf-results", tmp_path / "out")


def test_a_benchmark_without_a_data_set_has_no_place_on_the_hub(folder, tmp_path):
    with pytest.raises(
        UsageError, match="no data set on the Hub is known for tiny_short, tiny_mixed"
    ):
        written(folder, "hf-results", tmp_path)


# ---- other formats ------------------------------------------------------------------------------
def test_rows_of_another_format_are_set_aside_with_their_reason(folder, tmp_path):
    (good,) = written(folder, "lm-eval", tmp_path)
    lines = [json.dumps(read_json(good)), '{"accuracy": 1}', "not json", "[1]"]
    (tmp_path / "many.jsonl").write_text("\n".join(lines) + "\n")
    done = program("import", tmp_path / "many.jsonl", "--out", tmp_path / "back", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["scores"]) == 8
    places = {row["place"]: row["reason"] for row in found["quarantine"]}
    assert list(places) == ["many.jsonl:2", "many.jsonl:3", "many.jsonl:4"]
    assert places["many.jsonl:2"] == importing.NONE_OF_THEM
    assert len(list(read_jsonl(tmp_path / "back" / "quarantine.jsonl"))) == 3
    assert len((tmp_path / "back" / "scores.csv").read_text().splitlines()) == 9


def test_a_score_that_is_not_a_number_is_set_aside_alone(folder, tmp_path):
    (file,) = written(folder, "lm-eval", tmp_path)
    document = read_json(file)
    document["results"]["tiny_short"]["avg_at_n,all"] = "N/A"
    file.write_text(json.dumps(document))
    found = importing.read_files([file])
    assert len(found.scores) == 7
    assert [q.reason for q in found.quarantine] == [
        "tiny_short, avg_at_n,all: 'N/A' is not a finite number"
    ]


def test_files_without_a_score_are_an_error(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    done = program("import", tmp_path / "x.json", "--out", tmp_path / "back")
    assert done.returncode == 1
    assert "no score could be read" in done.stderr


def test_a_log_of_inspect_that_did_not_end_is_set_aside(folder, tmp_path):
    (first, _) = written(folder, "inspect", tmp_path)
    log = read_json(first)
    log["status"] = "started"
    first.write_text(json.dumps(log))
    (reason,) = [q.reason for q in importing.read_files([first]).quarantine]
    assert "its status is `started`" in reason


def test_command_line(folder, tmp_path):
    done = program("export", folder, "--to", "eee", "--out", tmp_path, "--name", NAME)
    assert done.returncode == 0, done.stderr
    (document, samples) = map(Path, done.stdout.split())
    assert samples.is_file()
    done = program("import", document, "--out", tmp_path / "back")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "back" / "scores.csv")


def test_a_name_has_two_parts(folder, tmp_path):
    done = program("export", folder, "--to", "eee", "--out", tmp_path, "--name", "model")
    assert done.returncode == 2
    assert "ORG/MODEL" in done.stderr


def test_metric_names_are_kept_in_both_directions():
    assert lm_eval.metric_of("pass_at_n", None) == "pass@n"
