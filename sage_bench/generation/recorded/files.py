"""The files of a record: `record.json`, and one file of JSON lines a step.

A step's file ends with a line that says how many draws it has (`Ending`). A file without that line
was being written when its writer was killed; whoever writes the record does that step again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sage_bench.generation.recorded.rows import Draw, first_reason, to_line
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import Appender, make_folder, read_json, write_json, writing

FORMAT = 1
ABOUT = "record.json"
GROUPS = "groups"  # of a training run, below its folder
PREPARE = "prepare.jsonl"  # what was drawn before the first step


@dataclass(frozen=True)
class Ending:
    """The last line of a step's file. draws: lines before it. state: what the method keeps from
    step to step, so that recording goes on after a kill."""

    step: int
    draws: int
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class About:
    """What record.json says of all draws of a record.

    policy: digests of what drew them, weights (as they were at the beginning), template and
    vocabulary among them (`policy_digests`). configuration: of the run, by dotted key. data: digest
    of the problems.
    """

    backend: str
    policy: Mapping[str, Any]
    configuration: Mapping[str, Any]
    grader: str
    data: str
    version: str
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        write_json(folder / ABOUT, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> About:
        """Raises `DataError` naming the file where it is none of ours."""
        found = read_json(folder / ABOUT)
        if found.get("format") != FORMAT:
            raise DataError(
                f"it is of format {found.get('format')}, and format {FORMAT} is read",
                where=str(folder / ABOUT),
                remedy="record the groups again with this version",
            )
        try:
            about = TypeAdapter(cls).validate_python(found)
        except ValidationError as error:
            raise cls._other(folder, first_reason(error)) from error
        if not isinstance(about.policy.get("weights"), str):
            raise cls._other(folder, "policy.weights: there is none")
        return about

    @classmethod
    def _other(cls, folder: Path, reason: str) -> DataError:
        return DataError(
            f"it does not describe a record ({reason})",
            where=str(folder / ABOUT),
            remedy="restore it from a copy, or record the groups again",
        )


def folder_of(path: Path) -> Path:
    """The record's own folder: `path`, or `groups/` of a training run. Raises `UsageError` where
    there is no record."""
    for folder in (path, path / GROUPS):
        if (folder / ABOUT).is_file():
            return folder
    raise UsageError(
        f"there is no record of groups ({ABOUT} is neither here nor in {GROUPS}/)",
        where=str(path),
        remedy="make one with `sage-bench record --out DIR`, or with `train log.groups=all`",
    )


def step_file(folder: Path, step: int) -> Path:
    return folder / (PREPARE if step < 0 else f"step_{step:06d}.jsonl")


def step_files(folder: Path) -> list[Path]:
    """The files of a record in the order they were written."""
    first = [folder / PREPARE] if (folder / PREPARE).is_file() else []
    return first + sorted(folder.glob("step_*.jsonl"))


def step_of(file: Path) -> int:
    return -1 if file.name == PREPARE else int(file.stem.removeprefix("step_"))


def write_step(folder: Path, ending: Ending, draws: Sequence[Draw]) -> None:
    """Write a whole step; what a killed writer left of it is replaced."""
    make_folder(folder)
    file = step_file(folder, ending.step)
    with writing(file):
        file.unlink(missing_ok=True)
    appender = Appender(file)
    try:
        appender.write(*map(to_line, draws), {"end": asdict(ending)})
        appender.sync()
    finally:
        appender.close()


def ending_of(file: Path) -> Ending | None:
    """The last line of a step's file; None where the step was not written to its end."""
    if not file.is_file():
        return None
    lines = file.read_bytes().splitlines()
    try:
        ending = Ending(**json.loads(lines[-1])["end"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return ending if ending.draws == len(lines) - 1 else None


def drop_from(folder: Path, step: int) -> None:
    """Remove what was written of this step and later ones: it will be drawn again."""
    for file in step_files(folder):
        if step_of(file) >= step:
            with writing(file):
                file.unlink()
