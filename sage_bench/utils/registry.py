"""One registry pattern for everything a user can add by name.

A registry knows a kind of thing (backends, engines, graders, datasets). Entries come from three
places, looked up in this order and loaded only when somebody asks:

1. the modules of a package of ours (`backends/*.py` for methods), imported on first use;
2. the entry points of installed packages (group `sage_bench.backends`, `sage_bench.engines`, ...);
3. a file named on the command line (`--backend-file my_method.py`), see `load_file`.

Importing this module imports nothing heavy, so that `sage-bench --help` stays fast.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from sage_bench.utils.errors import SageBenchError, UsageError, did_you_mean

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(@[a-z0-9]+)?")


def place_of(obj: object) -> str:
    """`file:line` where `obj` was defined, or its module when the source is not at hand."""
    try:
        return f"{inspect.getsourcefile(obj)}:{inspect.getsourcelines(obj)[1]}"  # type: ignore[arg-type]
    except (TypeError, OSError):
        return getattr(obj, "__module__", None) or type(obj).__module__


def call(entry: Any, options: Mapping[str, Any], where: str, what: str = "") -> Any:
    """`entry(**options)` with options a user gave; raises `UsageError` when they do not fit."""
    try:
        inspect.signature(entry).bind(**options)
    except TypeError as error:
        raise UsageError(
            f"{what}{error}", where=where, remedy=f"options: {inspect.signature(entry)}"
        ) from error
    return entry(**options)


class Registry(Generic[T]):
    """Names to things of one kind.

    >>> fruit: Registry[type] = Registry("fruit")
    >>> @fruit.register("apple")
    ... class Apple: pass
    >>> fruit.get("apple").__name__
    'Apple'
    >>> fruit.get("aple")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    sage_bench.utils.errors.UsageError: unknown fruit `aple`; did you mean `apple`? ...
    """

    def __init__(self, kind: str, *, package: str | None = None, group: str | None = None):
        self.kind = kind
        self.package = package
        self.group = group
        self._entries: dict[str, T] = {}
        self._places: dict[str, str] = {}
        self._broken: dict[str, str] = {}  # entry points that did not load: name -> reason
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator. Raises `SageBenchError` when the name is malformed, or taken (naming both)."""
        if not _NAME.fullmatch(name):
            raise SageBenchError(
                f"`{name}` is not a name for a {self.kind}",
                remedy="lower-case letters, digits and _ . - only, and a variant after @",
            )

        def add(obj: T) -> T:
            self._add(name, obj, place_of(obj))
            return obj

        return add

    def get(self, name: str) -> T:
        """The entry called `name`. Raises `UsageError` with the closest names where there is none,
        `SageBenchError` where it is installed and does not load."""
        self._load()
        if name in self._broken:
            raise SageBenchError(
                f"the {self.kind} `{name}` is installed but does not load: {self._broken[name]}",
                remedy="`sage-bench doctor` lists such plugins; mend or uninstall it",
            )
        if name in self._entries:
            return self._entries[name]
        hint = did_you_mean(name, self._entries)
        raise UsageError(
            f"unknown {self.kind} `{name}`" + (f"; {hint}" if hint else ""),
            remedy="known: " + ", ".join(self.names()),
        )

    def make(self, name: str, options: Mapping[str, Any], where: str) -> Any:
        """Call the entry with options a user gave; raises `UsageError` when they do not fit."""
        return call(self.get(name), options, where, f"{self.kind} `{name}`: ")

    def broken(self) -> dict[str, str]:
        """Plugins that are installed and do not load: name to reason."""
        self._load()
        return dict(sorted(self._broken.items()))

    def names(self) -> list[str]:
        """All names that can be used."""
        self._load()
        return sorted(set(self._entries) - set(self._broken))

    def items(self) -> list[tuple[str, T]]:
        """(name, entry) of all that can be used."""
        return [(name, self._entries[name]) for name in self.names()]

    def place(self, name: str) -> str:
        """Where the entry comes from, as `file:line`."""
        self.get(name)
        return self._places[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def _add(self, name: str, obj: T, place: str) -> None:
        if name in self._entries and self._entries[name] is not obj:
            raise SageBenchError(
                f"two {self.kind}s are called `{name}`: {self._places[name]} and {place}",
                remedy="rename one of them",
            )
        self._entries[name] = obj
        self._places[name] = place

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # set first: the modules below import this registry
        if self.package:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group) if self.group else ():
            try:
                self._load_plugin(point)
            # whatever somebody else's package raises: the other entries must stay usable
            except (Exception, SystemExit) as error:  # noqa: BLE001
                reason = str(error) or type(error).__name__
                if not isinstance(error, SageBenchError):
                    reason = f"{type(error).__name__}: {error}"
                owner = point.dist.name if point.dist else "an installed package"
                self._broken[point.name] = f"{reason} ({point.value}, entry point of {owner})"

    def _load_plugin(self, point: EntryPoint) -> None:
        """Load one entry point. One that names a module stands for what its decorators register."""
        before = set(self._entries)
        thing = point.load()
        if isinstance(thing, ModuleType):
            mine = {name for name, place in self._places.items() if _within(place, thing)}
            if not (mine or set(self._entries) - before):
                raise SageBenchError(
                    f"the module {thing.__name__} registers no {self.kind}",
                    remedy=f"let the entry point name the {self.kind}: `module:Name`",
                )
            return
        owner = point.dist.name if point.dist else "?"
        self._add(point.name, thing, f"{point.value} (entry point of {owner})")


def _within(place: str, module: ModuleType) -> bool:
    """Was a thing with this place defined in this module, or in its package?"""
    file = place.rpartition(":")[0]
    folders = [str(Path(folder).resolve()) for folder in getattr(module, "__path__", [])]
    return file == module.__file__ or any(file.startswith(folder + os.sep) for folder in folders)


def load_file(path: str | Path) -> None:
    """Import a user's file so that its `@register_...` decorators run, once per process.

    Raises `UsageError` when there is no such file, `SageBenchError` when it does not import.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise UsageError(
            f"no such file: {path}",
            remedy="give the path of a Python file that registers a backend",
        )
    name = f"sage_bench_user_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file", remedy="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SageBenchError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise SageBenchError(
            f"does not import: {type(error).__name__}: {error}", where=str(path)
        ) from error
