"""`-t tiny:4,aime24:16,@quick`: which tasks, how many samples a question."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from sage_bench.utils.errors import UsageError, did_you_mean

# what lm-eval 0.4.12 to 0.5 read; a test compares. lm-eval names neither file nor near misses when
# a key is wrong
TASK_KEYS = frozenset(
    "task task_alias tag custom_dataset dataset_path dataset_name dataset_kwargs training_split"
    " validation_split test_split fewshot_split process_docs doc_to_text doc_to_target doc_to_image"
    " doc_to_audio unsafe_code doc_to_choice process_results use_prompt description"
    " target_delimiter fewshot_delimiter fewshot_config num_fewshot metric_list output_type"
    " generation_kwargs repeats filter_list should_decontaminate doc_to_decontamination_query"
    " gen_prefix metadata class".split()
)
GROUP_KEYS = frozenset("group group_alias task aggregate_metric_list metadata".split())
# what our loader reads (`data.benchmarks.load`), then what is only for people
METADATA_KEYS = frozenset(
    "hub fields gold rows gated options grader data offline gold_corrections version about"
    " revision_note paper_copy released license source".split()
)


PROFILES = "_profiles.yaml"


@dataclass(frozen=True, slots=True)
class Profile:
    """Tasks under one name: `-t @name`. limit: questions of each task, None for all."""

    name: str
    tasks: str
    about: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class TaskFile:
    """One of our YAML files, read without lm-eval (fast, for `ls` and checks). group: names of the
    members, empty for a task."""

    name: str
    path: Path
    group: tuple[str, ...]
    values: Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """SafeLoader that keeps `!function` as text."""


_Loader.add_constructor("!function", lambda loader, node: str(node.value))


def tasks_folder() -> Path:
    """The folder to give `lm_eval run --include_path`."""
    return Path(str(files("sage_bench.tasks")))


@cache
def task_files(folder: Path | None = None) -> dict[str, TaskFile]:
    """All tasks and groups by name. Raises `UsageError` naming file and key for a file that cannot
    be used (lm-eval itself passes over broken YAML in silence)."""
    out: dict[str, TaskFile] = {}
    for path in sorted((folder or tasks_folder()).glob("*.yaml")):
        if path.name == PROFILES:
            continue
        values = _read(path)
        name = values.get("group") or values.get("task")
        if name is None and not path.name.startswith("_"):
            raise UsageError(
                "neither `task:` nor `group:` is given",
                where=str(path),
                remedy="name the task; files that are only included begin with _",
            )
        _check_keys(path, values)
        if isinstance(name, str):
            out[name] = TaskFile(
                name, path, tuple(values["task"]) if "group" in values else (), values
            )
    return out


def profiles(folder: Path | None = None) -> dict[str, Profile]:
    """The profiles by name. Raises `UsageError` naming file and key.

    >>> profiles()["quick"].tasks
    'sb_aime24:4,sb_math500:1'
    """
    path = (folder or tasks_folder()) / PROFILES
    out: dict[str, Profile] = {}
    for name, values in (_read(path) if path.is_file() else {}).items():
        try:
            out[name] = Profile(name, **values)
        except TypeError as error:
            raise UsageError(
                f"is no profile: {error}",
                where=f"{path}:{name}",
                remedy="write tasks, about and, if wanted, limit",
            ) from error
    return out


def named_profiles(spec: str | Sequence[str], folder: Path | None = None) -> list[Profile]:
    """The profiles a `-t` names, in order. Raises `UsageError` for an unknown one."""
    words = [w.strip() for s in ([spec] if isinstance(spec, str) else spec) for w in s.split(",")]
    known, out = profiles(folder), []
    for name in (w[1:] for w in words if w.startswith("@")):
        if name not in known:
            raise UsageError(
                f"unknown profile `@{name}`; {did_you_mean(name, known)}".rstrip("; "),
                where="--tasks",
                remedy="one of " + ", ".join(f"@{n}" for n in known),
            )
        out.append(known[name])
    return out


def _check_keys(path: Path, values: Mapping[str, Any]) -> None:
    keys = GROUP_KEYS if "group" in values else TASK_KEYS
    metadata = values.get("metadata") or {}
    for place, found, known in (
        ("", values, keys),
        ("metadata.", metadata if "hub" in metadata else {}, METADATA_KEYS),
    ):
        for key in found:
            if key not in known:
                raise UsageError(
                    f"unknown key `{place}{key}`; {did_you_mean(key, known)}".rstrip("; "),
                    where=f"{path}:{place}{key}",
                    remedy="mend the task file",
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(
            f"is not readable YAML: {' '.join(str(error).split())}", where=str(path)
        ) from error
    if include := values.pop("include", None):
        values = _read(path.parent / include) | values
    return values


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
    for word in (
        w.strip() for s in ([spec] if isinstance(spec, str) else spec) for w in s.split(",")
    ):
        if not word:
            continue
        if word.startswith("@"):
            (profile,) = named_profiles(word, folder)
            wanted |= parse(profile.tasks, samples, folder)
            continue
        name, colon, count = word.partition(":")
        if colon and (not count.isdigit() or int(count) < 1):
            raise UsageError(
                f"`{word}`: samples a question must be a positive number",
                where="--tasks",
                remedy="write e.g. tiny:4",
            )
        for task in _expand(name, known):
            wanted[task] = (
                int(count) if colon else samples or int(known[task].values.get("repeats", 1))
            )
    if not wanted:
        raise UsageError("no task is named", where="--tasks", remedy="see `sage-bench ls tasks`")
    return wanted


def in_order(tasks: Iterable[str]) -> list[str]:
    """Task names as tables show them: in the order of the groups that list them, then the others.

    >>> in_order(["tiny_long", "train_tiny", "tiny_short"])
    ['tiny_short', 'tiny_long', 'train_tiny']
    """
    known = task_files()
    order = [t for f in known.values() for t in f.group] + [
        n for n, f in known.items() if not f.group
    ]
    return sorted(tasks, key=lambda t: order.index(t) if t in order else len(order))


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
            remedy="see `sage-bench ls tasks`",
        )
    return (
        [t for member in known[name].group for t in _expand(member, known)]
        if known[name].group
        else [name]
    )
