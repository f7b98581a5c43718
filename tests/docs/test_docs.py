"""Worked examples in docstrings run; the layering holds; modules stay small."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import sage_bench

ROOT = Path(__file__).resolve().parents[2]
EXTRA = {"trl", "peft", "ray", "vllm", "deepspeed"}  # installed by extras of their own


def modules() -> list[str]:
    """Every module of the package; importing `sage_bench.__main__` would start the program."""
    found = {module.name for module in pkgutil.walk_packages(sage_bench.__path__, "sage_bench.")}
    return sorted(found - {"sage_bench.__main__"})


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        pytest.skip(f"{error.name} is not installed")
    assert module.__doc__, "a module says what it is"
    assert doctest.testmod(module).failed == 0


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
    return {f for f in found if f.startswith("sage_bench")}


def below(*folders: str) -> list[Path]:
    return [f for folder in folders for f in (ROOT / folder).rglob("*.py")]


# The floors of the house, lowest first: a room uses rooms below it, never beside or above it.
FLOORS = [
    ("utils",),
    ("types", "statistics"),
    ("grading",),
    ("generation",),
    ("methods",),
    ("config",),
    ("data",),
    ("judges",),
    ("engines",),
    ("training",),
    ("evaluation",),
    ("reporting",),
    ("study",),
    ("api",),
    ("cli",),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FOR_BACKENDS = ("types", "utils", "generation", "grading", "methods", "judges", "backends")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("room", FLOOR)
def test_a_room_uses_only_rooms_below_it(room):
    files = [f for f in below("sage_bench") if f.relative_to(ROOT / "sage_bench").parts[0] == room]
    if room == "types":
        files = [ROOT / "sage_bench" / "types.py"]
    assert files
    arrows = {(str(f.relative_to(ROOT)), i) for f in files for i in imports(f)}
    up = {
        (file, module)
        for file, module in arrows
        if room_of(module) not in ("", room, "version")
        and FLOOR.get(room_of(module), len(FLOORS)) >= FLOOR[room]
    }
    assert not up


def test_the_page_of_the_design_lists_the_rooms_in_this_order():
    page = (ROOT / "docs" / "design" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^  ([a-z]+)(?:/|\.py) ", page, flags=re.M)
    assert sorted(listed) == sorted(FLOOR)
    assert [FLOOR[room] for room in listed] == sorted(FLOOR.values())


def test_a_backend_uses_what_anybody_could_use():
    arrows = {(str(f.relative_to(ROOT)), i) for f in below("backends") for i in imports(f)}
    assert not {(file, m) for file, m in arrows if room_of(m) not in ("", *FOR_BACKENDS)}


def test_one_file_at_most_lies_loose():
    known = {"__init__.py", "__main__.py", "types.py", "py.typed"}
    loose = {f.name for f in (ROOT / "sage_bench").iterdir() if f.is_file()} - known
    assert len(loose) <= 1


def lengths(*folders: str) -> dict[str, int]:
    return {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in below(*folders)}


def test_modules_fit_the_eye():
    assert not {f: n for f, n in lengths("sage_bench", "tasks").items() if n > 440}
    found = lengths("backends")
    assert not {f: n for f, n in found.items() if n > 300}
    assert not {f: n for f, n in found.items() if f.count("/") == 1 and n > 160}


def test_no_exception_is_swallowed():
    """`except ...: pass` hides bugs; a handler must do something."""
    silent = [
        f"{f.relative_to(ROOT)}:{n.lineno}"
        for f in below("sage_bench", "backends", "tasks")
        for n in ast.walk(ast.parse(f.read_text()))
        if isinstance(n, ast.ExceptHandler) and len(n.body) == 1 and isinstance(n.body[0], ast.Pass)
    ]
    assert not silent
