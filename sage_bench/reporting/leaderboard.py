"""The leaderboard: one row per run, metric and benchmark, with how it was asked and graded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from sage_bench.reporting.comparable import common_tasks
from sage_bench.reporting.compare import shared_scores
from sage_bench.reporting.metrics import Metric, powers
from sage_bench.reporting.protocols import protocol_differences
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import (
    accuracy_interval,
    macro,
    macro_interval,
    mean_se,
    over_seeds,
    sampling_se,
    share_interval,
)
from sage_bench.utils.errors import UsageError

LEADERBOARD = [
    "model",
    "method",
    "train_seed",
    "step",
    "select_rule",
    "task",
    "n_questions",
    "n_samples",
    "metric",
    "value",
    "se_question",
    "se_sampling",
    "se_seed",
    "ci_lo",
    "ci_hi",
    "tokens_mean",
    "trunc_pct",
    "noans_pct",
    "timeouts",
    "grader",
    "prompt_id",
    "temp",
    "top_p",
    "max_tokens",
    "data_rev",
    "fingerprint",
    "status",
    "limited",
]


def leaderboard(
    runs: Sequence[EvalRun], select_rule: str = "fixed step", *, passes: bool = False
) -> pd.DataFrame:
    """Tidy: one row per run, metric and benchmark; the macro average is task `avg`. In percent.

    se_question: the standard error, clustered by question. se_sampling: the part of it that a
    finite number of samples leaves. se_seed: what training again leaves, for a method of which
    several training seeds are here.

    passes: pass@2, pass@4, ... up to the samples there are, beside avg@n; a benchmark with fewer
    than k samples has no row of pass@k, and without it there is no average.
    """
    rows = []
    for run in runs:
        metrics = [Metric()]
        if passes:
            most = max((r.samples for r in run.tasks.values()), default=1)
            metrics += [Metric("pass", k) for k in powers(most)]
        for metric in metrics:
            rows += _run_rows(run, metric, select_rule)
    return _with_seeds(pd.DataFrame(rows, columns=LEADERBOARD), runs)


def _with_seeds(board: pd.DataFrame, runs: Sequence[EvalRun]) -> pd.DataFrame:
    """se_seed of avg@n for methods that were trained more than once and asked alike."""
    groups: dict[tuple[Any, ...], dict[Any, EvalRun]] = {}
    for run in runs:
        seed = run.label.get("train_seed")
        if seed is not None and not run.missing:
            key = (run.method, run.label.get("step"), run.label.get("preset"), tuple(run.tasks))
            groups.setdefault(key, {})[seed] = run
    for members in groups.values():
        if len(members) < 2 or protocol_differences(list(members.values())):
            continue
        tasks = common_tasks(list(members.values()))
        named = {str(seed): run for seed, run in members.items()}
        try:
            scores, _ = shared_scores(named, Metric(), tasks)
        except UsageError:  # no question of some benchmark is complete in all of them
            continue
        folders = [run.folder.name for run in members.values()]
        here = board.fingerprint.isin(folders) & (board.metric == Metric().name)
        for task in (*tasks, "avg"):
            parts = tasks if task == "avg" else [task]
            found = over_seeds([{t: s[t] for t in parts} for s in scores.values()])
            board.loc[here & (board.task == task), "se_seed"] = 100 * float(found.se_seed)
    return board


def _run_rows(run: EvalRun, metric: Metric, select_rule: str) -> list[dict[str, Any]]:
    common = {
        "model": run.model,
        "method": run.method,
        "train_seed": run.label.get("train_seed"),
        "step": run.label.get("step"),
        "select_rule": run.label.get("select_rule") or select_rule,
        "metric": metric.name,
        "fingerprint": run.folder.name,
        "limited": run.limited or None,
    }
    scores = {t: s for t, s in metric.scores(run).items() if not pd.isna(s).any()}
    rows = [common | _task_columns(run, t, metric, values) for t, values in scores.items()]
    if metric.kind == "avg":
        rows += [common | _missing_columns(run, t, status) for t, status in run.missing.items()]
    if run.missing:
        rows.append(common | {"task": "avg", "status": "partial"})
    elif len(scores) == len(run.tasks):
        rows.append(common | _average_columns(run, metric, scores))
    return rows


def _missing_columns(run: EvalRun, task: str, status: str) -> dict[str, Any]:
    """A benchmark that was asked and has no complete question: a row without a value."""
    graders = run.manifest.get("graders") or {}
    return {
        "task": task,
        "grader": graders.get(task, run.manifest["grader"]),
        "n_questions": 0,
        "n_samples": run.manifest["tasks"][task],
        "status": status,
    }


def _task_columns(run: EvalRun, task: str, metric: Metric, values: NDArray[Any]) -> dict[str, Any]:
    result = run.tasks[task]
    sampling = run.manifest["sampling"][task]
    graders = run.manifest.get("graders", {})
    mean, se = mean_se(values)
    noise = None
    if metric.kind == "avg":
        low, high = accuracy_interval(values, result.samples)
        noise = 100 * sampling_se(result.means, result.samples)
    else:
        low, high = share_interval(mean, se, len(values))
    return {
        "task": task,
        "grader": graders.get(task, run.manifest["grader"]),
        "n_questions": len(values),
        "n_samples": result.samples,
        "value": 100 * mean,
        "se_question": 100 * se,
        "se_sampling": noise,
        "ci_lo": 100 * low,
        "ci_hi": 100 * high,
        "tokens_mean": result.tokens,
        "trunc_pct": 100 * result.truncated,
        "noans_pct": 100 * result.no_answer,
        "timeouts": result.timeouts,
        "prompt_id": sampling["prompt_id"],
        "temp": sampling["temperature"],
        "top_p": sampling["top_p"],
        "max_tokens": sampling["max_gen_toks"],
        "data_rev": sampling["data_rev"],
        "status": watermarked(run, task),
    }


def _average_columns(
    run: EvalRun, metric: Metric, scores: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    average, se = macro(scores)
    samples = {t: run.tasks[t].samples for t in scores} if metric.kind == "avg" else None
    low, high = macro_interval(scores, samples=samples)
    marks = [watermarked(run, t) for t in run.tasks]
    first_mark = next((m for m in marks if m != "ok"), "ok")
    return {
        "task": "avg",
        "grader": run.manifest["grader"],
        "n_questions": sum(map(len, scores.values())),
        "n_samples": None,
        "value": 100 * average,
        "se_question": 100 * se,
        "ci_lo": 100 * low,
        "ci_hi": 100 * high,
        "status": first_mark.partition(" ")[0],  # "partial", without the counts of one task
    }


def watermarked(run: EvalRun, task: str) -> str:
    """The status of a task's numbers; LIMITED where not all questions were asked, DEGRADED where
    the method was trained without data that it reads."""
    status = _status(run, task)
    if not run.label.get("degraded"):
        return status
    return "DEGRADED" if status == "ok" else f"{status}, DEGRADED"


def _status(run: EvalRun, task: str) -> str:
    status = run.tasks[task].status
    if status != "ok":
        return status
    report = (run.manifest.get("golds") or {}).get(task, {})
    if run.manifest.get("limit"):
        return f"LIMITED first {run.manifest['limit']}"
    if report.get("partial"):
        return f"LIMITED {report['found']} of {min(report['expected'])}"
    return status
