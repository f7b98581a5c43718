"""Files of a run: one writer, whole or not at all, readable by colleagues, any text."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest

from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import (
    Appender,
    locked,
    make_folder,
    read_json,
    read_jsonl,
    to_trash,
    write_json,
    write_jsonl,
    write_text,
)

LONE = "half a pair: \ud83d"


def listing(folder) -> dict[str, object]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


# ---- the lock -----------------------------------------------------------------------------------
def test_a_second_writer_is_refused_and_leaves_no_trace(tmp_path):
    write_json(tmp_path / "config.json", {"a": 1})
    code = (
        "import sys; from pathlib import Path\n"
        "from sage_bench.utils.files import locked, to_trash, write_json, make_folder\n"
        "folder = make_folder(Path(sys.argv[1]))\n"
        "with locked(folder):\n"
        "    to_trash(folder); write_json(folder / 'config.json', {'a': 2})\n"
    )
    with locked(tmp_path):
        before = listing(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True
        )
        assert f"another process (pid {os.getpid()}) is writing to this folder" in done.stderr
        assert listing(tmp_path) == before
    assert not (tmp_path.parent / ".trash").exists()


def test_the_lock_is_held_on_while_what_lies_there_is_moved_away(tmp_path):
    folder = make_folder(tmp_path / "run")
    write_text(folder / "old.txt", "old")
    with locked(folder):
        to_trash(folder)
        assert [p.name for p in folder.iterdir()] == [".lock"]
        with pytest.raises(SageBenchError, match="another process"), locked(folder):
            pass
    (trash,) = (tmp_path / ".trash").iterdir()
    assert (trash / "old.txt").read_text() == "old"


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    folder = make_folder(tmp_path / "run")
    (folder / ".lock").symlink_to(precious)
    with pytest.raises(SageBenchError, match="symbolic link"), locked(folder):
        pass
    assert precious.read_text() == "precious"


def test_what_killed_writers_left_is_removed_when_the_lock_is_taken(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "grades").mkdir()
    gone = [tmp_path / f".status.json.{ended.pid}", tmp_path / f"grades/.a.jsonl.{ended.pid}"]
    kept = [tmp_path / f".status.json.{os.getppid()}", tmp_path / ".hidden", tmp_path / ".a.b"]
    for file in (*gone, *kept):
        file.write_text("x")
    with locked(tmp_path):
        assert not [file for file in gone if file.exists()]
        assert all(file.exists() for file in kept)


# ---- modes and text -----------------------------------------------------------------------------
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_the_umask_asks_for(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", {})
        Appender(tmp_path / "b.jsonl").close()
        with locked(tmp_path):
            pass
    finally:
        os.umask(before)
    for name in ("a.json", "b.jsonl", ".lock"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode, name


def test_half_a_surrogate_pair_is_written_and_read_back(tmp_path):
    write_json(tmp_path / "a.json", {"text": LONE})
    assert read_json(tmp_path / "a.json") == {"text": LONE}
    appender = Appender(tmp_path / "b.jsonl")
    appender.write({"text": LONE})
    appender.close()
    write_jsonl(tmp_path / "c.jsonl", [{"text": LONE}])
    for name in ("b.jsonl", "c.jsonl"):
        assert list(read_jsonl(tmp_path / name)) == [{"text": LONE}]


def test_brackets_nested_too_deep_are_not_a_traceback(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(SageBenchError, match="it is not JSON"):
        read_json(tmp_path / "deep.json")


@pytest.mark.parametrize("name", ["x" * 300, "y/" * 3000])
def test_a_folder_with_an_impossible_name_is_one_paragraph(name, tmp_path):
    with pytest.raises(SageBenchError, match="the output folder cannot be written"):
        make_folder(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    (tmp_path / f".a.txt.{os.getpid()}").mkdir()  # in the way of the partial file
    with pytest.raises(SageBenchError, match="cannot be written"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_json_that_python_alone_can_read_is_not_written(tmp_path):
    write_json(tmp_path / "a.json", {"path": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": str(tmp_path)}


def test_weights_are_readable_for_colleagues(tmp_path):
    import torch
    from safetensors.torch import save_file

    from sage_bench.utils.files import share

    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    before = os.umask(0o022)
    try:
        share(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o644
