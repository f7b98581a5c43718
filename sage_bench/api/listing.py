"""What is registered, ours and yours: the rows `sage-bench ls` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sage_bench.utils.errors import UsageError, did_you_mean
from sage_bench.utils.registry import Registry

Row = dict[str, Any]


def registries() -> dict[str, Registry[Any]]:
    """Everything a user can add by name, by the word `ls` has for it."""
    from sage_bench.config.registry import MODELS
    from sage_bench.data.registry import DATASETS
    from sage_bench.engines.registry import ENGINES
    from sage_bench.engines.rollouts.registry import ROLLOUTS
    from sage_bench.generation.registry import SAMPLERS
    from sage_bench.grading.registry import GRADERS
    from sage_bench.judges.registry import JUDGES
    from sage_bench.methods.registry import BACKENDS
    from sage_bench.training.boards.registry import SINKS

    return {
        "backends": BACKENDS,
        "judges": JUDGES,
        "models": MODELS,
        "engines": ENGINES,
        "graders": GRADERS,
        "datasets": DATASETS,
        "samplers": SAMPLERS,
        "sinks": SINKS,
        "rollouts": ROLLOUTS,
    }


def listing(kind: str) -> list[Row]:
    """One row a thing of this kind: name, about, and what else is known of it.

    A plugin that is installed and does not load has a row too, with the reason under `broken`.
    Raises `UsageError` for an unknown kind.
    """
    known: dict[str, Callable[[], list[Row]]] = {
        "tasks": _tasks,
        "profiles": _profiles,
        "backends": _backends,
        "judges": _judges,
    }
    tables = registries()
    if kind not in known and kind not in tables:
        kinds = sorted({*known, *tables})
        raise UsageError(
            f"unknown kind `{kind}`; {did_you_mean(kind, kinds)}".rstrip("; "),
            remedy="one of " + ", ".join(kinds),
        )
    rows = known[kind]() if kind in known else _registered(tables[kind])
    broken = tables[kind].broken() if kind in tables else {}
    if kind == "tasks":
        from sage_bench.evaluation.tasks.spec import broken_tasks

        broken = broken_tasks()
    for name, reason in broken.items():
        rows.append({"name": name, "about": f"does not load: {reason}", "broken": reason})
    return rows


def _registered(registry: Registry[Any]) -> list[Row]:
    rows = []
    for name, thing in registry.items():
        docstring = (thing.__doc__ or "").strip().split("\n")[0]
        rows.append(
            {
                "name": name,
                "about": getattr(thing, "note", None) or docstring,
                "place": getattr(thing, "file", None) or registry.place(name),
            }
        )
    return rows


def _backends() -> list[Row]:
    from sage_bench.methods import describe

    return describe.backends()


def _judges() -> list[Row]:
    from sage_bench.judges import describe

    return describe.judges()


def _tasks() -> list[Row]:
    from sage_bench.evaluation.tasks.spec import task_files

    return [
        {
            "name": task.name,
            "about": ", ".join(task.group) or _about(task.values.get("metadata", {})),
            "group": list(task.group),
            "samples": task.values.get("repeats"),
            "file": str(task.path),
        }
        for task in task_files().values()
    ]


def _about(metadata: Mapping[str, Any]) -> Any:
    return metadata.get("about") or metadata.get("source", "")


def _profiles() -> list[Row]:
    from sage_bench.evaluation.tasks.spec import profiles

    rows = []
    for profile in profiles().values():
        limited = f", first {profile.limit} questions" if profile.limit else ""
        rows.append(
            {
                "name": f"@{profile.name}",
                "about": f"{profile.about}: {profile.tasks}{limited}",
                "tasks": profile.tasks,
                "limit": profile.limit,
            }
        )
    return rows
