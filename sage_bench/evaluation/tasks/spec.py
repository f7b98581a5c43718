"""Which tasks there are, and what `-t tiny:4,aime24:16,@quick` means.

Task files lie in the folder of this package and in folders of yours: named by `--include-path` or
`SAGE_BENCH_INCLUDE_PATH`, or by entry points of installed packages (group `sage_bench.tasks`, an
entry point names a package whose folder holds task files, or a function or path that gives one).
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from sage_bench.evaluation.tasks.files import read_yaml, tasks_folder
from sage_bench.evaluation.tasks.keys import check, reads_benchmark
from sage_bench.utils.errors import SageBenchError, UsageError, did_you_mean

PROFILES = "_profiles.yaml"
VARIABLE = "SAGE_BENCH_INCLUDE_PATH"
GROUP = "sage_bench.tasks"


@dataclass(frozen=True, slots=True)
class Profile:
    """Tasks under one name: `-t @name`. limit: questions of each task, None for all."""

    name: str
    tasks: str
    about: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task file, read without lm-eval (fast, for `ls` and checks). group: names of the members,
    empty for a task."""

    name: str
    path: Path
    group: tuple[str, ...]
    values: Mapping[str, Any]


def include(folders: Iterable[Path]) -> None:
    """Look for task files in these folders too, in this process and its children.

    Raises `UsageError` for a folder that is not there.
    """
    known = [w for w in os.environ.get(VARIABLE, "").split(os.pathsep) if w]
    for folder in folders:
        path = str(_folder(folder, "--include-path"))
        if path not in known:
            known.append(path)
    if known:
        os.environ[VARIABLE] = os.pathsep.join(known)


def task_folders() -> list[Path]:
    """Our folder, those of `SAGE_BENCH_INCLUDE_PATH`, then those of installed packages."""
    words = [w for w in os.environ.get(VARIABLE, "").split(os.pathsep) if w]
    found = [tasks_folder(), *(_folder(Path(w), VARIABLE) for w in words)]
    found += _package_folders()[0]
    return list({folder.resolve(): folder for folder in found}.values())


def _package_folders() -> tuple[list[Path], dict[str, str]]:
    """The folders of installed packages, and why the others have none, by entry point."""
    folders: list[Path] = []
    broken: dict[str, str] = {}
    for point in _points(tuple(sys.path)):
        try:
            folders.append(_entry_folder(point))
        except SageBenchError as error:
            broken[point.name] = str(error)
    return folders, broken


@cache
def _points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Looking through all installed packages takes longer than reading the tasks. path: what
    `sys.path` is, where they are looked for."""
    return tuple(entry_points(group=GROUP))


def broken_tasks() -> dict[str, str]:
    """What installed packages offer and cannot be used: entry point or task file to reason.

    Everything else goes on without it. Files in a folder that you name yourself are not among
    them: there a mistake is an error at once.
    """
    folders, broken = _package_folders()
    for folder in folders:
        broken |= _package_files(folder)[1]
        try:
            _profiles_in(folder)
        except SageBenchError as error:
            broken[PROFILES] = str(error)
    return dict(sorted(broken.items()))


def _folder(folder: Path, where: str) -> Path:
    if not folder.is_dir():
        raise UsageError(
            "no such folder", where=f"{where} {folder}", remedy="give a folder of task files"
        )
    return folder.resolve()


def _entry_folder(point: EntryPoint) -> Path:
    """The folder an entry point names. Raises `SageBenchError` when it does not load."""
    where = f"entry point {point.name} = {point.value} of group {GROUP}"
    try:
        found = point.load()
        found = found() if callable(found) else found
    # the package is somebody else's: whatever it raises on import is for the user to read
    except (Exception, SystemExit) as error:
        raise SageBenchError(
            f"does not load: {type(error).__name__}: {error}",
            where=where,
            remedy="mend or uninstall that package",
        ) from error
    path = next(iter(getattr(found, "__path__", [found])), None)
    if not isinstance(path, str | os.PathLike):
        raise SageBenchError(
            f"gives {type(found).__name__}, not a package or a path",
            where=where,
            remedy="name a package with task files, or a function that gives their folder",
        )
    return _folder(Path(path), where)


def task_files(folder: Path | None = None) -> dict[str, TaskFile]:
    """All tasks and groups by name, of one folder or of all `task_folders`.

    Raises `UsageError` naming file and key for a file that cannot be used, and both files when two
    give one name. Files of installed packages that cannot be used are left out (`broken_tasks`).
    """
    out: dict[str, TaskFile] = {}
    packages = {path.resolve() for path in _package_folders()[0]}
    for place in [folder] if folder else task_folders():
        if place.resolve() in packages:
            usable = _package_files(place)[0]
            out |= {name: file for name, file in usable.items() if name not in out}
            continue
        for name, file in _files_in(place, _state(place)).items():
            if name in out:
                raise UsageError(
                    f"the task `{name}` is in {out[name].path} already",
                    where=str(file.path),
                    remedy="rename one of them",
                )
            out[name] = file
    return out


def _package_files(folder: Path) -> tuple[dict[str, TaskFile], dict[str, str]]:
    """The task files of an installed package, and why the others cannot be used, by file."""
    usable: dict[str, TaskFile] = {}
    broken: dict[str, str] = {}
    taken = _names_before(folder)
    for state in _state(folder):
        try:
            found = _files_in(folder, (state,))
        except SageBenchError as error:
            broken[state[0]] = str(error)
            continue
        for name, file in found.items():
            other = taken.get(name) or usable.get(name)
            if other is None:
                usable[name] = file
            else:
                broken[state[0]] = f"{file.path}: the task `{name}` is in {other.path} already"
    return usable, broken


def _names_before(folder: Path) -> dict[str, TaskFile]:
    """The tasks of the folders that come before this one, and so keep their names."""
    out: dict[str, TaskFile] = {}
    for place in task_folders():
        if place.resolve() == folder.resolve():
            break
        for state in _state(place):
            try:
                out |= _files_in(place, (state,))
            except SageBenchError:
                continue  # named by whoever reads that folder
    return out


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file of the folder does."""
    stats = ((p.name, p.stat()) for p in sorted(folder.glob("*.yaml")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


@cache
def _files_in(folder: Path, state: tuple[tuple[str, int, int], ...]) -> dict[str, TaskFile]:
    out: dict[str, TaskFile] = {}
    for name, *_ in state:
        if name != PROFILES:
            file = _task_file(folder / name)
            if file is not None:
                out[file.name] = file
    return out


def _task_file(path: Path) -> TaskFile | None:
    """None for a file that is only included by others."""
    values = read_yaml(path)
    name = values.get("group") or values.get("task")
    if name is None and not path.name.startswith("_"):
        raise UsageError(
            "neither `task:` nor `group:` is given",
            where=str(path),
            remedy="name the task; files that are only included begin with _",
        )
    check(path, values)
    if not isinstance(name, str):
        return None
    members = tuple(values["task"]) if "group" in values else ()
    return TaskFile(name, path, members, _with_defaults(path, name, values))


def _with_defaults(path: Path, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """What a task file of ours says in full, and one of yours may leave out: the benchmark is
    called like the task, and its file lies beside the task file."""
    if not reads_benchmark(values):
        return values
    metadata = dict(values.get("metadata") or {})
    if metadata.get("file"):
        metadata["file"] = str((path.parent / metadata["file"]).resolve())
    return {"dataset_kwargs": {"benchmark": name}, **values, "metadata": metadata}


def profiles(folder: Path | None = None) -> dict[str, Profile]:
    """The profiles by name. Raises `UsageError` naming file and key.

    >>> profiles()["quick"].tasks
    'sb_aime24:4,sb_math500:1'
    """
    if folder:
        return _profiles_in(folder)
    packages = {path.resolve() for path in _package_folders()[0]}
    out: dict[str, Profile] = {}
    for place in task_folders():
        try:
            out |= _profiles_in(place)
        except SageBenchError:
            if place.resolve() not in packages:  # else `broken_tasks` names it
                raise
    return out


def _profiles_in(folder: Path) -> dict[str, Profile]:
    out: dict[str, Profile] = {}
    path = folder / PROFILES
    for name, values in (read_yaml(path) if path.is_file() else {}).items():
        try:
            out[name] = Profile(name, **values)
        except TypeError as error:
            raise UsageError(
                f"is not a profile: {error}",
                where=f"{path}:{name}",
                remedy="write tasks, about and, if wanted, limit",
            ) from error
    return out


def _words(spec: str | Sequence[str]) -> list[str]:
    given = [spec] if isinstance(spec, str) else spec
    words = [word.strip() for part in given for word in part.split(",")]
    return [word for word in words if word]


def named_profiles(spec: str | Sequence[str], folder: Path | None = None) -> list[Profile]:
    """The profiles a `-t` names, in order. Raises `UsageError` for an unknown one."""
    known = profiles(folder)
    out = []
    for name in (word[1:] for word in _words(spec) if word.startswith("@")):
        if name not in known:
            raise UsageError(
                f"unknown profile `@{name}`; {did_you_mean(name, known)}".rstrip("; "),
                where="--tasks",
                remedy="one of " + ", ".join(f"@{n}" for n in known),
            )
        out.append(known[name])
    return out


def parse(
    spec: str | Sequence[str], samples: int | None = None, folder: Path | None = None
) -> dict[str, int]:
    """Task names with samples a question, in order. Groups, wildcards, `@profiles` and `all` are
    expanded; `samples` overrides the files.

    >>> parse("tiny_short:2,tiny_l*")
    {'tiny_short': 2, 'tiny_lines': 4, 'tiny_long': 4}
    """
    known = task_files(folder)
    wanted: dict[str, int] = {}
    for word in _words(spec):
        if word.startswith("@"):
            (profile,) = named_profiles(word, folder)
            wanted |= parse(profile.tasks, samples, folder)
            continue
        name, colon, count = word.partition(":")
        if colon and (not count.isdecimal() or int(count) < 1):
            raise UsageError(
                f"`{word}`: samples a question must be a positive number",
                where="--tasks",
                remedy="write e.g. tiny:4",
            )
        for task in _expand(name, known):
            own = samples or int(known[task].values.get("repeats", 1))
            wanted[task] = int(count) if colon else own
    if not wanted:
        raise UsageError("no task is named", where="--tasks", remedy="see `sage-bench ls tasks`")
    return wanted


def in_order(tasks: Iterable[str]) -> list[str]:
    """Task names as tables show them: in the order of the groups that list them, then the others.

    >>> in_order(["tiny_long", "train_tiny", "tiny_short"])
    ['tiny_short', 'tiny_long', 'train_tiny']
    """
    known = task_files()
    order = [t for f in known.values() for t in f.group]
    order += [name for name, f in known.items() if not f.group]
    return sorted(tasks, key=lambda t: order.index(t) if t in order else len(order))


def _remarks_on_broken() -> str:
    """The packages that do not load, for someone whose task may be theirs."""
    told = [f"{name}: {reason}" for name, reason in broken_tasks().items()]
    return f". What is installed and cannot be used: {'; '.join(told)}" if told else ""


def _expand(name: str, known: Mapping[str, TaskFile]) -> list[str]:
    if name == "all":
        return in_order(n for n, f in known.items() if not f.group)
    if any(c in name for c in "*?["):
        found = [n for n in known if fnmatch.fnmatch(n, name) and not known[n].group]
        if found:
            return found
    if name not in known:
        raise UsageError(
            f"unknown task `{name}`; {did_you_mean(name, known)}".rstrip("; "),
            where="--tasks",
            remedy=f"see `sage-bench ls tasks`; tasks of yours: --include-path or {VARIABLE}"
            + _remarks_on_broken(),
        )
    members = known[name].group
    return [t for member in members for t in _expand(member, known)] if members else [name]
