"""Damaged checkpoints: seen before anything is loaded, and passed over with a word."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import train, weights

from sage_bench.config.schema import OptimConfig
from sage_bench.engines.local.optim import MasterAdamW, parts, write_tensors
from sage_bench.generation.model_folders import model_path
from sage_bench.training import checkpoint
from sage_bench.utils.errors import SageBenchError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A finished run of four steps, to be copied and damaged."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return folder


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def zero_a_block(file: Path) -> None:
    with file.open("r+b") as f:
        f.seek(file.stat().st_size // 2)
        f.write(bytes(4096))


def cut(file: Path) -> None:
    with file.open("r+b") as f:
        f.truncate(file.stat().st_size // 2)


def replace_by_an_empty_one(file: Path) -> None:
    save_file({}, file)


def write_nonsense(file: Path) -> None:
    file.write_text("{oops")


DAMAGES = [
    (flip_a_bit, "model.safetensors", "is not what was written"),
    (zero_a_block, "model.safetensors", "is not what was written"),
    (cut, "model.safetensors", "is not what was written"),
    (flip_a_bit, "optimizer.safetensors", "is not what was written"),
    (replace_by_an_empty_one, "optimizer.safetensors", "is not what was written"),
    (Path.unlink, "optimizer.safetensors", "is missing"),
    (write_nonsense, "run.json", "is not what was written"),
    (write_nonsense, "files.json", "is not JSON"),
    (Path.unlink, "model.safetensors", "is missing"),
]


@pytest.mark.parametrize(("damage", "file", "word"), DAMAGES)
def test_the_newest_intact_checkpoint_is_used_with_a_word(
    damage, file, word, whole, tmp_path, capsys
):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    last = folder / "checkpoints/step_000004"
    damage(last / file)
    again = train(folder)
    said = capsys.readouterr().err
    assert word in said
    assert file in said
    assert "going on from step_000003" in said
    assert weights(again) == weights(whole / "checkpoints/step_000004")
    assert (folder / "checkpoints/.damaged-step_000004").is_dir()


def test_without_an_intact_one_the_run_says_what_is_wrong_with_each(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for step in checkpoint.steps(folder):
        flip_a_bit(folder / "checkpoints" / checkpoint.name(step) / "model.safetensors")
    with pytest.raises(SageBenchError, match="no checkpoint is intact") as error:
        train(folder)
    assert "step_000004: model.safetensors is not what was written" in str(error.value)
    # older ones lost their optimiser state when the newer ones were written
    assert "step_000002: optimizer.safetensors is missing" in str(error.value)
    assert str(folder / "checkpoints") in str(error.value)


@pytest.mark.parametrize("stray", ["folder", "file"])
def test_what_is_only_called_a_checkpoint_is_not_taken(stray, whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    path = folder / "checkpoints/step_000099"
    path.mkdir() if stray == "folder" else path.write_text("not mine")
    assert train(folder).name == "step_000004"
    assert "step_000099 is not a checkpoint" in capsys.readouterr().err
    assert path.exists()


def test_a_stray_file_does_not_stand_in_the_way_of_a_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step_000001").write_text("not mine")
    assert train(tmp_path, "train.steps=1").name == "step_000001"


def test_the_last_two_keep_their_optimiser_state(whole):
    kept = [
        step
        for step in checkpoint.steps(whole)
        if (whole / "checkpoints" / checkpoint.name(step) / "optimizer.safetensors").exists()
    ]
    assert kept == [3, 4]


def test_digests_name_every_file(whole):
    last = whole / "checkpoints/step_000004"
    listed = json.loads((last / "files.json").read_text())["files"]
    assert {*listed, "files.json"} == {p.name for p in last.iterdir()}
    assert all(checkpoint.digest(last / name) == digest for name, digest in listed.items())


def test_others_may_read_what_the_mask_lets_them(whole):
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (whole / "checkpoints/step_000004").iterdir()}
    probe = whole / "probe"
    probe.touch()
    assert modes == {stat.S_IMODE(probe.stat().st_mode)}
    probe.unlink()


def test_checkpoints_of_versions_without_digests_still_load(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints/step_000004")
    old = folder / "checkpoints/step_000003"
    (old / "files.json").unlink()
    engine = json.loads((old / "engine.json").read_text())
    del engine["updates_taken"]
    (old / "engine.json").write_text(json.dumps(engine))
    assert weights(train(folder)) == weights(whole / "checkpoints/step_000004")


def test_an_empty_optimiser_file_of_such_a_version_is_an_error(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    old = folder / "checkpoints/step_000004"
    (old / "files.json").unlink()
    save_file({}, old / "optimizer.safetensors")
    with pytest.raises(SageBenchError, match="optimiser state does not fit the model"):
        train(folder, "train.steps=5")


def test_weights_with_a_missing_tensor_are_an_error(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    old = folder / "checkpoints/step_000004"
    (old / "files.json").unlink()
    tensors = load_file(old / "model.safetensors")
    gone = next(name for name in tensors if "mlp" in name)
    save_file(
        {name: t for name, t in tensors.items() if name != gone},
        old / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(SageBenchError, match=gone.replace(".", r"\.")):
        train(folder, "train.steps=5")


# ---- the optimiser ----
def weights_of(shapes: list[tuple[int, ...]]) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]


SHAPES = [(40, 30), (7,), (64, 64), (1,), (500,), (33, 2)]


def test_parts_hold_every_parameter_once_and_stay_small():
    found = list(parts(weights_of(SHAPES), 1000))
    assert [tuple(p.shape) for part in found for p in part] == SHAPES
    assert all(len(part) == 1 or sum(p.numel() for p in part) <= 1000 for part in found)
    assert len(found) > 2


def test_an_optimiser_in_parts_is_the_optimiser_bit_for_bit(monkeypatch):
    from sage_bench.engines.local import optim

    monkeypatch.setattr(optim.parts, "__defaults__", (1000,))
    ours, reference = weights_of(SHAPES), weights_of(SHAPES)
    settings = OptimConfig(lr=1e-2)
    split = MasterAdamW(ours, settings)
    assert len(split.adam.param_groups) > 2
    whole_adam = torch.optim.AdamW(
        reference,
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        foreach=True,
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for mine, theirs in zip(ours, reference, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            theirs.grad = mine.grad.clone()
        torch.nn.utils.clip_grad_norm_(reference, settings.grad_clip)
        whole_adam.step()
        split.step(settings.lr)
    assert all(torch.equal(a, b) for a, b in zip(ours, reference, strict=True))


def test_tensors_are_written_as_safetensors_reads_them(tmp_path):
    tensors = {
        "step": torch.tensor(3.0),
        "narrow": torch.randn(5, 3).bfloat16(),
        "wide": torch.randn(2, 2, dtype=torch.float64),
        "slanted": torch.randn(4, 6).T,
        "none": torch.zeros(0, 4),
    }
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = load_file(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) for k, v in tensors.items())
    assert all(found[k].dtype == v.dtype for k, v in tensors.items())


def test_writing_and_reading_optimiser_state_copies_one_tensor_at_a_time(tmp_path):
    """Peak memory of a process: 64 tensors of 4 MiB, in state that lies outside the heap."""
    code = f"""
import resource, torch
from pathlib import Path
from sage_bench.engines.local.optim import write_tensors
torch.set_num_threads(1)
tensors = {{str(i): torch.full((1 << 20,), float(i)) for i in range(64)}}
write_tensors(Path({str(tmp_path / "warm")!r}), {{"0": tensors["0"]}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_tensors(Path({str(tmp_path / "all")!r}), tensors)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "all").stat().st_size > 256 << 20
    assert int(done.stdout) < 64 << 10  # KiB: far below the 256 MiB of a second copy


def test_weights_that_are_not_finite_after_an_update_are_named():
    from sage_bench.utils.errors import TrainingError

    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = MasterAdamW([weight], OptimConfig(lr=1.0), {weight: "layers.0.bias"})
    weight.grad = torch.ones(3)
    with torch.no_grad():
        weight[1] = 3e38
    with pytest.raises(TrainingError, match=r"`layers\.0\.bias` .* after update 1"):
        optimiser.step(1e36)


def test_the_label_names_the_base_by_its_contents_and_not_by_its_place(tmp_path):
    shutil.copytree(model_path("package:data/tiny_policies/llama"), tmp_path / "here" / "base")
    (tmp_path / "there").mkdir()
    labels = []
    for place in ("here", "there"):
        if place == "there":
            (tmp_path / "here" / "base").rename(tmp_path / "there" / "base")
        last = train(tmp_path / f"run-{place}", model=str(tmp_path / place / "base"))
        labels.append((last / "sage_bench.json").read_text())
    assert labels[0] == labels[1]
    assert str(tmp_path) not in labels[0]
    assert json.loads(labels[0])["base_model"] == "base"
