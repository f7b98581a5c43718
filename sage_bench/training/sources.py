"""The source of a method: its file, those of its bases, and what they import from beside them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sage_bench.methods.base import Method

BACKENDS = "sage_bench.backends"


def sources(method: type[Method]) -> Iterator[str]:
    """Names and texts of the files that make up a method, for its digest.

    Names without folders: a checkout or a virtual environment may lie anywhere.
    """
    for file in source_files(method):
        yield file.name
        yield file.read_text(encoding="utf-8", errors="replace")


def source_files(method: type[Method]) -> list[Path]:
    """The files of the class and of its bases, the interface itself left out, and whatever they
    import, directly or not, from their own folder.

    A method that is a package of its own counts with all its modules. Of the methods that lie side
    by side in `backends/`, only those count that are imported.
    """
    files: set[Path] = set()
    waiting: list[Path] = []
    for base in method.__mro__:
        if base is object or base.__module__.startswith("sage_bench.methods"):
            continue
        try:
            file = Path(inspect.getfile(base)).resolve()
        except (TypeError, OSError):  # defined in a notebook or a shell: there is no file
            continue
        waiting.append(file)
        if _is_package_of_its_own(base.__module__, file):
            waiting.extend(file.parent.rglob("*.py"))
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            waiting.extend(_imported_from_beside(file))
    return sorted(files)


def _is_package_of_its_own(module: str, file: Path) -> bool:
    parent = module.rpartition(".")[0]
    # methods of one file lie side by side: a neighbour that changed is another method
    if not parent or parent == BACKENDS:
        return False
    return (file.parent / "__init__.py").is_file()


def _imported_from_beside(file: Path) -> Iterator[Path]:
    """The modules of this file's folder, or below it, that its text imports."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    except SyntaxError:  # a file of a package that is not meant for this Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from _found(file, [alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            module = f"{dots}{node.module or ''}"
            joint = "" if module.endswith(".") else "."
            # `from package import module` names a module as well as a thing
            inner = [f"{module}{joint}{alias.name}" for alias in node.names]
            yield from _found(file, [module, *inner])


def _found(file: Path, names: Iterable[str]) -> Iterator[Path]:
    """The files behind module names, as far as they lie with this file."""
    home = _home(file)
    for name in names:
        for place in _places(file, name):
            if place.is_relative_to(home) and place.suffix == ".py" and place.is_file():
                yield place


def _home(file: Path) -> Path:
    """The folder whose modules are a method's own: the whole package where the file is in one."""
    home = file.parent
    while (home.parent / "__init__.py").is_file() and (home / "__init__.py").is_file():
        # all methods of ours are in one package, beside the harness
        if home.name == "backends" and home.parent.name == "sage_bench":
            break
        home = home.parent
    return home


def _places(file: Path, name: str) -> list[Path]:
    """Where a module may lie: as it was imported, or beside the file."""
    stem = name.lstrip(".")
    levels = len(name) - len(stem)
    if levels:
        folder = file.parents[levels - 1]
    else:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded:
            return [Path(loaded).resolve()]
        folder = file.parent
    path = folder.joinpath(*stem.split(".")) if stem else folder
    return [path.with_suffix(".py"), path / "__init__.py"]
