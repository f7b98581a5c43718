"""Cells that papers printed, as a reference beside our own: `paper:sage-table1` and others.

They lie in results/paper, one CSV a table with table, model, method, benchmark, value, status
(printed cell, printed derived value, eye-read from a figure, second hand) and source. Averages are
benchmarks `avg_id` and `avg_ood`, differences to the base model `delta_id` and `delta_ood`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from math import nan

from sage_bench.utils.errors import UsageError, did_you_mean

PREFIX = "paper:"
IN_DISTRIBUTION = ("AIME24", "AIME25", "AMC23", "MATH-500", "Minerva", "OlympiadBench")
OUT_OF_DISTRIBUTION = ("GPQA-diamond", "MMLU-Pro")
AVERAGES = {"avg_id": IN_DISTRIBUTION, "avg_ood": OUT_OF_DISTRIBUTION}
# how the papers call what our tasks ask
BENCHMARK_OF_TASK = {
    "sb_aime24": "AIME24",
    "sb_aime25": "AIME25",
    "sb_amc23": "AMC23",
    "sb_math500": "MATH-500",
    "sb_minerva": "Minerva",
    "sb_olympiadbench": "OlympiadBench",
    "sb_gpqa_diamond": "GPQA-diamond",
    "sb_mmlu_pro": "MMLU-Pro",
}
HALF_DIGIT = 0.05  # what rounding to one digit can hide


@dataclass(frozen=True, slots=True)
class PaperCell:
    """One printed number. text: as printed, with its digits."""

    table: str
    model: str
    method: str
    benchmark: str
    text: str
    status: str
    source: str

    @property
    def value(self) -> float:
        """The number of the text; NaN where the paper printed none, e.g. a ratio."""
        return number(self.text)


@dataclass(frozen=True)
class Reference:
    """All cells of one table or paper, found by model, method and benchmark.

    Names match without regard to case, punctuation and the owner of a Hub id, so that
    `Qwen/Qwen2.5-7B-Instruct` and `qwen2.5-7b-instruct`, `sage_light` and `SAGE-light` are one.
    """

    name: str
    cells: Sequence[PaperCell]

    def find(self, model: str, method: str, benchmark: str) -> PaperCell | None:
        """The cell of these names, the first where a paper has several tables; None without one."""
        wanted = (plain(model), plain(method), plain(benchmark))
        for cell in self.cells:
            if (plain(cell.model), plain(cell.method), plain(cell.benchmark)) == wanted:
                return cell
        return None

    def models(self) -> list[str]:
        """The models, in the order of the paper."""
        return unique(c.model for c in self.cells)

    def methods(self, model: str) -> list[str]:
        """The methods of a model, in the order of the paper."""
        return unique(c.method for c in self.cells if c.model == model)

    def benchmarks(self) -> list[str]:
        """Columns, without averages and differences."""
        derived = {"avg_id", "avg_ood", "delta_id", "delta_ood"}
        return [b for b in unique(c.benchmark for c in self.cells) if b not in derived]


@dataclass(frozen=True, slots=True)
class Difference:
    """A derived value as printed, and as it follows from the printed cells.

    misprint: further apart than the rounding of the cells can explain.
    """

    model: str
    method: str
    benchmark: str
    printed: float
    recomputed: float
    misprint: bool


def number(text: str) -> float:
    """A printed text as a number, NaN where it is none.

    >>> number("17.8"), number("64K*7/64K")
    (17.8, nan)
    """
    try:
        return float(text)
    except ValueError:
        return nan


def plain(name: str) -> str:
    """A name without owner, case and punctuation.

    >>> plain("Qwen/Qwen2.5-7B-Instruct"), plain("SAGE-light"), plain("sage_light")
    ('qwen257binstruct', 'sagelight', 'sagelight')
    """
    return re.sub(r"[^a-z0-9]", "", name.rstrip("/").rsplit("/", 1)[-1].lower())


def unique(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def references() -> list[str]:
    """The names that `--reference` takes."""
    folder = resources.files("sage_bench.reporting").joinpath("paper")
    files = [f.name for f in folder.iterdir() if f.name.endswith(".csv")]
    return [PREFIX + name.removesuffix(".csv") for name in sorted(files)]


def load_reference(name: str) -> Reference:
    """The cells of `paper:sage-table1` and others. Raises `UsageError` for an unknown name."""
    known = references()
    if name not in known:
        raise UsageError(
            f"unknown reference `{name}`; {did_you_mean(name, known)}".rstrip("; "),
            where="--reference",
            remedy="one of " + ", ".join(known),
        )
    file = resources.files("sage_bench.reporting").joinpath(
        "paper", name.removeprefix(PREFIX) + ".csv"
    )
    columns = ("table", "model", "method", "benchmark", "paper", "status", "source")
    rows = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
    return Reference(name, [PaperCell(*(row[c] for c in columns)) for row in rows])


def differences_within(reference: Reference) -> list[Difference]:
    """Printed averages and deltas that do not follow from the printed cells to their last digit.

    An average of cells that were rounded to one digit can be off by half a digit, and so can its
    own rounding; a delta is the difference of two such averages. What is further off is a misprint.
    """
    out = []
    for model in reference.models():
        base = {}
        for i, method in enumerate(reference.methods(model)):
            for average, members in AVERAGES.items():
                cells = [reference.find(model, method, b) for b in members]
                found = [c.value for c in cells if c is not None]
                if len(found) < len(members):
                    continue
                mean = sum(found) / len(found)
                if i == 0:
                    base[average] = mean
                delta = average.replace("avg", "delta")
                values = {average: (mean, 2), delta: (mean - base.get(average, mean), 3)}
                for benchmark, (recomputed, roundings) in values.items():
                    cell = reference.find(model, method, benchmark)
                    if cell is None:
                        continue
                    off = abs(cell.value - recomputed)
                    if off > HALF_DIGIT + 1e-6:
                        misprint = off > roundings * HALF_DIGIT + 1e-6
                        names = (cell.model, cell.method, benchmark)
                        out.append(Difference(*names, cell.value, recomputed, misprint))
    return out


def misprint_lines(reference: Reference) -> list[str]:
    """What `report --misprints` prints."""
    found = differences_within(reference)
    lines = []
    for d in found:
        kind = "misprint" if d.misprint else "within the rounding of the cells"
        lines.append(
            f"{d.model}, {d.method}, {d.benchmark}: printed {d.printed:.1f}, from its cells"
            f" {d.recomputed:.3f} ({kind})"
        )
    derived = sum(c.benchmark.startswith(("avg_", "delta_")) for c in reference.cells)
    count = sum(d.misprint for d in found)
    lines.append(
        f"{derived} derived values recomputed, {len(found)} differ in the last digit or more,"
        f" {count} of these more than rounding explains."
    )
    return lines
