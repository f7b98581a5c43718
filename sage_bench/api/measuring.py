"""Measuring graders and judges against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sage_bench.grading.canary import canaries, packages
from sage_bench.grading.grader_study.measure import (
    Score,
    measure,
    read_adjudications,
    read_labels,
)
from sage_bench.grading.registry import GRADERS
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.progress import Bar

STATUSES = ("no_answer", "parse_error", "timeout", "crash")


# ---- graders ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class GraderMeasure:
    """How often graders agree with labels.

    table: one row a set and grader. disagreements: the rows on which a grader and the label
    differ. rejected: rows that were not used. canaries_off: comparisons that come out unlike the
    versions this was measured with.
    """

    table: list[dict[str, Any]]
    rows: int
    disagreements: list[dict[str, Any]] = field(repr=False)
    rejected: list[Any] = field(repr=False)
    versions: Mapping[str, str] = field(default_factory=dict)
    canaries_off: tuple[str, ...] = ()

    @property
    def quarantined(self) -> int:
        """Malformed rows."""
        return sum(bool(row.malformed) for row in self.rejected)

    @property
    def undecided(self) -> int:
        """Rows whose label does not stand."""
        return len(self.rejected) - self.quarantined

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "table": self.table,
            "quarantined": self.quarantined,
            "undecided": self.undecided,
            "versions": dict(self.versions),
            "canaries_off": list(self.canaries_off),
        }


def measure_graders(
    files: Sequence[Path | str],
    graders: Sequence[str] = (),
    *,
    limit: int | None = None,
    adjudications: Path | None = None,
    quiet: bool = True,
) -> GraderMeasure:
    """Agreement of graders with labelled rows (JSON lines with gold, response and label).

    graders: all unless named. limit: first rows of each file. Raises `DataError` when no row can
    be used.
    """
    names = list(dict.fromkeys(graders or GRADERS.names()))
    made = {name: GRADERS.get(name)() for name in names}
    known = read_adjudications(adjudications) if adjudications else {}
    read = [read_labels(Path(path), known, limit) for path in files]
    rows = [row for kept, _ in read for row in kept]
    rejected = [row for _, dropped in read for row in dropped]
    if not rows:
        raise DataError(
            "no row can be used",
            where=", ".join(map(str, files)),
            remedy="rows need gold, response and label",
        )
    scores: list[Score] = []
    with Bar("grader-eval", len(rows) * len(made), quiet=quiet) as bar:
        for name, one in made.items():
            scores += measure(name, one, rows, partial(bar.advance, 1, name))
    sources = list(dict.fromkeys(row.source for row in rows))
    # a grader that skipped all of a set has nothing to say about it
    told = [score for score in scores if score.rows]
    told.sort(key=lambda score: (sources.index(score.source), names.index(score.grader)))
    return GraderMeasure(
        [_measured(score) for score in told],
        len(rows),
        [row for score in scores for row in score.disagreements],
        rejected,
        packages(),
        tuple(f"{c.gold} vs {c.answer}" for c in canaries() if not c.well),
    )


def _measured(score: Score) -> dict[str, Any]:
    return {
        "set": score.source,
        "grader": score.grader,
        "rows": score.rows,
        "agreement": score.agreement,
        "false_negatives": score.misses,
        "false_positives": score.slips,
        "abstained": score.abstained,
        "skipped": score.skipped,
        "ms_a_row": 1000 * score.seconds / score.rows if score.rows else None,
        **{status: score.statuses[status] for status in STATUSES},
    }


# ---- judges -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class JudgeMeasure:
    """How well a judge finds first wrong steps. text: the table in Markdown; parts: its rows."""

    folder: Path
    text: str
    parts: list[dict[str, Any]]
    quarantined: Mapping[str, int]


def measure_judge(
    judge: str,
    files: Sequence[str],
    *,
    out: Path | str,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    votes: int = 1,
    limit: int | None = None,
    solutions: Sequence[str] = (),
    batch: int = 64,
    retry: bool = False,
    quiet: bool = True,
) -> JudgeMeasure:
    """Measure a step judge on labelled data; the same call goes on where it stopped.

    model: for judges that ask the policy. votes: judgements a row, of which the mode counts.
    solutions: files with problem and solution, for rows without one. retry: rows that were
    abstained from are judged again. Raises `UsageError` for a wrong name or option.
    """
    from sage_bench.config.models import path_of
    from sage_bench.generation.model_folders import check_folder
    from sage_bench.judges.labelled import read_labelled
    from sage_bench.judges.registry import JUDGES
    from sage_bench.judges.report import summary, write
    from sage_bench.judges.run import JudgeConfig, judge_rows
    from sage_bench.judges.trained import read_trained

    JUDGES.get(judge)
    if not files:
        raise UsageError(
            "no file with labelled steps", remedy="give one or more, e.g. processbench.jsonl"
        )
    path = None
    if model is not None:
        path = path_of(model)
        if read_trained(path) is not None:
            raise UsageError(
                "this is a trained judge, which is asked with words of its own",
                where=model,
                remedy=f"give model={model} as an option of the judge, without --model",
            )
        check_folder(path)
    config = JudgeConfig(judge, Path(out), dict(options or {}), votes, path, batch, retry)
    found = read_labelled(files, limit=limit, solutions=solutions)
    rows = judge_rows(
        config,
        lambda: JUDGES.make(judge, config.options, "options of the judge"),
        found,
        quiet=quiet,
    )
    reasons = found.reasons()
    return JudgeMeasure(Path(out), write(Path(out), rows, reasons), summary(rows), reasons)
