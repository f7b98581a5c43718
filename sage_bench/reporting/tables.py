"""The comparison table, how answers ended, and methods over their training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import pandas as pd

from sage_bench.reporting.comparable import common_tasks
from sage_bench.reporting.compare import samples_of, shared_scores
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import Paired, macro, mean_se, over_seeds, paired
from sage_bench.utils.cells import markdown_cell, markdown_note
from sage_bench.utils.errors import UsageError


def comparison(
    runs: Mapping[str, EvalRun], extra: Mapping[str, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """Rows = methods in the order given, the first is the base; in percent.

    Columns: benchmarks, avg, its standard error, delta to the base on the questions that both
    completed. A benchmark without a complete question is missing, and so is the average then.
    extra: further columns by row (`no signal`, `extra rollouts`).
    """
    rows = []
    base = next(iter(runs.values()))
    for name, run in runs.items():
        average, se = (nan, nan) if run.missing else macro(run.scores)
        row: dict[str, Any] = {"method": name}
        row |= {t: 100 * mean_se(r.means)[0] for t, r in run.tasks.items()}
        row |= dict.fromkeys(run.missing, nan)
        row |= {"avg": 100 * average, "se": 100 * se, "delta": 100 * _delta(run, base)}
        rows.append(row | dict((extra or {}).get(name, {})))
    return pd.DataFrame(rows).set_index("method")


def _delta(run: EvalRun, base: EvalRun) -> float:
    """The difference of two averages over the same questions; NaN where they share none."""
    if run.missing or base.missing or set(run.tasks) != set(base.tasks):
        return nan
    pair = {"run": run, "base": base}
    try:
        scores, _ = shared_scores(pair, Metric(), list(run.tasks))
    except UsageError:  # some benchmark has no question that both completed
        return nan
    return float(macro(scores["run"])[0] - macro(scores["base"])[0])


def delta_note(runs: Mapping[str, EvalRun]) -> list[str]:
    """A line where deltas are taken on fewer questions than the averages beside them."""
    first, *others = runs.values()
    for run in others:
        for task in common_tasks([first, run]):
            if set(first.tasks[task].names) != set(run.tasks[task].names):
                return ["delta: on the questions that both rows completed, which are not all."]
    return []


def markdown(table: pd.DataFrame, footer: Sequence[str] = ()) -> str:
    """The table as GitHub Markdown; numbers with one digit, missing ones as a dash."""
    names = ["± se" if c == "se" else markdown_cell(c) for c in table.columns]
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for name, row in table.iterrows():
        cells = " | ".join(_markdown_cell(c, row[c]) for c in table.columns)
        lines.append(f"| {markdown_cell(name)} | {cells} |")
    # two spaces at the end of a note are Markdown's line break
    notes = [markdown_note(n) + ("  " if n.endswith("  ") else "") for n in footer]
    return "\n".join([*lines, "", *notes]) + "\n"


def _markdown_cell(column: str, value: Any) -> str:
    if value is None or value != value:  # NaN is not equal to itself
        return "–"
    if column == "avg":
        return f"**{value:.1f}**"
    if column == "delta":
        return f"{value:+.1f}"
    if column.endswith("rollouts") or column in {"questions", "timeouts"}:
        return f"{value:.0f}"
    return f"{value:.1f}" if isinstance(value, float) else markdown_cell(value)


def compare(a: str, b: str, runs: Mapping[str, EvalRun]) -> dict[str, Any]:
    """a - b in percent points on the macro average, paired by question.

    {"a", "b", "diff", "se", "ci", "p"}. On the questions that both completed, whatever their order
    in the runs.
    """
    pair = {a: runs[a], b: runs[b]}
    tasks = common_tasks(list(pair.values()))
    scores, _ = shared_scores(pair, Metric(), tasks)
    samples = (samples_of(runs[a], tasks), samples_of(runs[b], tasks))
    result: Paired = paired(scores[a], scores[b], samples=samples)
    return {
        "a": a,
        "b": b,
        "diff": 100 * result.diff,
        "se": 100 * result.se,
        "ci": [100 * result.low, 100 * result.high],
        "p": result.p,
    }


def answers(runs: Mapping[str, EvalRun]) -> pd.DataFrame:
    """How the answers ended, beside what they were worth.

    Means over benchmarks, counts are sums; percent and tokens.
    """
    rows = []
    for name, run in runs.items():
        results = list(run.tasks.values())
        k = min(r.samples for r in results)
        row: dict[str, Any] = {"method": name, "avg": 100 * macro(run.scores)[0]}
        if k > 1:
            row[f"pass@{k}"] = 100 * macro(Metric("pass", k).scores(run))[0]
        row["tokens"] = _mean([r.tokens for r in results])
        row["median tokens"] = _mean([r.tokens_median for r in results])
        row["truncated %"] = 100 * _mean([r.truncated for r in results])
        row["no answer %"] = 100 * _mean([r.no_answer for r in results])
        row["timeouts"] = sum(r.timeouts for r in results)
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def seed_table(runs: Sequence[EvalRun]) -> pd.DataFrame | None:
    """Methods that were trained more than once, over their training seeds; percent.

    ± is the standard error over seeds and questions, its two parts beside it. None where no method
    has two seeds.
    """
    groups: dict[tuple[Any, ...], list[EvalRun]] = {}
    for run in runs:
        if run.label.get("train_seed") is not None:
            key = (run.method, run.label.get("preset"), run.label.get("step"))
            groups.setdefault(key, []).append(run)
    rows = []
    for (method, _, step), members in groups.items():
        by_seed = {str(r.label["train_seed"]): r for r in members}
        tasks = common_tasks(list(by_seed.values()))
        if len(by_seed) < 2 or not tasks:
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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
