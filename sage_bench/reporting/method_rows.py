"""What a table of methods is made of: cells with their marks, rows, blocks of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sage_bench.reporting.reference import unique

AVG_ID = "avg_id"
AVG_OOD = "avg_ood"

# marks of cells, in the order of their letters
MARKS = {
    "partial": "some questions have no or too few samples; only complete questions are averaged",
    "limited": "only some questions of the benchmark were asked",
    "truncated": "more than 5 % of the answers were cut at the token limit",
    "degraded": "the method was trained without data that it reads",
    "recorded": "trained on recorded groups; rows on one record differ in credit alone",
    "chosen on test": "the checkpoint was chosen on the data of this table",
    "misprint": "does not follow from the printed cells; see `report --misprints`",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table, in percent; None where there is none.

    marks: keys of `MARKS`. paper: the paper's number beside it. best, second: among the methods of
    the model.
    """

    score: float | None = None
    se: float | None = None
    delta: float | None = None
    marks: tuple[str, ...] = ()
    paper: str | None = None
    paper_status: str | None = None
    best: bool = False
    second: bool = False
    significant: bool = False


@dataclass(frozen=True)
class MethodRow:
    """One method of one model. cells: by column, `avg_id` and `avg_ood` among them."""

    model: str
    method: str
    cells: Mapping[str, Cell]
    seeds: int = 0
    status: str = "ok"

    @property
    def chosen_on_test(self) -> bool:
        """Whether its checkpoints were chosen on the data of the table: no result."""
        return any("chosen on test" in cell.marks for cell in self.cells.values())


@dataclass(frozen=True)
class MethodTable:
    """Rows in blocks of models, in order. columns: benchmarks, then the averages that exist."""

    title: str
    columns: Sequence[str]
    rows: Sequence[MethodRow]
    notes: Sequence[str] = field(default_factory=tuple)
    reference: str | None = None

    def models(self) -> list[str]:
        """The models, in the order of their blocks."""
        return unique(r.model for r in self.rows)

    def marks(self) -> dict[str, str]:
        """The marks that occur, each with its letter."""
        used = {m for r in self.rows for c in r.cells.values() for m in c.marks}
        names = [m for m in MARKS if m in used]
        return {name: letter for name, letter in zip(names, "abcdefg", strict=False)}
