"""Samples of one run, to be read one after another: an evaluation's, or the groups that a training
run kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sage_bench.data.schema import COMPLETIONS, QUESTIONS, EvalManifest
from sage_bench.evaluation.grades import stored_samples
from sage_bench.evaluation.tasks.spec import in_order
from sage_bench.reporting.page.samples import verdicts
from sage_bench.reporting.runs import find_runs, kind_of
from sage_bench.utils.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Entry:
    """One completion with what is known of it.

    part: the benchmark, or the training step. right: by the grader that decides, None where it has
    not graded it. verdicts: by grader. hint: the one it was sampled under, if any.
    """

    part: str
    question: str
    sample: int
    right: bool | None
    status: str
    truncated: bool
    tokens: int | None
    answer: str | None
    gold: str
    asked: str
    text: str
    hint: str | None = None
    verdicts: Mapping[str, bool] = field(default_factory=dict)

    @property
    def graders_disagree(self) -> bool:
        return len(set(self.verdicts.values())) > 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


# what of a run is shown, by name; several at once all hold
FILTERS: Mapping[str, Callable[[Entry], bool]] = {
    "wrong": lambda e: e.right is False,
    "right": lambda e: e.right is True,
    "truncated": lambda e: e.truncated,
    "no answer": lambda e: e.status == "no_answer",
    "graders disagree": lambda e: e.graders_disagree,
    "hinted": lambda e: e.hint is not None,
}


def passing(entries: Sequence[Entry], filters: Sequence[str]) -> list[Entry]:
    """The entries that every filter lets through."""
    return [e for e in entries if all(FILTERS[name](e) for name in filters)]


def only_run(folder: Path) -> Path:
    """The one run at or below a folder. Raises `UsageError` where there is none, or several."""
    found = find_runs(folder)
    if len(found) == 1:
        return found[0]
    if not found:
        kind_of(folder)  # says what is missing
    shown = ", ".join(str(run) for run in found[:6]) + (", ..." if len(found) > 6 else "")
    raise UsageError(
        f"there are {len(found)} runs here", where=str(folder), remedy=f"give one of {shown}"
    )


def entries(
    folder: Path, task: str | None = None, question: str | None = None, grader: str | None = None
) -> list[Entry]:
    """The completions of a run, in the order of benchmarks (steps), questions and samples.

    task: one benchmark of an evaluation. question: its name or number. grader: who decides, the
    run's own unless named. Raises `UsageError` for a benchmark or question that the run lacks, and
    `DataError` where a file is damaged.
    """
    if kind_of(folder) == "eval":
        found = list(_of_evaluation(folder, task, grader))
    elif task is not None:
        raise UsageError("a training run has no benchmarks", where="--task")
    else:
        found = list(_of_training(folder))
    if question is None:
        return found
    chosen = [e for e in found if question in (e.question, f"{e.part}/{e.question}")]
    if not chosen:
        known = list(dict.fromkeys(e.question for e in found))
        raise UsageError(
            f"the run has no question `{question}`; {did_you_mean(question, known)}".rstrip("; "),
            where="--question",
            remedy="`sage-bench view RUN` without it lists them",
        )
    return chosen


def _of_evaluation(folder: Path, task: str | None, grader: str | None) -> Iterator[Entry]:
    manifest = EvalManifest.read(folder / "manifest.json")
    if task is not None and task not in manifest.tasks:
        raise UsageError(
            f"the run has no `{task}`; {did_you_mean(task, manifest.tasks)}".rstrip("; "),
            where="--task",
            remedy="one of " + ", ".join(manifest.tasks),
        )
    for name in [task] if task else in_order(manifest.tasks):
        decides = grader or manifest.graders.get(name) or manifest.grader
        yield from _of_task(folder, name, decides)


def _of_task(folder: Path, task: str, decides: str) -> Iterator[Entry]:
    file = folder / "questions" / f"{task}.json"
    if not file.exists():
        return
    questions = {q["doc_id"]: q for q in QUESTIONS.read_list(file)}
    found = verdicts(folder, task, decides)
    for row in stored_samples(folder, task):
        key = row["doc_id"], row["sample"]
        asked = questions.get(row["doc_id"])
        if asked is None:
            continue
        yield Entry(
            part=task,
            question=str(asked["uid"]),
            sample=row["sample"],
            right=found.correct.get(decides, {}).get(key),
            status=found.status.get(key, "not graded"),
            truncated=row["finish"] == "length",
            tokens=row["tokens"],
            answer=found.extracted.get(key),
            gold=asked["gold"],
            asked=asked.get("question", ""),
            text=row["text"],
            verdicts={name: of[key] for name, of in found.correct.items() if key in of},
        )


def _of_training(folder: Path) -> Iterator[Entry]:
    for row in COMPLETIONS.read(folder / "completions.jsonl"):
        for number, completion in enumerate(row["completions"]):
            yield Entry(
                part=f"step {row['step']}",
                question=str(row["uid"]),
                sample=number,
                right=completion["reward"] > 0,
                status=f"reward {completion['reward']:g}, hint level {row['level']}",
                truncated=completion.get("finish") == "length",
                tokens=None,
                answer=None,
                gold=row["answer"],
                asked=row["prompt"],
                text=completion["text"],
                hint=row.get("hint"),
            )
