"""The comparison table and the leaderboard, from evaluated runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sage_bench.reporting.runs import EvalRun
from sage_bench.reporting.statistics import Paired, macro, mean_se, paired, sampling_se, t_interval

LEADERBOARD = [
    "model", "method", "train_seed", "step", "select_rule", "task", "n_questions", "n_samples", "metric", "value", "se_question", "se_seed", "ci_lo", "ci_hi",
    "tokens_mean", "trunc_pct", "noans_pct", "timeouts", "grader", "prompt_id", "temp", "top_p", "max_tokens", "data_rev", "fingerprint", "status",
]


def comparison(runs: Mapping[str, EvalRun], extra: Mapping[str, Mapping[str, Any]] | None = None) -> pd.DataFrame:
    """Rows = methods in the order given (the first is the base), columns = benchmarks, avg, se, delta to the base; in percent.

    extra: further columns by row (`no signal`, `extra rollouts`).
    """
    rows = []
    base = None
    for name, run in runs.items():
        average, se = macro(run.scores)
        base = average if base is None else base
        cells = {t: 100 * mean_se(r.means)[0] for t, r in run.tasks.items()}
        rows.append({"method": name, **cells, "avg": 100 * average, "se": 100 * se, "delta": 100 * (average - base), **(extra or {}).get(name, {})})
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
        if column.endswith("rollouts"):
            return f"{value:.0f}"
        return f"{value:.1f}" if isinstance(value, float) else str(value)

    names = ["± se" if c == "se" else c for c in table.columns]
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    lines += [f"| {i} | " + " | ".join(cell(c, row[c]) for c in table.columns) + " |" for i, row in table.iterrows()]
    return "\n".join([*lines, "", *footer]) + "\n"


def compare(a: str, b: str, runs: Mapping[str, EvalRun]) -> dict[str, Any]:
    """a - b in percent points on the macro average, paired by question: {"a", "b", "diff", "se", "ci", "p"}."""
    result: Paired = paired(runs[a].scores, runs[b].scores)
    return {"a": a, "b": b, "diff": 100 * result.diff, "se": 100 * result.se, "ci": [100 * result.low, 100 * result.high], "p": result.p}


def leaderboard(runs: Sequence[EvalRun], select_rule: str = "fixed step") -> pd.DataFrame:
    """Tidy: one row per run, benchmark and metric; plus the macro average as task `avg`. Values in percent."""
    rows = []
    for run in runs:
        label = run.label
        sampling = run.manifest["sampling"]
        common = {
            "model": run.model, "method": run.method, "train_seed": label.get("train_seed"), "step": label.get("step"), "select_rule": select_rule,
            "metric": "avg@n", "grader": run.manifest["grader"], "fingerprint": run.folder.name,
        }
        graders = run.manifest.get("graders", {})
        for task, r in run.tasks.items():
            mean, se = mean_se(r.means)
            low, high = t_interval(mean, se, len(r.means))
            how = sampling[task]
            rows.append({
                **common, "task": task, "grader": graders.get(task, common["grader"]), "n_questions": len(r.means), "n_samples": r.samples, "value": 100 * mean, "se_question": 100 * se,
                "se_seed": 100 * sampling_se(r.means, r.samples), "ci_lo": 100 * low, "ci_hi": 100 * high, "tokens_mean": r.tokens, "trunc_pct": 100 * r.truncated,
                "noans_pct": 100 * r.no_answer, "timeouts": r.timeouts, "prompt_id": how["prompt_id"], "temp": how["temperature"], "top_p": how["top_p"],
                "max_tokens": how["max_gen_toks"], "data_rev": how["data_rev"], "status": watermarked(run, task),
            })
        average, se = macro(run.scores)
        rows.append({
            **common, "task": "avg", "n_questions": sum(len(r.means) for r in run.tasks.values()), "n_samples": None, "value": 100 * average, "se_question": 100 * se,
            "ci_lo": 100 * max(0.0, average - 1.96 * se), "ci_hi": 100 * min(1.0, average + 1.96 * se),
            "status": next((s for t in run.tasks if (s := watermarked(run, t)) != "ok"), "ok").partition(" ")[0],
        })
    return pd.DataFrame(rows, columns=LEADERBOARD)


def watermarked(run: EvalRun, task: str) -> str:
    """The status of a task's numbers; LIMITED where not all questions of the benchmark were asked."""
    report = (run.manifest.get("golds") or {}).get(task, {})
    asked = f"first {run.manifest['limit']}" if run.manifest.get("limit") else f"{report['found']} of {min(report['expected'])}" if report.get("partial") else ""
    return run.tasks[task].status if not asked or run.tasks[task].status != "ok" else f"LIMITED {asked}"
