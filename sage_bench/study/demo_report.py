"""What the demo ends in: the table, the claims about methods over training seeds, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sage_bench.evaluation.grades import load_grades
from sage_bench.reporting.compare import samples_of, shared_scores
from sage_bench.reporting.export import named
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.page.site import Content, write_site
from sage_bench.reporting.protocols import shares_order
from sage_bench.reporting.report import Table, comparison_line, page_tables
from sage_bench.reporting.runs import EvalRun, TrainRun
from sage_bench.reporting.tables import markdown
from sage_bench.statistics import claim, holm, macro, over_seeds, paired
from sage_bench.study.demo_config import EQUAL, MORE, DemoConfig
from sage_bench.utils.files import write_json, write_text


@dataclass(frozen=True)
class Trained:
    """A row of the table: evaluations and training runs by training seed.

    The base policy has one evaluation, under the seed None, and no training run.
    """

    evals: Mapping[Any, EvalRun]
    trains: Mapping[Any, TrainRun]

    @property
    def runs(self) -> list[EvalRun]:
        """The evaluations."""
        return list(self.evals.values())


def write(config: DemoConfig, rows: Mapping[str, Trained], start: Path, seconds: float) -> str:
    """summary.json, leaderboard.csv, table.md, index.html; returns the table as Markdown."""
    columns = _columns(config, rows, start)
    methods = {name: _method_summary(row, columns[name]) for name, row in rows.items()}
    comparisons = _comparisons(config, rows)
    table = _table(rows, methods, columns)
    notes = _notes(config, rows, comparisons, seconds)
    text = markdown(table, [f"{n}  " for n in notes])
    summary = {
        "methods": methods,
        "comparisons": comparisons,
        "budget_steps": config.steps,
        "model": config.model,
        "seed": config.seed,
        "seeds": config.train_seeds,
        "seconds": round(seconds, 1),
    }
    write_json(config.out / "summary.json", summary)
    write_text(config.out / "table.md", text)
    board = leaderboard([run for row in rows.values() for run in row.runs])
    write_text(config.out / "leaderboard.csv", board.to_csv(index=False))
    subtitle = f"{config.model}, {', '.join(config.methods)}"
    tables = [Table("Comparison without hints", table, notes)]
    content = Content(
        title="SAGE-Bench demo",
        subtitle=subtitle,
        tables=page_tables(tables),
        evals=named([run for row in rows.values() for run in row.runs]),
        trains=_curves(config, rows),
    )
    write_site(config.out, content)
    return text


def _curves(config: DemoConfig, rows: Mapping[str, Trained]) -> dict[str, TrainRun]:
    """The training runs of every seed, the first of each method by its plain name."""
    out = {}
    for method in config.methods:
        for seed, train in rows[method].trains.items():
            out[method if seed == config.seed else f"{method}, seed {seed}"] = train
    return out


# ---- rows ---------------------------------------------------------------------------------------
def _columns(
    config: DemoConfig, rows: Mapping[str, Trained], start: Path
) -> dict[str, dict[str, Any]]:
    """What training cost each row and what signal it had, means over its seeds."""
    columns: dict[str, dict[str, Any]] = {
        "base": {"no signal %": 100 * unsolved_share(start), "rollouts": 0, "extra rollouts": 0}
    }
    for name, row in rows.items():
        if not row.trains:
            continue
        found = []
        for seed, train in row.trains.items():
            # rows at equal rollouts go on past the budget; the others stop there
            until = max(config.steps, int(row.evals[seed].label["step"]))
            found.append(training_columns(train, until))
        columns[name] = {key: _mean([f[key] for f in found]) for key in found[0]}
    return columns


def training_columns(train: TrainRun, until: int) -> dict[str, Any]:
    """What a training run sampled in the steps before `until`."""
    share = train.no_signal(until)
    return {
        "no signal %": None if share is None else 100 * share,
        "rollouts": train.rollouts(until),
        "extra rollouts": train.extra_rollouts(until),
    }


def unsolved_share(folder: Path) -> float:
    """Share of training prompts that the base policy did not solve in one group."""
    return float((load_grades(folder).groupby("doc_id")["correct"].sum() == 0).mean())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _scores(runs: Sequence[EvalRun]) -> list[dict[str, Any]]:
    """Scores of some runs on the questions that all completed."""
    keys = {str(i): run for i, run in enumerate(runs)}
    scores, _ = shared_scores(keys, Metric(), list(runs[0].tasks))
    return list(scores.values())


def _method_summary(row: Trained, columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row as summary.json has it, percent.

    avg: mean over seeds; se: over seeds and questions; sd_seeds: how far its seeds lie apart, null
    with one.
    """
    scores = _scores(row.runs)
    averages = [100 * float(macro(s)[0]) for s in scores]
    several = len(scores) > 1
    no_signal = columns["no signal %"]
    se = over_seeds(scores).se if several else macro(scores[0])[1]
    return {
        "avg": float(np.mean(averages)),
        "se": 100 * float(se),
        "sd_seeds": float(np.std(averages, ddof=1)) if several else None,
        "seeds": [seed for seed in row.evals if seed is not None],
        "avg_by_seed": averages,
        "no_signal": None if no_signal is None else no_signal / 100,
        "rollouts": columns["rollouts"],
        "extra_rollouts": columns["extra rollouts"],
        "step": max(int(run.label.get("step") or 0) for run in row.runs),
        "tasks": {t: 100 * float(np.mean([s[t].mean() for s in scores])) for t in scores[0]},
    }


def _table(
    rows: Mapping[str, Trained],
    methods: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    base = methods["base"]["avg"]
    lines = []
    for name in rows:
        found = methods[name]
        line: dict[str, Any] = {"method": name, **found["tasks"]}
        line |= {"avg": found["avg"], "se": found["se"], "sd seeds": found["sd_seeds"]}
        line |= {"delta": found["avg"] - base, **columns[name]}
        lines.append(line)
    return pd.DataFrame(lines).set_index("method")


# ---- claims -------------------------------------------------------------------------------------
def _comparisons(config: DemoConfig, rows: Mapping[str, Trained]) -> list[dict[str, Any]]:
    """Every method against grpo and against the base, sage against grpo at equal rollouts."""
    pairs = [(m, "base") for m in config.methods]
    if "grpo" in config.methods:
        pairs = [(m, "grpo") for m in config.methods if m != "grpo"] + pairs
    if "sage" in rows:
        pairs += [("sage", other) for other in (EQUAL, MORE) if other in rows]
    found = [_comparison(a, b, rows) for a, b in pairs]
    adjusted = holm([float("nan") if c["p"] is None else c["p"] for c in found])
    if sum(c["p"] is not None for c in found) < 2:
        return found
    return [c if c["p"] is None else {**c, "holm": p} for c, p in zip(found, adjusted, strict=True)]


def _comparison(a: str, b: str, rows: Mapping[str, Trained]) -> dict[str, Any]:
    """a - b in percent points: a claim about methods over seeds; None where one seed allows none.

    questions: the same over questions, of the policies of the first seed both have.
    """
    trained = bool(rows[b].trains)
    evals_a, evals_b = dict(rows[a].evals), dict(rows[b].evals)
    if trained:  # a row that was trained from fewer seeds is compared on those
        shared = [s for s in evals_a if s in evals_b]
        evals_a = {s: evals_a[s] for s in shared}
        evals_b = {s: evals_b[s] for s in shared}
    runs = [*evals_a.values(), *evals_b.values()]
    scores = _scores(runs)
    of_a = dict(zip(evals_a, scores[: len(evals_a)], strict=True))
    of_b = dict(zip(evals_b, scores[len(evals_a) :], strict=True))
    order = shares_order(list(evals_a.values()), list(evals_b.values()))
    found = claim(of_a, of_b, trained=trained, shared_order=order)
    out: dict[str, Any] = {
        "a": a,
        "b": b,
        "over": "seeds",
        "seeds": list(found.seeds),
        "pairing": found.pairing,
        "diff": 100 * found.diff,
        "se": None if found.se is None else 100 * found.se,
        "ci": None,
        "p": found.p,
    }
    if found.low is not None and found.high is not None:
        out["ci"] = [100 * found.low, 100 * found.high]
    if found.note:
        out["note"] = found.note
    one, other = runs[0], runs[len(evals_a)]
    samples = (samples_of(one, list(one.tasks)), samples_of(other, list(one.tasks)))
    pair = paired(scores[0], scores[len(evals_a)], samples=samples)
    out["questions"] = {
        "about": "these two policies, not the methods",
        "seed": next(iter(evals_a)),
        "diff": 100 * pair.diff,
        "se": 100 * pair.se,
        "ci": [100 * pair.low, 100 * pair.high],
        "p": pair.p,
    }
    return out


# ---- words --------------------------------------------------------------------------------------
def _notes(
    config: DemoConfig,
    rows: Mapping[str, Trained],
    comparisons: Sequence[Mapping[str, Any]],
    seconds: float,
) -> list[str]:
    """The lines under the table."""
    base = rows["base"].runs[0]
    samples = next(iter(base.tasks.values())).samples
    seeds = ", ".join(map(str, config.train_seeds))
    past = [name for name in (EQUAL, MORE) if name in rows]
    but = f" but {' and '.join(past)}, until as much was sampled as by sage" if past else ""
    notes = [
        f"Averages in percent over {len(base.tasks)} benchmarks, {samples} samples a question,"
        " without hints, means over the training seeds; ± is the standard error over seeds and"
        " questions, sd seeds the standard deviation between seeds.",
        f"All methods start from {config.model} and stop after {config.steps} steps{but};"
        f" training seeds {seeds} (index.html shows the whole curves).",
        "no signal: share of training prompts that never had a right completion, partial credit or"
        " trace, for base in one group of 8; extra rollouts: beyond one group a prompt.",
    ]
    if EQUAL in rows and len(rows[EQUAL].evals) < config.seeds:
        trained_from = ", ".join(map(str, rows[EQUAL].evals))
        notes.append(f"{EQUAL}: of the training seed {trained_from} only.")
    notes += [comparison_line(c) for c in comparisons]
    return [*notes, f"Wall time {seconds:.0f} s."]
