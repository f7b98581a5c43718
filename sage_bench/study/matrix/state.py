"""What is known of each cell on disk, and what has to be done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from sage_bench.config.evaluation import EvalConfig
from sage_bench.config.nesting import values_of
from sage_bench.config.schema import RunConfig
from sage_bench.study.matrix.cells import Cell
from sage_bench.utils.typed_files import Document

CELLS = "cells"  # folder of the states
LOGS = "logs"
State = Literal["waiting", "running", "interrupted", "done", "failed"]

EVALUATION = "evaluation."  # before the keys of an evaluation, among the inputs of a cell


class CellRecord(Document):
    """cells/<name>.json: how one cell of a matrix stands."""

    remedy: ClassVar[str] = "remove the file; the cell is looked at again from its folder"

    cell: str
    state: State = "waiting"
    inputs: dict[str, Any] = Field(default_factory=dict)
    commands: list[str] = Field(default_factory=list)
    reason: str = ""
    changed: list[str] = Field(default_factory=list)
    result: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    host: str = ""
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Standing:
    """What is to be done about a cell. changed: inputs that are no longer what they were. gone: it
    is done, and its folder is not there any more."""

    record: CellRecord
    todo: bool
    changed: tuple[str, ...] = ()
    gone: bool = False

    @property
    def state(self) -> str:
        """In one word; `changed` where the inputs did."""
        return "changed" if self.changed and self.record.state != "waiting" else self.record.state


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Short digest of a cell's inputs."""
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def record_file(out: Path, name: str) -> Path:
    """Where the state of a cell lies."""
    return out / CELLS / f"{name}.json"


def read_record(out: Path, name: str) -> CellRecord:
    """The state of a cell; one that was never begun is waiting."""
    return CellRecord.read_or_none(record_file(out, name)) or CellRecord(cell=name)


def write_record(out: Path, record: CellRecord) -> None:
    """Keep the state of a cell, all or nothing."""
    file = record_file(out, record.cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    record.write(file)


@cache
def defaults() -> dict[str, Any]:
    """Of the keys of a training and of an evaluation."""
    evaluation = values_of(EvalConfig())
    return values_of(RunConfig()) | {f"{EVALUATION}{k}": v for k, v in evaluation.items()}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words: the inputs that differ. A key that one of them does not have counts as its default:
    it was added since, or is none of this cell's.

    >>> differences({"optim.lr": 1, "data": "a"}, {"optim.lr": 2, "data": "a", "x": None})
    ['optim.lr: 1 then, 2 now']
    >>> differences({}, {"optim.grad_clip": 1.0}), differences({}, {"optim.grad_clip": 2.0})
    ([], ['optim.grad_clip: 1.0 then, 2.0 now'])
    """
    found = []
    for key in sorted({*before, *now}):
        then, today = (values.get(key, defaults().get(key)) for values in (before, now))
        if then != today:
            found.append(f"{key}: {then} then, {today} now")
    return found


def standing(
    out: Path,
    cell: Cell,
    inputs: Mapping[str, Any],
    *,
    retry_failed: bool = False,
    accepted: Sequence[str] = (),
) -> Standing:
    """Whether a cell has to be run. inputs: what it would be made from now.

    accepted: inputs whose change does not count. A failed cell is left as it is unless its inputs
    changed or `retry_failed`.
    """
    record = read_record(out, cell.name)
    if record.state == "waiting":
        return Standing(record, True)
    # by way of JSON, as the stored values went: tuples are lists there
    now = json.loads(json.dumps(dict(inputs), default=str))
    changed = [
        words
        for words in differences(record.inputs, now)
        if words.partition(":")[0] not in accepted
    ]
    if changed:
        return Standing(record, True, tuple(changed))
    if record.state == "failed":
        return Standing(record, retry_failed)
    if record.state == "done":
        gone = not is_there(out, cell, record)
        return Standing(record, gone, gone=gone)
    return Standing(record, True)


def is_there(out: Path, cell: Cell, record: CellRecord) -> bool:
    """Whether the results of a finished cell lie where it left them."""
    if cell.kind == "eval":
        return (out / str(record.result.get("folder")) / "manifest.json").is_file()
    checkpoint = record.result.get("checkpoint")
    return checkpoint is not None and (out / str(checkpoint) / "run.json").is_file()
