"""`grade` from Python: stored samples of run folders, and completions recorded elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.evaluation.grades import agreement as agreement_of
from sage_bench.evaluation.grades import grade_run, graders_of, verdicts
from sage_bench.grading.cache import DEFAULT
from sage_bench.grading.grader_study.measure import read_reasons
from sage_bench.grading.grader_study.recorded import grade_recorded, read_recorded, shares
from sage_bench.grading.registry import GRADERS
from sage_bench.reporting.runs import find_runs, kind_of
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import locked
from sage_bench.utils.progress import Bar
from sage_bench.utils.rows import RejectedRow

# the fields of a file of completions unless others are named
GOLD, TEXT = "gold", "response"


# ---- run folders --------------------------------------------------------------------------------
@dataclass(frozen=True)
class GradeResult:
    """The grades of evaluations.

    scores: run, task, grader, percent of right samples. agreement: run and how two graders agree,
    one row a pair; empty unless it was asked for.
    """

    folders: tuple[Path, ...]
    scores: pd.DataFrame
    agreement: pd.DataFrame


def grade(
    runs: Path | str | Sequence[Path | str],
    graders: str | Sequence[str] = (),
    *,
    agreement: bool = False,
    quiet: bool = True,
) -> GradeResult:
    """Grade stored samples again, without a GPU; the grades of other graders stay.

    runs: evaluations, or folders that contain them. graders: names; none reads the grades there
    are. agreement: also compare all graders of each run, pair by pair. Raises `UsageError` where
    there is no evaluation or no such grader.
    """
    given = [runs] if isinstance(runs, (str, Path)) else runs
    paths = [Path(run) for run in given]
    names = _names(graders)
    folders = eval_folders(paths)
    for folder in folders:
        _grade_folder(folder, names, quiet)
    pairs = [agreement_of(f).assign(run=str(f)) for f in folders] if agreement else []
    return GradeResult(
        tuple(folders),
        pd.DataFrame(
            [row for folder in folders for row in _scores(folder)],
            columns=["run", "task", "grader", "percent"],
        ),
        pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(),
    )


def eval_folders(paths: Sequence[Path]) -> list[Path]:
    """The evaluations at or below some folders. Raises `UsageError` where there is none."""
    for path in paths:
        if not path.exists():
            raise UsageError(
                "no such file or folder",
                where=str(path),
                remedy="give the folder `sage-bench eval` printed",
            )
    found = [run for path in paths for run in (find_runs(path) or [path])]
    folders = [run for run in found if kind_of(run) == "eval"]
    if not folders:
        raise UsageError(
            "no evaluation here",
            where=", ".join(map(str, paths)),
            remedy="give the folder `sage-bench eval` printed",
        )
    return folders


def _names(graders: str | Sequence[str]) -> list[str]:
    names = list(dict.fromkeys([graders] if isinstance(graders, str) else graders))
    for name in names:
        GRADERS.get(name)
    return names


def _grade_folder(folder: Path, names: Sequence[str], quiet: bool) -> None:
    if not names:
        return
    with locked(folder):  # an evaluation may still be writing samples
        files = (folder / "samples").glob("*.jsonl")
        total = sum(file.read_bytes().count(b"\n") for file in files)
        for name in names:
            title = f"grade {folder.parent.name}/{folder.name} {name}"
            with Bar(title, total, quiet=quiet) as bar:
                grade_run(folder, name, bar.set)


def _scores(folder: Path) -> list[tuple[str, str, str, float]]:
    rows = []
    for name in graders_of(folder):
        means = verdicts(folder, name).groupby("task")["correct"].mean()
        for task, mean in means.items():
            rows.append((str(folder), str(task), name, round(100 * float(mean), 2)))
    return rows


# ---- files of completions -----------------------------------------------------------------------
@dataclass(frozen=True)
class FileGrades:
    """The grades of one file of completions.

    verdicts: one row a completion and grader. shares: percent of right completions by group.
    differences: rows whose label a grader does not share. quarantined: rows that could not be used.
    """

    file: Path
    verdicts: pd.DataFrame = field(repr=False)
    shares: pd.DataFrame
    differences: list[dict[str, Any]] = field(repr=False)
    quarantined: list[RejectedRow] = field(repr=False)

    @property
    def rows(self) -> int:
        """Completions that were graded."""
        return len(self.verdicts) // int(self.verdicts.grader.nunique())

    def rows_of_verdicts(self) -> list[dict[str, Any]]:
        """Every verdict as a row of JSON."""
        known = self.verdicts.astype(object).where(self.verdicts.notna(), None)
        return list(known.to_dict("records"))


def grade_file(
    files: Path | str | Sequence[Path | str],
    graders: str | Sequence[str] = (),
    *,
    by: str | None = None,
    gold_field: str = GOLD,
    text_field: str = TEXT,
    stated: bool = False,
    adjudications: Path | None = None,
    quiet: bool = True,
) -> list[FileGrades]:
    """Grade completions that were recorded elsewhere: JSON lines with a gold and a text a row.

    by: the field that names a row's group (such as the model). stated: a text without a box
    counts by the answer it states. adjudications: labels read by hand, with reasons. Raises
    `DataError` when a file cannot be read.
    """
    given = [files] if isinstance(files, (str, Path)) else files
    names = _names(graders) or [DEFAULT]
    reasons: dict[tuple[str, str], str] = {}
    if adjudications is not None:
        reasons = {key: reason for key, (_, reason) in read_reasons(adjudications).items()}
    results = []
    for path in map(Path, given):
        if not path.is_file():
            what = "files and folders cannot be graded in one call" if path.exists() else None
            raise UsageError(
                what or "no such file or folder", where=str(path), remedy="give a JSONL file"
            )
        rows, bad = read_recorded(path, by, gold=gold_field, text=text_field, stated=stated)
        with Bar(f"grade {path.name}", len(rows) * len(names), quiet=quiet) as bar:
            graded = grade_recorded(rows, names, _counter(bar)).assign(file=path.stem)
        results.append(FileGrades(path, graded, shares(graded), differences(graded, reasons), bad))
    return results


def _counter(bar: Bar) -> Callable[[str], None]:
    """Advances a bar by one, with a grader's name beside it."""
    return lambda name: bar.advance(note=name)


def differences(
    graded: pd.DataFrame, reasons: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """Rows whose label a grader does not share, with the reason where somebody has read them."""
    known = graded.dropna(subset=["label"])
    out = []
    for row in known[known["correct"] != known["label"]].to_dict("records"):
        shown = {key: row[key] for key in ("grader", "row", "group", "gold", "correct", "status")}
        shown["extracted"] = None if pd.isna(row["extracted"]) else row["extracted"]
        shown["label"] = bool(row["label"])
        shown["reason"] = reasons.get((row["file"], str(row["row"])))
        out.append(shown)
    return out
