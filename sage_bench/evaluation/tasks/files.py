"""Task files as they are written: YAML with includes and names of functions, ours and yours.

lm-eval reads such files too, but passes over broken ones in silence and looks for includes beside
the file only. Here a file outside this package can include one of ours as `sage_bench/NAME.yaml`,
and every mistake is a `UsageError` with the file's name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from sage_bench.utils.errors import UsageError

OURS = "sage_bench/"  # the beginning of an include that means a file of this package


def tasks_folder() -> Path:
    """The folder of our own task files (to give `lm_eval run --include_path`)."""
    return Path(str(files("sage_bench.tasks")))


@dataclass(frozen=True, slots=True)
class FunctionName:
    """`!function module.name` of a file in `folder`."""

    folder: Path
    name: str

    @property
    def ours(self) -> bool:
        """Whether it is a function of this package's task files."""
        return self.folder.resolve() == tasks_folder().resolve()

    def resolve(self) -> Callable[..., Any]:
        """The function: of a module beside the file, else of one that can be imported.

        Raises `UsageError` when there is no such module or function, or its module does not import.
        """
        where = f"{self.folder}: !function {self.name}"
        module, _, function = self.name.rpartition(".")
        beside = self.folder / f"{module.replace('.', '/')}.py"
        try:
            if self.ours:
                loaded = importlib.import_module(f"sage_bench.tasks.{module}")
            elif beside.is_file():
                loaded = _module_of(beside)
            else:
                loaded = importlib.import_module(module)
            found = getattr(loaded, function)
        # the module is the user's: whatever it raises on import is for them to read
        except Exception as error:
            raise UsageError(
                f"cannot be loaded: {type(error).__name__}: {error}",
                where=where,
                remedy="write module.function, with the module beside the task file or installed",
            ) from error
        if not callable(found):
            raise UsageError("is not a function", where=where, remedy="name a function")
        function_found: Callable[..., Any] = found
        return function_found

    def __str__(self) -> str:
        return self.name


def _module_of(file: Path) -> ModuleType:
    """A Python file as a module, imported once a process."""
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"sage_bench_task_{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def read_yaml(path: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A task file with what it includes, functions by name.

    Raises `UsageError` for a file that cannot be read, is not a mapping, gives a key twice, or
    includes itself.
    """
    if path in including:
        raise UsageError("includes itself", where=str(path), remedy="remove one of the includes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot be read: {error}",
            where=str(path),
            remedy=_include_remedy(including),
        ) from error
    loader = _loader(path)(text)
    try:
        values = loader.get_single_data() or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(
            f"is not readable YAML: {' '.join(str(error).split())}", where=str(path)
        ) from error
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise UsageError("is not a mapping of keys", where=str(path), remedy="write `key: value`")
    included = values.pop("include", None) or []
    merged: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= read_yaml(include_path(path, name), (*including, path))
    return merged | values


def _include_remedy(including: tuple[Path, ...]) -> str | None:
    if not including:
        return None
    return (
        f"{including[-1].name} includes it; write a path from that file's folder, or"
        f" {OURS}_benchmark.yaml for the shared base"
    )


def include_path(file: Path, name: str) -> Path:
    """What an `include:` means: a path from the file's folder, or a file of ours by its name.

    >>> include_path(Path("mine/a.yaml"), "base.yaml").as_posix()
    'mine/base.yaml'
    >>> include_path(Path("mine/a.yaml"), "sage_bench/_benchmark.yaml").is_file()
    True
    """
    beside = file.parent / name
    if name.startswith(OURS) and not beside.exists():
        return tasks_folder() / name.removeprefix(OURS)
    return beside


def _loader(path: Path) -> type[yaml.SafeLoader]:
    """A loader that keeps functions as names and refuses keys that are given twice."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            seen: set[Any] = set()
            for key, _ in node.value:
                name = self.construct_object(key)
                if not isinstance(name, Hashable):
                    continue  # the base class says what is wrong with it
                if name in seen:
                    raise UsageError(
                        f"the key `{name}` is given twice",
                        where=f"{path}:{key.start_mark.line + 1}",
                        remedy="keep one of them",
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    def function(loader: yaml.SafeLoader, node: yaml.Node) -> FunctionName:
        return FunctionName(path.parent, str(node.value))

    Loader.add_constructor("!function", function)
    return Loader


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a task file with functions in the place of their names."""
    return {key: _resolve(value) for key, value in values.items()}


def _resolve(value: Any) -> Any:
    if isinstance(value, FunctionName):
        return value.resolve()
    if isinstance(value, dict):
        return resolved(value)
    if isinstance(value, list):
        return [_resolve(v) for v in value]
    return value
