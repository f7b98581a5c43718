"""A method is all the source it is made of: its file, its bases, and what they import from beside
them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from sage_bench.methods.registry import BACKENDS
from sage_bench.training.sources import source_files, sources

METHOD = """
from sage_bench.backends.sft import SFT
{imports}

class Mine(SFT):
    '''A method of one's own.'''
"""


def names(backend: str) -> set[str]:
    return {f"{file.parent.name}/{file.name}" for file in source_files(BACKENDS.get(backend))}


@pytest.mark.parametrize("helper", ["spans.py", "saliency.py", "weights.py", "report.py"])
def test_the_modules_of_a_method_in_a_folder_count(helper):
    assert f"oar/{helper}" in names("oar_p")


def test_a_base_in_another_file_counts():
    assert "backends/grpo.py" in names("oar_p")


def test_a_neighbour_that_is_not_imported_does_not_count():
    assert "backends/luffy.py" not in names("oar_p")


def test_the_harness_does_not_count():
    outside = [f for f in source_files(BACKENDS.get("oar_p")) if "backends" not in f.parts]
    assert outside == []


@pytest.fixture
def mine(tmp_path, monkeypatch) -> tuple[type, Path]:
    """A method file of one's own with a helper, and a helper of the helper, in its folder."""
    (tmp_path / "my_method.py").write_text(METHOD.format(imports="import my_helper"))
    (tmp_path / "my_helper.py").write_text("def f():\n    from my_deep import g\n")
    (tmp_path / "my_deep.py").write_text("g = 1\n")
    (tmp_path / "my_unused.py").write_text("h = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_method", "my_helper", "my_deep"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("my_method").Mine, tmp_path


@pytest.mark.parametrize("part", ["my_helper.py", "my_deep.py"])
def test_an_edited_helper_beside_a_method_file_is_another_method(mine, part):
    method, folder = mine
    before = list(sources(method))
    (folder / part).write_text("# edited\n")
    assert list(sources(method)) != before


def test_a_file_beside_it_that_nobody_imports_is_not_the_method(mine):
    method, folder = mine
    before = list(sources(method))
    (folder / "my_unused.py").write_text("# edited\n")
    assert list(sources(method)) == before


def test_the_folder_is_not_part_of_the_method(mine):
    method, folder = mine
    assert str(folder) not in "".join(sources(method))
