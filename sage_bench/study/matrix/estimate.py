"""What a matrix will take: hours, disk and tokens, measured where cells have finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.spec import Assumptions
from sage_bench.study.matrix.state import CellRecord, read_record

BYTES_OF_WEIGHTS = 2  # bfloat16, of a parameter
BYTES_OF_OPTIMISER = 8  # two moments of a parameter in float32; the newest two checkpoints keep it
RESUMABLE = 2
GIB = 1 << 30


@dataclass(frozen=True)
class Sizes:
    """What is known of a training before it runs. retries: the method may sample a prompt again.
    parameters: of the policy, None where nobody says."""

    steps: int
    prompts: int
    group: int
    samples: bool
    retries: bool
    max_tokens: int
    saved: int
    parameters: float | None


@dataclass(frozen=True)
class Asked:
    """What an evaluation asks: samples of all tasks, and their longest completion."""

    samples: int
    max_tokens: int


@dataclass(frozen=True)
class Estimate:
    """Of one cell. measured: from finished cells of its kind rather than from assumptions."""

    seconds: float
    tokens: float
    gib: float | None
    measured: bool

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class Estimator:
    """Means of the finished cells of the same model and row, else of the same row, else of none."""

    def __init__(self, out: Path, cells: Sequence[Cell], assume: Assumptions):
        self.assume = assume
        self.known: dict[tuple[str, ...], list[CellRecord]] = {}
        for cell in cells:
            record = read_record(out, cell.name)
            if record.state == "done" and cell.kind != "select":
                for key in _keys(cell):
                    self.known.setdefault(key, []).append(record)

    def of(self, cell: Cell, size: Sizes | Asked | None) -> Estimate:
        """What a cell takes. size: None for a cell that takes nothing."""
        if size is None:
            return Estimate(0.0, 0.0, 0.0, False)
        for key in _keys(cell):
            if key in self.known:
                return _mean(self.known[key])
        if isinstance(size, Asked):
            return self._evaluation(size)
        return self._training(cell, size)

    def _training(self, cell: Cell, size: Sizes) -> Estimate:
        assume = self.assume
        passes = size.steps * size.prompts
        longest = assume.length * size.max_tokens
        rollouts = passes * size.group if size.samples else 0
        more = size.retries or cell.budget is not None
        sampled = rollouts * longest * (1 + assume.extra * more)
        learned = (rollouts or passes) * longest * assume.learning
        seconds = assume.start_seconds + (sampled + learned) / assume.tokens_per_second
        return Estimate(seconds, sampled, _gib(size), False)

    def _evaluation(self, size: Asked) -> Estimate:
        tokens = self.assume.length * size.max_tokens * size.samples
        seconds = self.assume.start_seconds + tokens / self.assume.tokens_per_second
        return Estimate(seconds, tokens, size.samples * 8e3 / GIB, False)


def _keys(cell: Cell) -> list[tuple[str, ...]]:
    if cell.kind == "eval":
        return [("eval", cell.model.name), ("eval",)]
    return [("train", cell.model.name, cell.row), ("train", cell.row)]


def _gib(size: Sizes) -> float | None:
    if size.parameters is None:
        return None
    weights = size.saved * BYTES_OF_WEIGHTS
    optimiser = min(size.saved, RESUMABLE) * BYTES_OF_OPTIMISER
    return size.parameters * (weights + optimiser) / GIB


def _mean(records: Sequence[CellRecord]) -> Estimate:
    def mean(key: str) -> float:
        return sum(float(r.result.get(key) or 0) for r in records) / len(records)

    seconds = sum(r.seconds for r in records) / len(records)
    return Estimate(seconds, mean("tokens"), mean("bytes") / GIB, True)


def totals(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Sums over cells. gib: None where the size of a policy is unknown."""
    known = [e.gib for e in estimates.values()]
    return {
        "hours": sum(e.seconds for e in estimates.values()) / 3600,
        "tokens": sum(e.tokens for e in estimates.values()),
        "gib": None if None in known else sum(g for g in known if g is not None),
        "measured": sum(e.measured for e in estimates.values()),
    }
