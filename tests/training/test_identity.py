"""A run's identity is its contents: what changed behind the same command is named, or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import build, command, train, weights

from sage_bench.generation.model_folders import model_path
from sage_bench.training import loop
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import locked

METHOD = """
from sage_bench.backends.sft import SFT
from sage_bench.methods.registry import register_backend

@register_backend("{name}")
class Mine(SFT):
    '''A method of one's own.'''
    # {comment}
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """Data, prompts, model and a finished run of them, all copies."""
    folder = tmp_path_factory.mktemp("parts")
    rows = [
        {"id": str(i), "question": f"{i}+1=", "answer": str(i + 1), "solution": f"{i}+1={i + 1}"}
        for i in range(6)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "prompts.yaml").write_text("system: 'Think, then write \\boxed{}.'\n")
    shutil.copytree(model_path("package:data/tiny_policies/llama"), folder / "model")
    train(folder / "run", "train.steps=1", **given(folder))
    return folder


def given(folder: Path) -> dict:
    return {"data": str(folder / "data.jsonl"), "model": str(folder / "model")}


@pytest.fixture
def copy(parts, tmp_path) -> Path:
    shutil.copytree(parts, tmp_path / "parts")
    return tmp_path / "parts"


def go_on(folder: Path, *words: str) -> Path:
    return train(folder / "run", "train.steps=2", *words, **given(folder))


def edit_data(folder: Path) -> None:
    file = folder / "data.jsonl"
    file.write_text(file.read_text().replace('"solution": "3+1=4"', '"solution": "3+1 is 4"'))


def edit_weights(folder: Path) -> None:
    file = folder / "model/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def edit_template(folder: Path) -> None:
    file = folder / "model/chat_template.jinja"
    file.write_text(file.read_text() + " ")


CHANGES = {
    "data": (edit_data, "the rows of the data"),
    "weights": (edit_weights, "the weights of the initial policy"),
    "template": (edit_template, "the chat template"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_contents_behind_the_same_command_are_refused_by_name(what, copy):
    change, words = CHANGES[what]
    before = (copy / "run/manifest.json").read_text()
    change(copy)
    with pytest.raises(UsageError, match=words) as error:
        go_on(copy)
    assert f"train.accept_change=[{what}]" in str(error.value)
    assert (copy / "run/manifest.json").read_text() == before  # nothing is overwritten
    assert go_on(copy, f"train.accept_change=[{what}]").name == "step_000002"
    manifest = json.loads((copy / "run/manifest.json").read_text())
    (accepted,) = manifest["accepted_changes"]
    assert accepted["what"].startswith(words)
    assert accepted["step"] == 1
    # and it is the run's own from then on
    train(copy / "run", "train.steps=3", **given(copy))
    assert len(json.loads((copy / "run/manifest.json").read_text())["accepted_changes"]) == 1


def test_edited_prompts_are_refused(copy):
    words = ("train.steps=1", f"prompts={copy / 'prompts.yaml'}")
    train(copy / "run2", *words, **given(copy))
    (copy / "prompts.yaml").write_text("system: 'Think twice.'\n")
    with pytest.raises(UsageError, match=r"the prompt texts.*accept_change=\[prompts\]"):
        train(copy / "run2", *words, "train.steps=2", **given(copy))


@pytest.mark.slow
def test_an_edited_method_file_is_refused(tmp_path):
    """In processes of their own: a file is imported once per process."""
    file = tmp_path / "mine.py"
    flags = ["--backend-file", str(file)]
    file.write_text(METHOD.format(name="mine", comment="first"))
    first = command(tmp_path / "run", "train.steps=1", *flags, backend="mine")
    assert subprocess.run(first, capture_output=True).returncode == 0
    file.write_text(METHOD.format(name="mine", comment="second"))
    again = command(tmp_path / "run", "train.steps=2", *flags, backend="mine")
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the source of the method" in done.stderr
    accepted = subprocess.run([*again, "train.accept_change=[method]"], capture_output=True)
    assert accepted.returncode == 0


def test_another_version_of_the_package_is_refused(copy, monkeypatch):
    from sage_bench.training import identity

    monkeypatch.setattr(identity, "VERSION", "99.0")
    with pytest.raises(UsageError, match=r"the version of sage-bench: 0\..* then, 99\.0 now"):
        go_on(copy)


def test_another_spelling_of_a_path_is_the_same_run(copy, monkeypatch):
    monkeypatch.chdir(copy)
    last = train(
        copy / "run", "train.steps=2", "engine.threads=1", model="./model", data="data.jsonl"
    )
    assert weights(last) == weights(go_on(copy))


def test_template_options_are_part_of_a_run(copy):
    with pytest.raises(UsageError, match=r"model\.template_options"):
        go_on(copy, "model.template_options={date_string: today}")


def test_a_key_of_the_configuration_can_be_accepted(copy):
    with pytest.raises(UsageError, match=r"accept_change=\[optim\.lr\]"):
        go_on(copy, "optim.lr=1e-3")
    assert go_on(copy, "optim.lr=1e-3", "train.accept_change=[optim.lr]").name == "step_000002"
    manifest = json.loads((copy / "run/manifest.json").read_text())
    assert manifest["accepted_changes"][0]["what"] == "optim.lr: 5e-05 then, 0.001 now"


def test_the_remedy_for_a_non_finite_gradient_can_be_followed(copy):
    assert go_on(copy, "optim.on_nonfinite=skip").name == "step_000002"


def test_runs_of_versions_without_digests_go_on_and_still_compare_paths(copy, parts):
    file = copy / "run/manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["identity"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"data\.source"):
        train(copy / "run", "train.steps=2", model=str(copy / "model"), data="tiny")
    assert train(copy / "run", "train.steps=2", **given(parts)).name == "step_000002"
    assert json.loads(file.read_text())["identity"]["data"]


@pytest.mark.parametrize("file", ["config.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_a_damaged_description_of_the_run_is_named(file, damage, copy):
    path = copy / "run" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text()[:40] if damage == "cut" else "")
    with pytest.raises(SageBenchError, match=file):
        go_on(copy)


# ---- one writer ----
def held_by_another(folder: Path) -> subprocess.Popen:
    code = f"""
import sys, time
from pathlib import Path
from sage_bench.utils.files import locked
with locked(Path({str(folder)!r})):
    print("held", flush=True)
    time.sleep(120)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_refused_second_process_changes_nothing(overwrite, copy):
    folder = copy / "run"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    with held_by_another(folder) as other:
        run = build(folder, "train.steps=2", overwrite=overwrite, **given(copy))
        with pytest.raises(SageBenchError, match=f"another process \\(pid {other.pid}\\)"):
            loop.train(run)
        other.kill()
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == before
    assert not (copy / ".trash").exists()


@pytest.mark.slow
def test_overwrite_waits_for_nobody_and_mixes_nothing(tmp_path):
    """The second process is refused while the first one trains, which stays as if alone."""
    folder = tmp_path / "run"
    first = subprocess.Popen(command(folder, "train.steps=500", backend="grpo"))
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = subprocess.run(
        command(folder, "train.steps=1", "--overwrite"), capture_output=True, text=True
    )
    assert second.returncode == 1
    assert f"another process (pid {first.pid}) is writing to this folder" in second.stderr
    first.terminate()
    assert first.wait(timeout=300) == 143
    labels = [
        json.loads(p.read_text())["backend"] for p in folder.glob("checkpoints/*/sage_bench.json")
    ]
    assert set(labels) == {"grpo"}


def test_overwrite_moves_the_old_run_to_the_trash(copy):
    old = weights(copy / "run/checkpoints/step_000001")
    last = train(copy / "run", "train.steps=1", "train.seed=5", overwrite=True, **given(copy))
    assert weights(last) != old
    (trash,) = (copy / ".trash").iterdir()
    assert weights(trash / "checkpoints/step_000001") == old
    assert (trash / "manifest.json").exists()
    config = json.loads((copy / "run/config.json").read_text())
    assert config["values"]["train.seed"] == 5


def test_the_lock_is_not_taken_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".lock").symlink_to(victim)
    with pytest.raises(SageBenchError, match=r"\.lock: .*remove the link"), locked(tmp_path):
        pass
    assert victim.read_text() == "precious"


def test_what_killed_writers_left_is_cleared(copy):
    (copy / "run/.status.json.4711").write_text("{")
    go_on(copy)
    assert not list((copy / "run").glob(".*.4711"))
    assert (copy / "run/status.json").exists()
