"""watch: a real run is followed over an interruption and a second start."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import small_runs
from program import run as program
from rich.console import Console

from sage_bench.cli.watch import table
from sage_bench.reporting.watch import look, small_curve, watch
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("watched") / "run"
    words = ("train.steps=3", "train.save_every=3", "validation.every=3")
    small_runs.train(folder, *words, "validation.source=tiny-val", backend="grpo")
    return folder


def test_a_look_has_what_the_files_say(trained):
    view = look(trained)
    rows = list(read_jsonl(trained / "metrics.jsonl"))
    assert view.status.state == "done"
    assert view.reward == rows[-1]["reward"]
    assert view.no_signal == rows[-1]["dead_wrong"]
    assert view.reward_curve == tuple(row["reward"] for row in rows)
    tokens = sum(row["tokens"] for row in rows)
    seconds = sum(row["seconds/step"] for row in rows)
    assert view.tokens_a_second == pytest.approx(tokens / seconds)
    assert view.validation is not None and view.validation[0] == 3


def test_without_a_terminal_it_prints_lines_and_ends_with_the_run(trained):
    done = program("watch", trained)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert re.match(r"step 3/3  done  reward \d\.\d{3}  no signal \d+%  hinted 0%", line)
    assert "tokens/s" in line


def test_on_a_terminal_it_draws_the_same(trained):
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(look(trained)))
    text = console.export_text()
    for part in ("state", "done", "3/3", "reward", "no signal", "hint use", "tokens/s"):
        assert part in text


def test_a_curve_grows_with_its_values():
    assert small_curve([0.0, 1.0]) == "▁█"
    assert small_curve([0.0, 4.0], top=1.0) == "▁█"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run in this folder"):
        next(watch(tmp_path, 0.1))


def test_several_runs_are_too_many(trained, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("manifest.json", "config.json", "status.json", "metrics.jsonl"):
            (tmp_path / name / file).write_bytes((trained / file).read_bytes())
    with pytest.raises(UsageError, match="there are 2 runs in this folder"):
        look(tmp_path)


def started(folder: Path) -> subprocess.Popen[str]:
    words = ("train.steps=400", "train.save_every=5")
    command = small_runs.command(folder, *words, backend="grpo")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_it_survives_a_restart_of_the_run(tmp_path):
    folder = tmp_path / "run"
    lines: list[str] = []
    run = started(folder)
    wait_for(lambda: (folder / "metrics.jsonl").exists())
    words = [sys.executable, "-m", "sage_bench", "watch", str(folder), "--every", "0.2"]
    watcher = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: lines.extend(watcher.stdout), daemon=True)
    reader.start()
    try:
        wait_for(lambda: any("running" in line for line in lines))
        run.send_signal(signal.SIGINT)
        run.wait(60)
        wait_for(lambda: any("interrupted" in line for line in lines))
        before = len(lines)
        run = started(folder)
        wait_for(lambda: any("running" in line for line in lines[before:]))
        assert watcher.poll() is None
    finally:
        for process in (run, watcher):
            process.send_signal(signal.SIGINT)
            process.wait(60)
    steps = [int(re.match(r"step (\d+)/", line)[1]) for line in lines]
    assert max(steps[before:]) >= max(steps[:before])
