"""Recorded groups: a run on a record is the run that drew it, bit for bit; what does not fit is
named."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import run as run_program
from recording import GRPO, short_problems
from small_runs import command, train, weights

from sage_bench.api.recording import diagnose, record
from sage_bench.generation.recorded.files import step_files
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.rows import digest_of
from sage_bench.training.diagnosis import Diagnosis
from sage_bench.training.record import RecordSummary
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_json, read_jsonl


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(short_problems(tmp_path_factory.mktemp("data") / "short.jsonl"))


@pytest.fixture(scope="module")
def grpo(data):
    """Train GRPO in a folder; returns the last checkpoint."""

    def run(folder: Path, *words: str) -> Path:
        return train(folder, *GRPO, *words, backend="grpo", data=data)

    return run


def on(record: Path, *words: str) -> tuple[str, ...]:
    return (f"engine.rollouts=recorded:{record}", *words)


@pytest.fixture(scope="module")
def live(grpo, tmp_path_factory) -> Path:
    """The last checkpoint of a live run that kept its draws."""
    return grpo(tmp_path_factory.mktemp("live"), "log.groups=all")


@pytest.fixture(scope="module")
def kept(live) -> Path:
    return live.parents[1]


ONE_PASS = [word for word in GRPO if not word.startswith("train.steps")]


def made_in(folder: Path, data: str, *words: str, **flags) -> RecordSummary:
    return record("tiny-llama", data, out=folder, overrides=[*ONE_PASS, *words], **flags)


@pytest.fixture(scope="module")
def groups(data, tmp_path_factory) -> Path:
    """A record of one pass over the data: 12 problems, of which 5 fill a batch."""
    folder = tmp_path_factory.mktemp("groups")
    made_in(folder, data, "train.prompts_per_step=5")
    return folder


def metrics(folder: Path) -> list[dict]:
    return list(read_jsonl(folder / "metrics.jsonl"))


# ---- live and recorded ----
def test_a_run_on_its_record_ends_in_equal_weights(grpo, live, kept, tmp_path):
    last = grpo(tmp_path, *on(kept))
    assert all(row["learner/trained_rows"] > 0 for row in metrics(kept)), "steps have a signal"
    assert weights(last) == weights(live)


def test_the_same_draws_stand_in_its_log(grpo, kept, tmp_path):
    grpo(tmp_path, *on(kept))
    rows = metrics(tmp_path)
    assert [row["recorded"] for row in rows] == [32.0] * 3
    assert [row["drawn_live"] for row in rows] == [0.0] * 3
    same = ("reward", "length", "learner/loss", "learner/grad_norm", "learner/logp_gap")
    ours = [[row[name] for name in same] for row in rows]
    assert ours == [[row[name] for name in same] for row in metrics(kept)]


def test_keeping_the_draws_changes_nothing(grpo, live, tmp_path):
    assert weights(grpo(tmp_path)) == weights(live)


@pytest.mark.slow
def test_a_killed_run_on_a_record_goes_on_and_ends_alike(grpo, data, live, kept, tmp_path):
    words = [*GRPO, *on(kept), "train.save_every=1"]
    run = subprocess.Popen(command(tmp_path, *words, backend="grpo", data=data))
    while not (tmp_path / "checkpoints" / "step_000001").is_dir() and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert weights(grpo(tmp_path, *on(kept), "train.save_every=1")) == weights(live)


def test_weights_trained_on_a_record_say_so(grpo, kept, tmp_path):
    last = grpo(tmp_path, *on(kept), "train.steps=1")
    (mark,) = read_json(last / "sage_bench.json")["recorded"]
    assert Record.open(kept).digest in mark
    assert "recorded" not in read_json(kept / "checkpoints" / "step_000003" / "sage_bench.json")


# ---- what does not fit ----
def refused(grpo, folder: Path, record: Path, *words: str) -> str:
    with pytest.raises((UsageError, DataError)) as error:
        grpo(folder, *on(record), *words)
    return str(error.value)


def test_another_seed_asks_for_what_is_not_there(grpo, kept, tmp_path):
    said = refused(grpo, tmp_path, kept, "train.seed=7")
    assert "step_000000.jsonl" in said
    assert "key (batch 0, problem tiny_short-" in said
    assert "engine.recorded.match=problem" in said


def test_other_parameters_are_named(grpo, kept, tmp_path):
    said = refused(grpo, tmp_path, kept, "sampling.max_tokens=31")
    assert "max_tokens 32 then, 31 now" in said


def test_what_is_not_there_is_drawn_live_where_asked(grpo, kept, tmp_path):
    grpo(tmp_path, *on(kept), "train.steps=4", "engine.recorded.missing=live")
    assert [row["drawn_live"] for row in metrics(tmp_path)] == [0.0, 0.0, 0.0, 32.0]


def test_other_weights_are_refused(data, kept, tmp_path):
    words = [*GRPO, *on(kept)]
    with pytest.raises(UsageError, match="drawn by another policy") as error:
        train(tmp_path, *words, backend="grpo", data=data, model="tiny-qwen2")
    assert "the weights" in str(error.value)
    assert "in the same model.dtype" in str(error.value)


def damaged(kept: Path, folder: Path, change) -> Path:
    """A copy of a record whose first file is changed."""
    shutil.copytree(kept / "groups", folder / "groups")
    file = folder / "groups" / "step_000000.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(change(lines)))
    return folder


def test_a_torn_last_line_is_set_aside(kept, tmp_path):
    torn = damaged(kept, tmp_path, lambda lines: [*lines[:3], lines[3][:200]])
    found = Record.open(torn)
    reasons = [row.reason for row in found.rejected]
    assert reasons[0] == "the line is torn: its writer was killed"
    assert reasons[1].startswith("the step was not written to its end")
    assert len(found.groups()) == 11


def swapped(lines: list[bytes]) -> list[bytes]:
    first, second = json.loads(lines[0]), json.loads(lines[1])
    first["completions"], second["completions"] = second["completions"], first["completions"]
    changed = [json.dumps(line).encode() + b"\n" for line in (first, second)]
    return [*changed, *lines[2:]]


def test_completions_of_another_prompt_are_set_aside(grpo, kept, tmp_path):
    record = damaged(kept, tmp_path / "record", swapped)
    found = Record.open(record)
    assert len(found.rejected) == 2
    said = refused(grpo, tmp_path / "run", record)
    assert "set aside: prompt, completions and rewards do not belong together" in said
    rows = list(read_jsonl(tmp_path / "run" / "quarantine" / "groups.jsonl"))
    assert [row["place"].rpartition("/")[2] for row in rows] == [
        "step_000000.jsonl:1",
        "step_000000.jsonl:2",
    ]


def sealed(lines: list[bytes]) -> list[bytes]:
    """Swapped, by somebody who made the digests anew."""
    changed = [json.loads(line) for line in swapped(lines)[:2]]
    whole = [{**line, "sha256": digest_of(line)} for line in changed]
    return [*(json.dumps(line).encode() + b"\n" for line in whole), *lines[2:]]


def test_completions_that_the_policy_would_not_say_are_refused(grpo, kept, tmp_path):
    record = damaged(kept, tmp_path / "record", sealed)
    assert Record.open(record).rejected == []
    said = refused(grpo, tmp_path / "run", record)
    assert "do not belong to their prompt" in said


def test_a_folder_without_a_record_is_named(grpo, tmp_path):
    assert "there is no record of groups" in refused(grpo, tmp_path, tmp_path / "nothing")


# ---- the denominator ----
def test_later_steps_take_the_ratio_to_the_policy_that_drew(grpo, groups, tmp_path):
    """A frozen record: from the second step on the policy is another one than that which drew."""
    words = ("train.prompts_per_step=5", "train.steps=2", "train.updates_per_step=1")
    grpo(tmp_path, *on(groups), *words)
    first, second = metrics(tmp_path)
    assert first["learner/kl_old"] == 0.0
    assert second["learner/kl_old"] > 0.0


def test_epochs_on_one_pass_of_groups(grpo, groups, tmp_path):
    """12 problems in batches of 5: two batches a pass, in another order every time."""
    words = ("train.prompts_per_step=5", "train.steps=4", "engine.recorded.match=problem")
    grpo(tmp_path, *on(groups), *words)
    assert [row["recorded"] for row in metrics(tmp_path)] == [40.0] * 4


# ---- `sage-bench diagnose` ----
@pytest.fixture(scope="module")
def diagnosis(groups) -> Diagnosis:
    return diagnose(groups, ["grpo", "dr_grpo", "oar_g", "sage", "oar_p"], decisive=3)


def test_dead_groups_are_those_whose_rewards_are_equal(diagnosis, groups):
    found = Record.open(groups)
    rewards = [found.load(key).rewards for key in found.groups()]
    grpo = diagnosis.methods[0]
    assert grpo.groups == 12
    assert grpo.dead == sum(len(set(own)) == 1 for own in rewards)


def test_the_mass_of_a_scalar_advantage_lies_evenly(diagnosis):
    assert diagnosis.methods[0].quarters == pytest.approx([0.25] * 4)


def test_a_method_that_weighs_tokens_moves_the_mass(diagnosis):
    assert diagnosis.methods[2].quarters != pytest.approx([0.25] * 4, abs=1e-3)
    assert diagnosis.methods[2].mass == pytest.approx(diagnosis.methods[0].mass, rel=1e-4)


def test_only_methods_that_weigh_tokens_have_a_rank_agreement(diagnosis):
    assert set(diagnosis.agreement) == {"oar_g", "oar_p"}
    (other, (mean, count)), *more = diagnosis.agreement["oar_g"].items()
    assert (other, more) == ("oar_p", [])
    assert diagnosis.agreement["oar_p"]["oar_g"] == (pytest.approx(mean), count)
    assert -1 < mean < 1
    assert 0 < count <= diagnosis.methods[2].rows


def test_gradients_of_alike_methods_point_alike(diagnosis):
    cosine = diagnosis.cosine
    assert cosine["grpo"]["grpo"] == pytest.approx(1.0)
    assert cosine["grpo"]["oar_g"] == pytest.approx(cosine["oar_g"]["grpo"])
    assert 0.8 < cosine["grpo"]["oar_g"] < 1.0


def test_what_a_method_wants_beyond_the_record_is_counted(diagnosis):
    """SAGE asks for hints where a group failed."""
    sage = diagnosis.methods[3]
    assert sage.beyond > 0
    assert sage.groups + sage.beyond == 12


def test_pulls_of_all_rows_sum_to_one(groups):
    found = diagnose(groups, ["grpo"], decisive=1000)
    (grpo,) = found.methods
    assert len(grpo.decisive) == grpo.rows
    assert sum(row.pull for row in grpo.decisive) == pytest.approx(1.0, abs=1e-3)
    assert sum(row.share for row in grpo.decisive) == pytest.approx(1.0)


# ---- `sage-bench record` ----
def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in step_files(folder)}


def test_a_record_has_every_problem_once(groups):
    found = Record.open(groups)
    assert len(found.groups()) == 12
    assert found.steps == [0, 1, 2], "two whole batches and the rest"


def test_a_killed_record_goes_on_and_ends_bit_equal(groups, data, tmp_path):
    made_in(tmp_path, data, "train.prompts_per_step=5")
    whole = contents(tmp_path)
    assert whole == contents(groups)
    # what a kill leaves: the step it was in torn, later ones not there
    last, torn = step_files(tmp_path)[-1], step_files(tmp_path)[1]
    last.unlink()
    torn.write_bytes(whole[torn.name][:2000])
    made_in(tmp_path, data, "train.prompts_per_step=5")
    assert contents(tmp_path) == whole


def test_a_folder_holds_one_record(groups, data):
    with pytest.raises(UsageError, match=r"train\.seed: 0 then, 1 now"):
        made_in(groups, data, "train.prompts_per_step=5", "train.seed=1")


@pytest.mark.slow
def test_kill_9_in_the_middle_of_record(groups, data, tmp_path):
    words = ["record", "--model", "tiny-llama", "--data", data, "--out", str(tmp_path)]
    line = [sys.executable, "-m", "sage_bench", *words, *ONE_PASS, "train.prompts_per_step=5"]
    run = subprocess.Popen([*line, "-q"])
    while not (tmp_path / "step_000000.jsonl").is_file() and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    subprocess.run([*line, "-q"], check=True)
    assert contents(tmp_path) == contents(groups)


# ---- typed ----
def test_a_diagnosis_is_json_where_asked(groups):
    words = ("--methods", "grpo,sgpo", "sgpo.judge=reference", "--rows", "1", "--json", "-q")
    done = run_program("diagnose", groups, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["methods"]] == ["grpo", "sgpo"]
    assert found["digest"] == Record.open(groups).digest
    assert len(found["methods"][0]["decisive"]) == 1


def test_an_unknown_method_is_named(groups):
    done = run_program("diagnose", groups, "--methods", "grop")
    assert done.returncode == 2
    assert "did you mean `grpo`?" in done.stderr


def test_an_unknown_kind_of_rollouts_is_named(grpo, tmp_path):
    with pytest.raises(UsageError, match="did you mean `recorded`"):
        grpo(tmp_path, "engine.rollouts=recordet:x")
