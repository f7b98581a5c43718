"""The harness names no method: what it knows of one, a method of somebody else would lack.

Looked at is what `sage_bench/` executes: identifiers, imports and strings. Docstrings, comments and
the descriptions of configuration keys cite the papers that a number or a formula comes from, and
may. `hint` is an ordinary word here (a text in the prompt; every method may use one), and so is
the name of the program.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sage_bench.methods.registry import BACKENDS

PACKAGE = Path(__file__).resolve().parents[2] / "sage_bench"
# The parts of the names of our backends, and what only they know.
WORDS = {part for name in BACKENDS.names() for part in name.split("_")} - {
    *("hint", "light", "more", "random", "reward", "dr", "p", "g", "last", "offline"),
}
WORDS |= {"affinity", "saliency", "aapo", "metahint", "scaffold"}

# file: the words it may use, and why
EXEMPT: dict[str, tuple[set[str], str]] = {
    "backends": ({"*"}, "the link to the folder of the methods"),
    "study": ({"*"}, "studies compare named methods: that is what they are"),
    "cli/demo.py": ({"grpo", "sage"}, "the options of the demo, which compares these two"),
    "api/studies.py": ({"grpo", "sage"}, "the same from Python"),
    "api/judge_training.py": ({"sft"}, "a judge is taught by fine-tuning on verdicts"),
    "config/schema.py": ({"grpo"}, "a run without --backend is the plain baseline"),
    "data/tiny_world.py": ({"metahint", "scaffold"}, "columns of its data, as any data set has"),
    "data/sources.py": ({"sage"}, "the data sets of that name"),
    "data/recipes": ({"*"}, "data sets of that name, and the columns methods read in them"),
    "cli/data_openr1.py": ({"sage"}, "the paper whose data set it makes"),
    "engines/trl": ({"grpo"}, "the class of TRL it derives from"),
    "grading/graders/released.py": ({"sage"}, "the graders of that name, published with a paper"),
}
CITING = {"description", "help", "epilog"}  # keyword arguments that hold text for people


def words_of(text: str) -> set[str]:
    """The words of an identifier or string, lower case, the program's own name left out.

    >>> sorted(words_of("sage-bench train --backend scaf_grpo, meta_hint, SAGELight"))
    ['backend', 'grpo', 'light', 'metahint', 'sage', 'scaf', 'train']
    """
    text = re.sub(r"sage[-_ ]?bench", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"meta[-_ ]?hint", "metahint", text, flags=re.IGNORECASE)
    text = re.sub(r"sched_getaffinity", " ", text)  # of processors
    return {w.lower() for w in re.findall(r"[A-Z]+(?=[A-Z][a-z]|\b|_|\d)|[A-Z]?[a-z]+", text)}


def executed(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every identifier and string that is neither a docstring nor a description."""
    passed_over: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            passed_over.add(id(first.value))
        if isinstance(node, ast.keyword) and node.arg in CITING:
            passed_over.update(id(inner) for inner in ast.walk(node.value))
        # the examples of a verb, printed by --help
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES":
            passed_over.update(id(inner) for inner in ast.walk(node.value))
    for node in ast.walk(tree):
        if id(node) in passed_over:
            continue
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "name", "asname", "arg", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield line, value
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, node.value


def allowed(file: Path) -> set[str]:
    place = file.relative_to(PACKAGE)
    places = (str(place), str(place.parent), place.parts[0])
    return next((EXEMPT[name][0] for name in places if name in EXEMPT), set())


def found_in(file: Path) -> set[tuple[int, str]]:
    may = allowed(file)
    if "*" in may:
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        (line, word) for line, text in executed(tree) for word in words_of(text) & (WORDS - may)
    }


def test_the_harness_names_no_method():
    found = {
        str(file.relative_to(PACKAGE)): sorted(hits)
        for file in sorted(PACKAGE.rglob("*.py"))
        if (hits := found_in(file))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("from sage_bench.backends.oar.saliency import x", "oar"),
        ("row.affinity", "affinity"),
        ("def f(scaf_levels): ...", "scaf"),
        ("x = 'needs grpo'", "grpo"),
        ("x = f'{y} of luffy'", "luffy"),
        ("class SAGELike: ...", "sage"),
        ("f(meta_hint=1)", "metahint"),
    ],
)
def test_a_name_is_seen(code, word):
    assert word in {w for _, text in executed(ast.parse(code)) for w in words_of(text)} & WORDS


@pytest.mark.parametrize(
    "code", ['"""As in SAGE."""', "x = Field(1, description='SAGE')", "import sage_bench.types"]
)
def test_citations_and_the_programs_own_name_are_no_names(code):
    assert not {w for _, text in executed(ast.parse(code)) for w in words_of(text)} & WORDS


def test_every_exemption_is_used():
    for place, (words, _) in EXEMPT.items():
        path = PACKAGE / place
        files = [path] if path.is_file() else list(path.rglob("*.py"))
        used = set()
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            used |= {w for _, text in executed(tree) for w in words_of(text)} & WORDS
        assert used if "*" in words else words <= used, place
