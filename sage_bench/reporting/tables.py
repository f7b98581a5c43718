"""The comparison table and the leaderboard, from evaluated runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sage_bench.reporting.comparable import common_tasks
from sage_bench.reporting.compare import shared_scores
from sage_bench.reporting.metrics import Metric, powers
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import (
    Paired,
    macro,
    macro_interval,
    mean_se,
    over_seeds,
    paired,
    sampling_se,
    share_interval,
)

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


def comparison(
    runs: Mapping[str, EvalRun], extra: Mapping[str, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """Rows = methods in the order given (the first is the base), columns = benchmarks, avg, se,
    delta to the base; in percent.

    extra: further columns by row (`no signal`, `extra rollouts`).
    """
    rows = []
    base = None
    for name, run in runs.items():
        average, se = macro(run.scores)
        base = average if base is None else base
        cells = {t: 100 * mean_se(r.means)[0] for t, r in run.tasks.items()}
        rows.append(
            {
                "method": name,
                **cells,
                "avg": 100 * average,
                "se": 100 * se,
                "delta": 100 * (average - base),
                **(extra or {}).get(name, {}),
            }
        )
    return pd.DataFrame(rows).set_index("method")


def markdown(table: pd.DataFrame, footer: Sequence[str] = ()) -> str:
    """The table as GitHub Markdown; numbers with one digit, missing ones as a dash."""

    def cell(column: str, value: Any) -> str:
        if value is None or value != value:  # NaN
            return "–"
        if column == "avg":
            return f"**{value:.1f}**"
        if column == "delta":
            return f"{value:+.1f}"
        if column.endswith("rollouts") or column in {"questions", "timeouts"}:
            return f"{value:.0f}"
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    names = ["± se" if c == "se" else c for c in table.columns]
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines += [
        f"| {i} | " + " | ".join(cell(c, row[c]) for c in table.columns) + " |"
        for i, row in table.iterrows()
    ]
    return "\n".join([*lines, "", *footer]) + "\n"


def compare(a: str, b: str, runs: Mapping[str, EvalRun]) -> dict[str, Any]:
    """a - b in percent points on the macro average, paired by question: {"a", "b", "diff", "se",
    "ci", "p"}.

    On the questions that both completed, whatever their order in the runs.
    """
    scores, _ = shared_scores(
        {n: runs[n] for n in (a, b)}, Metric(), common_tasks([runs[a], runs[b]])
    )
    result: Paired = paired(scores[a], scores[b])
    return {
        "a": a,
        "b": b,
        "diff": 100 * result.diff,
        "se": 100 * result.se,
        "ci": [100 * result.low, 100 * result.high],
        "p": result.p,
    }


def answers(runs: Mapping[str, EvalRun]) -> pd.DataFrame:
    """How the answers ended, beside what they were worth: means over benchmarks; counts are sums.
    Percent and tokens."""
    rows = []
    for name, run in runs.items():
        results = list(run.tasks.values())
        k = min(r.samples for r in results)
        row: dict[str, Any] = {"method": name, "avg": 100 * macro(run.scores)[0]}
        if k > 1:
            row[f"pass@{k}"] = 100 * macro(Metric("pass", k).scores(run))[0]
        row |= {
            "tokens": _mean([r.tokens for r in results]),
            "median tokens": _mean([r.tokens_median for r in results]),
        }
        row |= {
            "truncated %": 100 * _mean([r.truncated for r in results]),
            "no answer %": 100 * _mean([r.no_answer for r in results]),
            "timeouts": sum(r.timeouts for r in results),
        }
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def seed_table(runs: Sequence[EvalRun]) -> pd.DataFrame | None:
    """Methods that were trained more than once, over their training seeds; None where there is
    none. Percent.

    ± is the standard error over seeds and questions, its two parts beside it.
    """
    groups: dict[tuple[Any, ...], list[EvalRun]] = {}
    for run in runs:
        if run.label.get("train_seed") is not None:
            groups.setdefault(
                (run.method, run.label.get("preset"), run.label.get("step")), []
            ).append(run)
    rows = []
    for (method, _, step), members in groups.items():
        by_seed = {str(r.label["train_seed"]): r for r in members}
        if len(by_seed) < 2 or not (tasks := common_tasks(list(by_seed.values()))):
            continue
        scores, sizes = shared_scores(by_seed, Metric(), tasks)
        r = over_seeds(list(scores.values()))
        rows.append(
            {
                "method": method,
                "step": str(step),
                "seeds": ", ".join(by_seed),
                "questions": sum(sizes.values()),
                "avg": 100 * r.mean,
                "se": 100 * r.se,
                "of seeds": 100 * r.se_seed,
                "of questions": 100 * r.se_question,
                "low": 100 * r.low,
                "high": 100 * r.high,
            }
        )
    return pd.DataFrame(rows).set_index("method") if rows else None


def leaderboard(
    runs: Sequence[EvalRun], select_rule: str = "fixed step", *, passes: bool = False
) -> pd.DataFrame:
    """Tidy: one row per run, metric and benchmark; plus the macro average as task `avg`. Values in
    percent.

    passes: pass@2, pass@4, ... up to the samples there are, beside avg@n; a benchmark with fewer
    than k samples has no row of pass@k, and without it there is no average.
    """
    rows = []
    for run in runs:
        most = max(r.samples for r in run.tasks.values())
        for metric in [Metric(), *(Metric("pass", k) for k in (powers(most) if passes else ()))]:
            rows += _board_rows(run, metric, select_rule)
    return pd.DataFrame(rows, columns=LEADERBOARD)


def _board_rows(run: EvalRun, metric: Metric, select_rule: str) -> list[dict[str, Any]]:
    label, sampling, graders, rows = (
        run.label,
        run.manifest["sampling"],
        run.manifest.get("graders", {}),
        [],
    )
    common = {
        "model": run.model,
        "method": run.method,
        "train_seed": label.get("train_seed"),
        "step": label.get("step"),
        "select_rule": select_rule,
        "metric": metric.name,
        "fingerprint": run.folder.name,
        "limited": run.limited or None,
    }
    scores = {t: s for t, s in metric.scores(run).items() if not pd.isna(s).any()}
    for task, values in scores.items():
        r, how = run.tasks[task], sampling[task]
        mean, se = mean_se(values)
        low, high = share_interval(mean, se, len(values))
        rows.append(
            {
                **common,
                "task": task,
                "grader": graders.get(task, run.manifest["grader"]),
                "n_questions": len(values),
                "n_samples": r.samples,
                "value": 100 * mean,
                "se_question": 100 * se,
                "se_seed": 100 * sampling_se(r.means, r.samples) if metric.kind == "avg" else None,
                "ci_lo": 100 * low,
                "ci_hi": 100 * high,
                "tokens_mean": r.tokens,
                "trunc_pct": 100 * r.truncated,
                "noans_pct": 100 * r.no_answer,
                "timeouts": r.timeouts,
                "prompt_id": how["prompt_id"],
                "temp": how["temperature"],
                "top_p": how["top_p"],
                "max_tokens": how["max_gen_toks"],
                "data_rev": how["data_rev"],
                "status": watermarked(run, task),
            }
        )
    if len(scores) == len(run.tasks):
        average, se = macro(scores)
        low, high = macro_interval(scores)
        rows.append(
            {
                **common,
                "task": "avg",
                "grader": run.manifest["grader"],
                "n_questions": sum(map(len, scores.values())),
                "n_samples": None,
                "value": 100 * average,
                "se_question": 100 * se,
                "ci_lo": 100 * low,
                "ci_hi": 100 * high,
                "status": (
                    next(
                        (s for t in run.tasks if (s := watermarked(run, t)) != "ok"), "ok"
                    ).partition(" ")[0]
                ),
            }
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def watermarked(run: EvalRun, task: str) -> str:
    """The status of a task's numbers; LIMITED where not all questions of the benchmark were
    asked."""
    report = (run.manifest.get("golds") or {}).get(task, {})
    asked = (
        f"first {run.manifest['limit']}"
        if run.manifest.get("limit")
        else f"{report['found']} of {min(report['expected'])}"
        if report.get("partial")
        else ""
    )
    return (
        run.tasks[task].status
        if not asked or run.tasks[task].status != "ok"
        else f"LIMITED {asked}"
    )
