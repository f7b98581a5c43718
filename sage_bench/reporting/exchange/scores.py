"""What every export of an evaluation says: scores with their errors, and the samples behind them.

The formats only spell it differently. All values are shares in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sage_bench.data.schema import GRADES, QUESTIONS
from sage_bench.evaluation.folders import read_results
from sage_bench.evaluation.grades import grades_file, load_grades, stored_samples
from sage_bench.evaluation.runner import slug
from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.reporting.metrics import Metric, powers
from sage_bench.reporting.runs import EvalRun, read_eval
from sage_bench.statistics import accuracy_interval, mean_se, share_interval
from sage_bench.utils.errors import DataError

AVERAGE = "avg@n"
NO_ANSWER = "no_answer"
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Score:
    """One number of one benchmark.

    metric: `avg@n`, `pass@4`, `no_answer`, or what another program called it. se: the standard
    error, clustered by question; low, high: the 95 % interval; None where they are not known (a
    single question has no standard error). samples: of each question.
    """

    task: str
    metric: str
    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    questions: int | None = None
    samples: int | None = None


@dataclass(frozen=True, slots=True)
class GradedSample:
    """One completion with its question and its verdict. question: "" in folders of versions that
    did not keep the text."""

    uid: str
    question: str
    gold: str
    options: list[str] | None
    number: int
    text: str
    finish: str
    prompt_tokens: int | None
    tokens: int | None
    correct: bool
    status: str
    extracted: str | None


@dataclass(frozen=True)
class Finished:
    """A finished evaluation. name: what the model is called, as ORG/MODEL. date: of its results."""

    run: EvalRun
    name: str
    date: datetime
    scores: tuple[Score, ...]
    grader: str | None = None

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.run.manifest

    def grader_of(self, task: str) -> str:
        """Whose verdicts on this task are exported."""
        graders = self.manifest.get("graders") or {}
        return str(self.grader or graders.get(task) or self.manifest["grader"])

    def of_task(self, task: str) -> list[Score]:
        return [score for score in self.scores if score.task == task]

    def samples(self, task: str) -> Iterator[GradedSample]:
        """All graded samples of a task, question by question.

        None of a task whose data are gated: their owners ask that no text of them is published.
        """
        if is_gated(task):
            return
        folder = self.run.folder
        asked = {q["doc_id"]: q for q in QUESTIONS.read_list(folder / f"questions/{task}.json")}
        verdicts = GRADES.read(grades_file(folder, task, self.grader_of(task)))
        known = {(v["doc_id"], v["sample"]): v for v in verdicts}
        for row in stored_samples(folder, task):
            question = asked.get(row["doc_id"])
            verdict = known.get((row["doc_id"], row["sample"]))
            wanted = row["sample"] < self.manifest["tasks"][task]
            if question is None or verdict is None or not wanted:
                continue
            yield GradedSample(
                str(question["uid"]),
                question.get("question", ""),
                question["gold"],
                question.get("options"),
                row["sample"],
                row["text"],
                row["finish"],
                row["prompt_tokens"],
                row["tokens"],
                verdict["correct"],
                verdict["status"],
                verdict["extracted"],
            )


def is_gated(task: str) -> bool:
    """Whether the terms of a benchmark's data forbid to show their text.

    >>> is_gated("sb_gpqa_diamond"), is_gated("sb_aime24")
    (True, False)
    """
    file = task_files().get(task)
    metadata = (file.values.get("metadata") or {}) if file else {}
    return bool(metadata.get("gated"))


def finished(folder: Path, name: str | None = None, grader: str | None = None) -> Finished:
    """The evaluation in a folder, to be exported.

    Raises `DataError` where samples are missing: a part of a benchmark is not its score.
    """
    run = read_eval(folder, grader)
    if run.partial:
        lacking = ", ".join(f"{task} {status}" for task, status in run.lacking.items())
        raise DataError(
            f"this evaluation is not finished: {lacking}",
            where=str(folder),
            remedy="run the same `sage-bench eval` command again, then export",
        )
    return Finished(
        run, name or model_name(run), _date(folder), tuple(scores_of(run, grader)), grader
    )


def scores_of(run: EvalRun, grader: str | None = None) -> list[Score]:
    """avg@n, pass@2, pass@4, ... pass@n and the share without an answer, of every benchmark."""
    blanks = _blanks(run, grader)
    found = []
    for task, result in run.tasks.items():
        average = accuracy_interval(result.means, result.samples)
        found.append(_score(run, task, AVERAGE, result.means, average))
        for k in powers(result.samples):
            metric = Metric("pass", k)
            found.append(_score(run, task, metric.name, metric.of(run, task)))
        found.append(_score(run, task, NO_ANSWER, blanks[task]))
    return found


def _score(
    run: EvalRun,
    task: str,
    metric: str,
    values: NDArray[np.float64],
    interval: tuple[float, float] | None = None,
) -> Score:
    mean, se = mean_se(values)
    low, high = interval or share_interval(mean, se, len(values))
    samples = run.tasks[task].samples
    return Score(task, metric, mean, known(se), known(low), known(high), len(values), samples)


def known(value: Any) -> float | None:
    """A finite number, None for NaN and for what is not a number.

    >>> known(0.5), known(float("nan")), known("N/A"), known(True)
    (0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None


def _blanks(run: EvalRun, grader: str | None) -> dict[str, NDArray[np.float64]]:
    """Share of samples without an answer of each complete question, (N,), by task."""
    grades = load_grades(run.folder, grader)
    found = {}
    for task, result in run.tasks.items():
        rows = grades[grades.task == task]
        by_question = (rows.status == NO_ANSWER).groupby(rows.doc_id).mean()
        found[task] = by_question[list(result.doc_ids)].to_numpy(float)
    return found


def model_name(run: EvalRun) -> str:
    """ORG/MODEL: the Hub id, or `local/` with the name of the run's folder.

    A folder on somebody's machine is not a name that others can look up.
    """
    model = str(run.manifest["model"])
    is_hub_id = model.count("/") == 1 and not Path(model).exists() and "checkpoints" not in model
    return model if is_hub_id and not model.startswith((".", "/")) else f"local/{slug(model)}"


def _date(folder: Path) -> datetime:
    stated = known(read_results(folder).get("date"))
    seconds = stated or (folder / "manifest.json").stat().st_mtime
    return datetime.fromtimestamp(seconds, UTC)
