"""Task files become lm-eval tasks with their data: from the Hub, from files given instead, or not
at all, and then it is said why."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import Any, Literal

from sage_bench.data.hub import GatedError
from sage_bench.evaluation.tasks.benchmarks import OtherRowsError
from sage_bench.evaluation.tasks.files import resolved
from sage_bench.evaluation.tasks.spec import TaskFile, task_files
from sage_bench.grading import cache
from sage_bench.utils.errors import DataError, PartialError

Skipped = dict[str, dict[str, str]]  # task -> {"status": "skipped_gated" | "failed", "why", "url"}


@dataclass(frozen=True)
class DataOptions:
    """Where rows come from and how golds are read. data: files to read instead of the Hub, by task.
    gated: what to do about datasets whose terms are not accepted. accept_other_data: rows of a file
    that are not those of the benchmark it is given for are evaluated all the same, marked."""

    data: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    gold_corrections: bool = True
    gated: Literal["skip", "fail"] = "skip"
    accept_other_data: bool = False

    def metadata(self, grader: str | None) -> dict[str, Any]:
        """The same in the words of `lm_eval run --metadata`; `tasks/utils.py` reads it."""
        chosen = {"grader": grader} if grader else {}
        return {
            "data": dict(self.data),
            "offline": self.offline,
            "gold_corrections": self.gold_corrections,
            **chosen,
        }

    def digest(self, task: str) -> str:
        """Hash of the file given for a task."""
        return hashlib.sha256(Path(self.data[task]).read_bytes()).hexdigest()[:16]


@once
def _task_class() -> type[Any]:
    """lm-eval's task, without its bar for building prompts: ours is on the same screen, and its own
    cannot be switched off."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.api.task import ConfigurableTask

    class Task(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
        def build_all_requests(self, **how: Any) -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                super().build_all_requests(**how)

    return Task


def task_manager() -> Any:
    """An index of nothing, for calls that want one: with its own 14,000 files an index takes
    seconds, and our tasks are built already."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False)


def build(file: TaskFile, metadata: Mapping[str, Any]) -> Any:
    """A task file as lm-eval's task, with its data.

    Raises `UsageError` for functions that cannot be found, and whatever the loader of its data
    raises (`DataError`, `GatedError`).
    """
    config = resolved(file.values)
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    own = config.get("metadata") or {}
    config["metadata"] = {**own, **metadata, "config_source": str(file.path)}
    return _task_class()(config=config)


def load(
    tasks: Mapping[str, int],
    options: DataOptions,
    *,
    grader: str | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Skipped]:
    """lm-eval's task objects by name, with our number of repeats and the overridden sampling, and
    those that could not be had.

    One task without data does not stop the others. Raises the error of the first one when no task
    can be loaded, and `GatedError` at once when gated data are to be a failure.
    """
    files = task_files()
    loaded: dict[str, Any] = {}
    skipped: Skipped = {}
    first: DataError | None = None
    for name, repeats in tasks.items():
        try:
            task = build(files[name], options.metadata(grader))
            check_data(name, task, options)
        except DataError as error:
            if isinstance(error, GatedError) and options.gated == "fail":
                raise
            first = first or error
            skipped[name] = _skipped(error)
            continue
        task.set_config("repeats", repeats)
        if sampling:
            task.set_config("generation_kwargs", dict(sampling), update=True)
        loaded[name] = task
    if first and not loaded:
        raise first
    return loaded, skipped


def check_data(name: str, task: Any, options: DataOptions) -> None:
    """Raise `OtherRowsError` when the file given for a task holds another benchmark."""
    report = getattr(task.dataset, "report", None)
    if report and report.other_data and not options.accept_other_data:
        raise OtherRowsError(
            f"{report.other_data}: this is another set under that name",
            where=f"{name}: {report.source}",
            remedy=(
                "give the file of this benchmark, or --accept-other-data to evaluate these rows"
                " under its name (every table says so)"
            ),
        )


def _skipped(error: DataError) -> dict[str, str]:
    if isinstance(error, GatedError):
        return {"status": "skipped_gated", "url": error.url, "why": str(error)}
    return {"status": "failed", "why": str(error)}


def grader_of(task: Any) -> str:
    """The grader a loaded task is to be graded with."""
    return (task.config.metadata or {}).get("grader") or cache.DEFAULT


def own_grader(task: str) -> str:
    """The grader a task file names, without loading anything.

    >>> own_grader("sb_mmlu_pro"), own_grader("tiny_short") == cache.DEFAULT
    ('mcq', True)
    """
    return (task_files()[task].values.get("metadata") or {}).get("grader") or cache.DEFAULT


def shown(task: Any, prompt: str) -> str:
    """A prompt as it may be printed and written: the authors of gated data ask that examples are
    not published in plain text."""
    if (task.config.metadata or {}).get("gated"):
        return "(not shown: the terms of these data ask for it)"
    return prompt


def report_of(task: Any) -> dict[str, Any] | None:
    """What became of the rows of a published benchmark (`benchmarks.Report`), None for generated
    ones."""
    report = getattr(task.dataset, "report", None)
    return report.as_dict() if report else None


def check_complete(skipped: Skipped, where: str, strict: bool = False) -> None:
    """Raise `PartialError` when tasks that were asked for had no data. Gated ones may be missing
    unless `strict`: the table says so."""
    failed = {t: s["why"] for t, s in skipped.items() if strict or s["status"] == "failed"}
    if failed:
        raise PartialError(
            f"not evaluated: {'; '.join(failed.values())}",
            where=where,
            remedy="mend the cause and run the same command again",
        )
