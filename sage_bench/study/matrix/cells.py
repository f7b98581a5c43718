"""The cells of a matrix, what each waits for, and the command that makes it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sage_bench.study.matrix.spec import (
    BASE,
    BackendEntry,
    EqualBudget,
    EvaluationEntry,
    MatrixSpec,
    ModelEntry,
    Place,
    Room,
    words_of,
)
from sage_bench.utils.errors import UsageError

Kind = Literal["train", "select", "eval"]
Unit = Literal["rollouts", "tokens"]
UNITS: tuple[Unit, ...] = ("rollouts", "tokens")
ON_PROMPTS = "base_on_prompts"


@dataclass(frozen=True)
class Budget:
    """Train until as much was sampled as a reference did. unit: what is counted. plain: the same
    row at the matrix's own budget, which this one goes on from; None where it is not in it."""

    unit: Unit
    reference: str
    plain: str | None


@dataclass(frozen=True)
class Cell:
    """One piece of work.

    name: `train/MODEL/ROW/seed_0`. after: names of the cells it needs. words: what stands after
    `sage-bench`; where a training at an equal budget ends is known only later, and is added then.
    folder: where its results go. place: of its entry in the file.
    """

    name: str
    kind: Kind
    model: ModelEntry
    row: str
    seed: int | None
    folder: Path
    after: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    room: Room = field(default_factory=Room)
    method: str = BASE
    budget: Budget | None = None
    place: Place = ()

    @property
    def label(self) -> str:
        """The name without its kind."""
        return self.name.partition("/")[2]


def slug(name: str) -> str:
    """A name as a file may be called.

    >>> slug("grpo, equal rollouts"), slug("Qwen/Qwen2.5-7B")
    ('grpo_equal_rollouts', 'Qwen_Qwen2.5-7B')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_.") or "_"


def equal_name(row: str, unit: Unit) -> str:
    """The row of a method at an equal budget, as tables call it."""
    return f"{row}, equal {unit}"


def cells_of(spec: MatrixSpec, out: Path) -> list[Cell]:
    """Every cell, in the order in which they are started when there is room.

    Seeds are the outer loop within a model, so that an interrupted matrix has whole rows of the
    first seeds; within a seed the references of equal budgets come first. Raises `UsageError` for
    names that no folder tells apart.
    """
    found = _Builder(spec, out).cells()
    names: set[str] = set()
    for cell in found:
        if cell.name in names:
            raise UsageError(
                f"two cells would be called {cell.name}",
                where=spec.name,
                remedy="give models and backends names that differ in letters and digits",
            )
        names.add(cell.name)
    return found


@dataclass(frozen=True)
class _Builder:
    spec: MatrixSpec
    out: Path

    def cells(self) -> list[Cell]:
        found: list[Cell] = []
        for model in self.spec.models:
            trained = [b for b in self._ordered() if b.models is None or model.name in b.models]
            if BASE in [b.name for b in self.spec.backends]:
                found.append(self._eval(model, BASE, None, self._place_of_row(BASE)))
            if self.spec.prompts is not None:
                found.append(self._on_prompts(model, self.spec.prompts))
            for number, seed in enumerate(self.spec.seeds):
                rows = [b for b in trained if b.seeds is None or number < b.seeds]
                for entry in rows:
                    found += self._row(model, entry, seed)
                found += self._equal(model, rows, seed, number)
        return found

    def _ordered(self) -> list[BackendEntry]:
        """Rows that are trained; those that others wait for come first."""
        rows = [b for b in self.spec.backends if b.name != BASE]
        equal = self.spec.equal
        if not (equal.rollouts or equal.tokens):
            return rows
        first = {equal.reference, *equal.rollouts, *equal.tokens}
        return sorted(rows, key=lambda b: b.name not in first)

    def _place_of_row(self, row: str) -> Place:
        names = [b.name for b in self.spec.backends]
        return ("backends", names.index(row))

    # ---- one row --------------------------------------------------------------------------------
    def _row(self, model: ModelEntry, entry: BackendEntry, seed: int) -> list[Cell]:
        place = self._place_of_row(entry.name)
        train = Cell(
            f"train/{self._label(model, entry.name, seed)}",
            "train",
            model,
            entry.name,
            seed,
            self._folder("runs", model, entry.name, seed),
            words=tuple(self._train_words(model, entry, seed, entry.name)),
            room=self.spec.resources.train,
            method=entry.method,
            place=place,
        )
        return [train, *self._after_training(model, entry.name, seed, place)]

    def _equal(
        self, model: ModelEntry, trained: Sequence[BackendEntry], seed: int, number: int
    ) -> list[Cell]:
        """The rows of this seed that go on to the budget of the reference."""
        equal = self.spec.equal
        names = [b.name for b in trained]
        if not self._wanted(equal, model, number) or equal.reference not in names:
            return []
        found: list[Cell] = []
        for unit in UNITS:
            for row in getattr(equal, unit):
                if row in names:
                    entry = trained[names.index(row)]
                    found += self._equal_row(model, entry, seed, unit)
        return found

    def _wanted(self, equal: EqualBudget, model: ModelEntry, number: int) -> bool:
        if equal.models is not None and model.name not in equal.models:
            return False
        return equal.seeds is None or number < equal.seeds

    def _equal_row(
        self, model: ModelEntry, entry: BackendEntry, seed: int, unit: Unit
    ) -> list[Cell]:
        row = equal_name(entry.name, unit)
        reference = f"train/{self._label(model, self.spec.equal.reference, seed)}"
        plain = f"train/{self._label(model, entry.name, seed)}"
        place: Place = ("equal", unit)
        train = Cell(
            f"train/{self._label(model, row, seed)}",
            "train",
            model,
            row,
            seed,
            self._folder("runs", model, row, seed),
            after=(reference, plain),
            words=tuple(self._train_words(model, entry, seed, row)),
            room=self.spec.resources.train,
            method=entry.method,
            budget=Budget(unit, reference, plain),
            place=place,
        )
        return [train, *self._after_training(model, row, seed, place)]

    def _after_training(
        self, model: ModelEntry, row: str, seed: int, place: Place
    ) -> tuple[Cell, Cell]:
        label = self._label(model, row, seed)
        select = Cell(
            f"select/{label}",
            "select",
            model,
            row,
            seed,
            self._folder("runs", model, row, seed),
            after=(f"train/{label}",),
            place=("select",),
        )
        return select, self._eval(model, row, seed, place)

    def _eval(self, model: ModelEntry, row: str, seed: int | None, place: Place) -> Cell:
        label = self._label(model, row, seed)
        folder = self._folder("eval", model, row, seed)
        words = ["eval", "--model", model.path]
        if seed is not None:
            run = self._folder("runs", model, row, seed)
            words = ["eval", "--model", str(run), "--select", self.spec.select]
        return Cell(
            f"eval/{label}",
            "eval",
            model,
            row,
            seed,
            folder,
            () if seed is None else (f"select/{label}",),
            (*words, *_eval_words(self.spec.evaluation, folder, row, model)),
            self.spec.resources.eval,
            place=place,
        )

    def _on_prompts(self, model: ModelEntry, entry: EvaluationEntry) -> Cell:
        """The policy as it is on training prompts: what signal a method begins with."""
        folder = self._folder("eval", model, ON_PROMPTS, None)
        return Cell(
            f"eval/{self._label(model, ON_PROMPTS, None)}",
            "eval",
            model,
            BASE,
            None,
            folder,
            words=("eval", "--model", model.path, *_eval_words(entry, folder, BASE, model)),
            room=self.spec.resources.eval,
            place=("prompts",),
        )

    def _train_words(
        self, model: ModelEntry, entry: BackendEntry, seed: int, row: str
    ) -> list[str]:
        words = ["train", "--backend", entry.method]
        for file in (*self.spec.backend_files, *entry.backend_files):
            words += ["--backend-file", file]
        for file in self.spec.config:
            words += ["--config", file]
        words += ["--model", model.path]
        if self.spec.data is not None:
            words += ["--data", self.spec.data]
        words += ["--out", str(self._folder("runs", model, row, seed))]
        return [*words, *words_of(self.spec.set, model.set, entry.set), f"train.seed={seed}"]

    def _label(self, model: ModelEntry, row: str, seed: int | None) -> str:
        name = f"{slug(model.name)}/{slug(row)}"
        return name if seed is None else f"{name}/seed_{seed}"

    def _folder(self, kind: str, model: ModelEntry, row: str, seed: int | None) -> Path:
        folder = self.out / kind / slug(model.name) / slug(row)
        return folder if seed is None else folder / f"seed_{seed}"


def _eval_words(entry: EvaluationEntry, folder: Path, row: str, model: ModelEntry) -> list[str]:
    """What stands after `eval --model ...`."""
    words = []
    for task in entry.tasks:
        words += ["--tasks", task]
    for file in entry.data:
        words += ["--data", file]
    if entry.limit is not None:
        words += ["--limit", str(entry.limit)]
    words += ["--out", str(folder), "--label", row, "--model-name", model.name]
    return [*words, *words_of(entry.set)]


def chosen(cells: Sequence[Cell], patterns: Iterable[str]) -> list[Cell]:
    """The cells whose names match a pattern, and all they need; all without a pattern.

    Raises `UsageError` for a pattern that matches nothing.
    """
    patterns = list(patterns)
    if not patterns:
        return list(cells)
    wanted: set[str] = set()
    for pattern in patterns:
        found = {c.name for c in cells if fnmatch.fnmatchcase(c.name, pattern)}
        if not found:
            raise UsageError(
                f"no cell is called like `{pattern}`",
                where="--only",
                remedy=f"names are like {cells[0].name}; `--dry-run` lists all",
            )
        wanted |= found
    return [c for c in cells if c.name in _with_needs(cells, wanted)]


def _with_needs(cells: Sequence[Cell], wanted: set[str]) -> set[str]:
    by_name = {c.name: c for c in cells}
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].after
    return found
