"""The fingerprint of weights is of the weights: what lies beside them changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import ones

from sage_bench.generation.model_folders import model_path
from sage_bench.generation.weights import hash_weights, weight_files


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copytree(model_path("package:data/tiny_policies/llama"), tmp_path / "model")
    return tmp_path / "model"


def test_the_state_of_an_optimiser_is_not_part_of_it(folder):
    before = hash_weights(str(folder))
    save_file({"exp_avg": ones(3)}, folder / "optimizer.safetensors")
    assert hash_weights(str(folder)) == before


def test_a_folder_of_no_weights_but_an_optimiser_takes_the_pickled_ones(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    save_file({"exp_avg": ones(3)}, folder / "optimizer.safetensors")
    assert [file.name for file in weight_files(folder)] == ["pytorch_model.bin"]


def test_a_changed_weight_is_another_fingerprint(folder):
    before = hash_weights(str(folder))
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    assert hash_weights(str(folder)) != before


def test_the_place_of_the_folder_is_not_part_of_it(folder, tmp_path):
    before = hash_weights(str(folder))
    folder.rename(tmp_path / "elsewhere")
    assert hash_weights(str(tmp_path / "elsewhere")) == before
