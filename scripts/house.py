"""Measure the house: how wide, how dense, how long, how commented, and what a method touches.

    python scripts/house.py [FOLDER] [--json]

FOLDER is a checkout of this project (this one unless given), so that two states can be compared:

    git worktree add ../before 42f6c1f
    python scripts/house.py ../before
    python scripts/house.py
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRODUCT = ("sage_bench", "backends", "tasks")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
HABITS = ("CONTRIBUTING.md", "CHANGELOG.md", ".pre-commit-config.yaml", "mkdocs.yml")


@dataclass
class Counts:
    """What was counted in some files. code: lines that are neither blank, comment nor docstring."""

    lines: int = 0
    code: int = 0
    comments: int = 0
    over_100: int = 0
    over_120: int = 0
    ternaries: int = 0
    nested_ternaries: int = 0
    comprehensions: int = 0
    chained_asserts: int = 0
    functions: list[int] = field(default_factory=list)
    longest_file: tuple[int, str] = (0, "")


def tracked(root: Path) -> list[Path]:
    """Python files git tracks, links left out."""
    shown = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True
    )
    return [root / name for name in shown.stdout.split() if (root / name).is_file()]


def docstring_lines(tree: ast.AST) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) or not node.body:
            continue
        first = node.body[0]
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        if is_text and isinstance(first.value.value, str):  # type: ignore[attr-defined]
            found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def comment_lines(text: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


def is_nested(node: ast.IfExp) -> bool:
    inside = (child for part in (node.body, node.orelse) for child in ast.walk(part))
    return any(isinstance(child, ast.IfExp) for child in inside)


def count_nodes(tree: ast.AST, counts: Counts) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            counts.ternaries += 1
            counts.nested_ternaries += is_nested(node)
        elif isinstance(node, COMPREHENSIONS):
            counts.comprehensions += 1
        elif isinstance(node, FUNCTIONS):
            counts.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
        elif isinstance(node, ast.Assert) and isinstance(node.test, ast.BoolOp):
            counts.chained_asserts += isinstance(node.test.op, ast.And)


def measure(files: list[Path], root: Path) -> Counts:
    counts = Counts()
    for file in files:
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        documented = docstring_lines(tree)
        commented = comment_lines(text)
        blank = {n for n, line in enumerate(lines, 1) if not line.strip()}
        alone = {n for n in commented if lines[n - 1].lstrip().startswith("#")}
        counts.lines += len(lines)
        counts.code += len(lines) - len(documented | blank | alone)
        counts.comments += len(commented)
        counts.over_100 += sum(len(line) > 100 for line in lines)
        counts.over_120 += sum(len(line) > 120 for line in lines)
        counts.longest_file = max(counts.longest_file, (len(lines), str(file.relative_to(root))))
        count_nodes(tree, counts)
    return counts


def files_naming(word: str, files: list[Path], root: Path) -> Iterator[str]:
    """Files of the harness whose code names a method (identifiers and strings, not docstrings)."""
    for file in files:
        name = str(file.relative_to(root))
        if not name.startswith("sage_bench/") or "/presets/" in name:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {
            node.name for node in ast.walk(tree) if isinstance(node, (*FUNCTIONS, ast.ClassDef))
        }
        names.discard("sched_getaffinity")  # of processors
        if any(word in found.lower() for found in names) or word in Path(name).stem:
            yield name


def per_hundred(part: int, whole: int) -> float:
    return round(100 * part / max(whole, 1), 1)


def table(root: Path) -> dict[str, Any]:
    files = tracked(root)
    names = {file: str(file.relative_to(root)) for file in files}
    product = [file for file in files if names[file].startswith(PRODUCT)]
    tests = [file for file in files if names[file].startswith("tests/")]
    ours, theirs = measure(product, root), measure(tests, root)
    lengths = sorted(ours.functions)
    loose = [f.name for f in (root / "sage_bench").glob("*.py")]
    flat = [name for name in names.values() if name.startswith("tests/test_")]
    return {
        "product: lines, code lines": [ours.lines, ours.code],
        "product: % of lines over 100 / 120 columns": [
            per_hundred(ours.over_100, ours.lines),
            per_hundred(ours.over_120, ours.lines),
        ],
        "product: ternaries, comprehensions per 100 code lines": [
            per_hundred(ours.ternaries, ours.code),
            per_hundred(ours.comprehensions, ours.code),
        ],
        "product: nested ternaries": ours.nested_ternaries,
        "product: comments per 100 code lines": per_hundred(ours.comments, ours.code),
        "product: function length p95 / max": [lengths[int(0.95 * len(lengths))], lengths[-1]],
        "product: longest file": list(ours.longest_file),
        "product: files loose in sage_bench/": len(loose),
        "harness files that name OAR's parts (saliency, spans)": sorted(
            {*files_naming("saliency", files, root), *files_naming("spans", files, root)}
        ),
        "harness files that name HINT's parts (affinity)": sorted(
            files_naming("affinity", files, root)
        ),
        "tests: files flat in tests/, lines": [len(flat), theirs.lines],
        "tests: chained asserts": theirs.chained_asserts,
        "tests: % of lines over 100 columns": per_hundred(theirs.over_100, theirs.lines),
        "habits present": [name for name in HABITS if (root / name).exists()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    found = table(given.folder.resolve())
    if given.as_json:
        print(json.dumps(found, indent=1))
        return
    for point, value in found.items():
        shown = " / ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{point}: {shown}")


if __name__ == "__main__":
    main()
