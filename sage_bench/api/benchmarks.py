"""Benchmarks from plain arguments: where their rows come from, and whether they are fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sage_bench.utils.errors import PartialError, UsageError, ValidationError

if TYPE_CHECKING:
    from sage_bench.evaluation.tasks.loading import DataOptions
    from sage_bench.evaluation.tasks.validate import TaskCheck


def data_options(
    wanted: Iterable[str],
    files: Sequence[str] = (),
    *,
    offline: bool = False,
    gated: str = "skip",
    gold_corrections: str = "on",
    accept_other_data: bool = False,
) -> DataOptions:
    """Options of everything that reads benchmarks.

    wanted: the tasks. files: `TASK=FILE` words, or folders of files called like the tasks.
    accept_other_data: rows that are not those of a benchmark are evaluated under its name, marked.
    Raises `UsageError` for a word that is neither.
    """
    for flag, value, known in (
        ("--gated", gated, ("skip", "fail")),
        ("--gold-corrections", gold_corrections, ("on", "off")),
    ):
        if value not in known:
            raise UsageError(f"`{value}` is neither {known[0]} nor {known[1]}", where=flag)
    if offline:  # before any library that reads these variables is imported
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_DATASETS_OFFLINE"] = "1"
    from sage_bench.evaluation.tasks.benchmarks import data_files
    from sage_bench.evaluation.tasks.loading import DataOptions

    return DataOptions(
        data_files(list(files), wanted),
        offline,
        gold_corrections == "on",
        "fail" if gated == "fail" else "skip",
        accept_other_data,
    )


@dataclass(frozen=True)
class Validation:
    """What was found about benchmarks, one `TaskCheck` a task."""

    checks: list[TaskCheck]
    gold_corrections: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and `--out`."""
        return {
            "gold_corrections": self.gold_corrections,
            "tasks": [check.as_dict() for check in self.checks],
        }

    def check(self, *, strict: bool = False) -> None:
        """Raise `ValidationError` where something is wrong, `PartialError` where not all could be
        checked. strict: whatever is not checked in full counts as wrong."""
        from sage_bench.evaluation.tasks.validate import exit_code

        code = exit_code(self.checks, strict)
        fine = ("ok",) if strict else ("ok", "skipped_gated")
        names = ", ".join(check.task for check in self.checks if check.status not in fine)
        if code == ValidationError.exit_code:
            raise ValidationError(
                f"not fit to be evaluated: {names}",
                remedy="see the findings above; `--out FILE` keeps all of them",
            )
        if code == PartialError.exit_code:
            raise PartialError(
                f"not checked in full: {names}",
                remedy="give the whole data with --data, or load them once with a network",
            )


def validate_tasks(
    tasks: str | Sequence[str] = "all",
    *,
    grader: str | None = None,
    data: Sequence[str] = (),
    offline: bool = False,
    gated: str = "skip",
    gold_corrections: str = "on",
    accept_other_data: bool = False,
    train: Sequence[str] = (),
    quiet: bool = True,
) -> Validation:
    """Check benchmarks before anything is generated.

    train: training data to look for the questions in. Raises `UsageError` for a wrong name.
    """
    from sage_bench.evaluation.tasks.spec import parse
    from sage_bench.grading.registry import GRADERS

    wanted = parse(tasks)
    options = data_options(
        wanted,
        data,
        offline=offline,
        gated=gated,
        gold_corrections=gold_corrections,
        accept_other_data=accept_other_data,
    )
    if grader:
        GRADERS.get(grader)
    if train:
        from sage_bench.data.rows import check_source

        for source in train:
            check_source(source)
    from sage_bench.evaluation.tasks.validate import validate
    from sage_bench.utils.progress import Bar

    with Bar("validate", 0, quiet=quiet) as bar:
        checks = validate(
            wanted,
            options,
            grader=grader,
            train=list(train),
            on_progress=lambda name, done, total: bar.set(done, total, name),
        )
    return Validation(list(checks), gold_corrections)
