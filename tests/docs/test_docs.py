"""Worked examples in docstrings run; the layering holds; modules stay small."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import sage_bench

ROOT = Path(__file__).resolve().parents[2]


def modules() -> list[str]:
    found = [m.name for m in pkgutil.walk_packages(sage_bench.__path__, "sage_bench.")]
    for package in ("sage_bench.backends", "sage_bench.tasks"):
        found += [
            package,
            *(
                f"{package}.{m.name}"
                for m in pkgutil.iter_modules(importlib.import_module(package).__path__)
            ),
        ]
    return sorted(set(found) - {"sage_bench.__main__"})


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
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


NEVER = [  # (files, what they must not import)
    (
        below("backends"),
        (
            "sage_bench.engines",
            "sage_bench.training",
            "sage_bench.evaluation",
            "sage_bench.cli",
            "sage_bench.data",
            "sage_bench.grading",
        ),
    ),
    (
        below("sage_bench/engines"),
        (
            "sage_bench.backends",
            "sage_bench.training",
            "sage_bench.evaluation",
            "sage_bench.cli",
            "sage_bench.reporting",
        ),
    ),
    (
        below("sage_bench/training"),
        (
            "sage_bench.backends",
            "sage_bench.evaluation",
            "sage_bench.cli",
            "sage_bench.reporting",
            "sage_bench.study",
        ),
    ),
    (
        below("sage_bench/evaluation"),
        (
            "sage_bench.backends",
            "sage_bench.training",
            "sage_bench.cli",
            "sage_bench.reporting",
            "sage_bench.study",
        ),
    ),
    (
        below("sage_bench/grading"),
        (
            "sage_bench.engines",
            "sage_bench.training",
            "sage_bench.evaluation",
            "sage_bench.cli",
            "sage_bench.data",
            "sage_bench.methods.base",
        ),
    ),
    (
        below("sage_bench/reporting"),
        ("sage_bench.engines", "sage_bench.backends", "sage_bench.cli", "sage_bench.study"),
    ),
    (
        below("tasks"),
        ("sage_bench.engines", "sage_bench.training", "sage_bench.evaluation", "sage_bench.cli"),
    ),
    (
        [f for f in below("sage_bench") if "cli" not in f.parts and f.name != "__main__.py"],
        ("sage_bench.cli",),
    ),
    (
        [
            ROOT / "sage_bench" / n
            for n in ("advantage.py", "objective.py", "rollout.py", "hints.py", "method.py")
        ],
        ("sage_bench.engines", "sage_bench.training", "sage_bench.data", "sage_bench.grading"),
    ),
]


@pytest.mark.parametrize("rule", range(len(NEVER)))
def test_arrows_run_one_way(rule):
    files, forbidden = NEVER[rule]
    assert files
    broken = [
        (str(f.relative_to(ROOT)), i) for f in files for i in imports(f) if i.startswith(forbidden)
    ]
    assert not broken


def test_modules_stay_under_300_lines_and_methods_under_two_screens():
    long = {
        str(f.relative_to(ROOT)): n
        for f in below("sage_bench", "backends", "tasks")
        if (n := len(f.read_text().splitlines())) > 300
    }
    assert not long
    assert not {
        f.name: n for f in below("backends") if (n := len(f.read_text().splitlines())) > 110
    }


def test_no_exception_is_swallowed():
    """`except ...: pass` hides bugs; a handler must do something."""
    silent = [
        f"{f.relative_to(ROOT)}:{n.lineno}"
        for f in below("sage_bench", "backends", "tasks")
        for n in ast.walk(ast.parse(f.read_text()))
        if isinstance(n, ast.ExceptHandler) and len(n.body) == 1 and isinstance(n.body[0], ast.Pass)
    ]
    assert not silent
