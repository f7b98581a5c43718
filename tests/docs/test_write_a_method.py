"""The page *Write a method*: a block of code is a file that passes `sage-bench check`, a file of
the repository, or a command that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sage_bench.generation.prompts import TEXTS, WORDINGS
from sage_bench.methods.check import check
from sage_bench.methods.registry import BACKENDS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "write-a-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- (\w+)(?:: (.*?))? -->\n)?```(\w+)\n(.*?)```", TEXT, re.DOTALL)
FILES = {
    what.partition(";")[0]: (code, what.partition("wrong: ")[2])
    for mark, what, _, code in BLOCKS
    if mark == "file"
}
COPIES = {what: code for mark, what, _, code in BLOCKS if mark == "is"}
COMMANDS = [line for mark, _, _, code in BLOCKS if mark == "run" for line in code.splitlines()]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a block registers is gone after its test."""
    BACKENDS.names()
    entries, places = dict(BACKENDS._entries), dict(BACKENDS._places)
    texts, wordings = dict(TEXTS), dict(WORDINGS)
    yield
    BACKENDS._entries, BACKENDS._places = entries, places
    for table, before in ((TEXTS, texts), (WORDINGS, wordings)):
        table.clear()
        table.update(before)


def test_every_block_is_run_or_compared():
    unmarked = [code for mark, _, language, code in BLOCKS if not mark and language != "text"]
    assert unmarked == []
    assert len(FILES) >= 7
    assert COMMANDS


@pytest.mark.parametrize("name", [n for n, (_, wrong) in FILES.items() if not wrong])
def test_a_method_of_the_page_has_nothing_wrong(name, tmp_path):
    file = tmp_path / name
    file.write_text(FILES[name][0], encoding="utf-8")
    (checked,) = check(str(file))
    assert [str(finding) for finding in checked.findings] == []
    assert checked.rows > 0


@pytest.mark.parametrize("name", [n for n, (_, wrong) in FILES.items() if wrong])
def test_a_mistake_of_the_page_is_found_in_the_words_it_shows(name, tmp_path):
    code, wrong = FILES[name]
    file = tmp_path / name
    file.write_text(code, encoding="utf-8")
    (checked,) = check(str(file))
    (finding,) = checked.findings
    assert wrong in finding.found
    (shown,) = [text for mark, _, language, text in BLOCKS if language == "text" and not mark]
    printed = str(finding).replace(str(tmp_path) + "/", "")
    assert printed.startswith(shown.strip())


@pytest.mark.parametrize("name", COPIES)
def test_a_block_that_shows_a_file_is_that_file(name):
    assert (ROOT / name).read_text(encoding="utf-8") == COPIES[name]


@pytest.mark.slow
def test_the_commands_work(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for command in COMMANDS:
        program, *words = shlex.split(command)
        assert program == "sage-bench"
        done = subprocess.run(
            [sys.executable, "-m", "sage_bench", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
