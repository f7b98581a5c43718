"""The page *First run*, typed line by line as a newcomer would."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-run.md"


@dataclass(frozen=True)
class Step:
    """A block of the page that is marked with `<!-- run -->`, and the output it shows, if any."""

    commands: list[str]
    shown: list[str]


def steps() -> list[Step]:
    found = re.findall(
        r"<!-- run -->\n```bash\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE.read_text("utf-8"), re.S
    )
    return [Step(commands.splitlines(), shown.splitlines()) for commands, shown in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the reader sits: a folder with the repository's examples."""
    place = tmp_path_factory.mktemp("first_run")
    (place / "examples").symlink_to(ROOT / "examples")
    return place


@pytest.fixture(scope="module")
def typed(folder) -> list[tuple[Step, list[subprocess.CompletedProcess]]]:
    """Every step with what its commands did, in one folder, in the order of the page."""
    done = []
    for step in steps():
        results = []
        for command in step.commands:
            program, *arguments = shlex.split(command)
            assert program == "sage-bench"
            line = [sys.executable, "-m", "sage_bench", *arguments]
            result = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=500)
            results.append(result)
        done.append((step, results))
    return done


def test_the_page_has_steps():
    verbs = [command.split()[1] for step in steps() for command in step.commands]
    assert {"eval", "train", "report", "compare", "status"} <= set(verbs)


@pytest.mark.slow
def test_every_command_of_the_page_works(typed):
    failed = {
        command: result.stderr[-500:]
        for step, results in typed
        for command, result in zip(step.commands, results, strict=True)
        if result.returncode != 0
    }
    assert not failed


@pytest.mark.slow
def test_the_output_the_page_shows_is_printed(typed):
    checked = 0
    for step, results in typed:
        printed = {line.strip() for result in results for line in result.stdout.splitlines()}
        for line in step.shown:
            checked += 1
            assert line.strip() in printed | {""}
    assert checked >= 5


@pytest.mark.slow
def test_a_command_that_is_typed_again_prints_the_same(typed, folder):
    """The page says so of its first evaluation."""
    _, (first,) = typed[0]
    again = subprocess.run(first.args, cwd=folder, capture_output=True, text=True, timeout=500)
    assert again.stdout == first.stdout
