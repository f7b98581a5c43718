"""Progress fits the terminal: what a person looks for is there at 80 columns and at 30."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sage_bench.utils.progress import Bar, display, status_line, stderr

TASKS = (
    ("train sage_light", "reward 0.312  no signal 64%  12.3 s/step"),
    ("eval Qwen-Qwen2.5-7B-Instruct", "sb_olympiadbench"),
    ("grade runs[/x]/1f2e3d4c math_verify", "[bold]"),
)


def drawn(width: int, name: str, note: str) -> str:
    """The last line a terminal of this width shows of a task that is at 12 of 40."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, markup=False)
    progress = display(console)
    task = progress.add_task(name, total=40, note=note)
    progress.update(task, completed=12, eta="eta 35 s")
    console.print(progress.get_renderable())
    return out.getvalue().rstrip("\n")


@pytest.mark.parametrize(("name", "note"), TASKS)
@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_counts_and_remaining_time_are_always_there(width, name, note):
    line = drawn(width, name, note)
    assert "\n" not in line
    assert len(line) <= width
    assert "12/40" in line
    assert "eta 35 s" in line
    assert line.startswith(name[:6])


def test_a_wide_terminal_shows_everything():
    name, note = TASKS[0]
    line = drawn(200, name, note)
    assert name in line
    assert note in line
    assert "━" in line


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=60),
    st.integers(0, 10**6),
    st.integers(24, 250),
)
def test_any_task_fits_any_terminal(name, done, width):
    counts = f"{done}/{10**6}"
    line = status_line(name, counts, "eta 2.5 h", "35 min", "a note", done / 10**6, width)
    assert len(line) <= width
    if width >= 8 + len(counts) + len("eta 2.5 h") + 2:
        assert counts in line
        assert "eta 2.5 h" in line


def test_the_remaining_time_is_reckoned_where_nobody_says_it():
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    now = [0.0]
    progress = display(console)
    progress.get_time = lambda: now[0]
    task = progress.add_task("train", total=10)
    for step in (1, 2, 3):
        now[0] += 2.0
        progress.update(task, completed=step)
    console.print(progress.get_renderable())
    assert "3/10" in out.getvalue()
    assert "eta 14 s" in out.getvalue()


def test_markup_in_a_message_is_text(capsys):
    stderr().print("rows of x/[/x] and [bold]y[/bold] :smile:")
    assert capsys.readouterr().err == "rows of x/[/x] and [bold]y[/bold] :smile:\n"


def test_without_a_terminal_there_are_plain_lines(capsys):
    with Bar("train [/x]", 2) as bar:
        bar.advance(note="reward 0.5")
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train [/x]: 0/2", "train [/x]: 2/2 reward 0.5"]


def test_a_quiet_bar_says_nothing(capsys):
    with Bar("train", 2, quiet=True) as bar:
        bar.advance(2)
    assert capsys.readouterr().err == ""
