"""Significance and ranks within a table of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

from sage_bench.reporting.compare import samples_of, shared_scores
from sage_bench.reporting.method_rows import MethodRow
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.protocols import shares_order
from sage_bench.reporting.reference import number, unique
from sage_bench.reporting.runs import EvalRun
from sage_bench.statistics import Claim, claim, holm, paired

SIGNIFICANT = 0.05


def with_tests(
    rows: Sequence[MethodRow],
    groups: Mapping[tuple[str, str], Sequence[EvalRun]],
    against: str,
    averages: Mapping[str, Sequence[str]],
) -> tuple[list[MethodRow], list[str]]:
    """Rows with their significance against the baseline, and lines that say what was tested.

    What was chosen on the test data is not tested on them.
    """
    lines: list[tuple[int, str, str, float | None]] = []  # row, column, words, p
    for i, row in enumerate(rows):
        base = groups.get((row.model, against))
        if row.method == against or not base or row.chosen_on_test:
            continue
        runs = groups[row.model, row.method]
        for column, members in averages.items():
            if not share_questions(runs, base, members):
                continue
            text, p = _test(runs, base, members)
            words = f"{row.model}: {row.method} − {against}, {column}: {text}"
            lines.append((i, column, words, p))
    adjusted = holm([float("nan") if p is None else p for *_, p in lines])
    out = list(rows)
    notes = []
    for (i, column, words, p), corrected in zip(lines, adjusted, strict=True):
        notes.append(words if p is None else f"{words} (Holm {corrected:.2g})")
        if p is not None and corrected < SIGNIFICANT:
            cell = replace(out[i].cells[column], significant=True)
            out[i] = replace(out[i], cells={**out[i].cells, column: cell})
    return out, notes


def _test(
    runs: Sequence[EvalRun], base: Sequence[EvalRun], tasks: Sequence[str]
) -> tuple[str, float | None]:
    """The difference in words, and its p; None where nothing can be claimed."""
    of_runs, of_base = on_shared_questions(runs, base, tasks)
    if None in of_runs and None in of_base:
        return _of_policies(runs[0], base[0], of_runs[None], of_base[None])
    if None in of_runs:  # the seeds are those of the baseline
        found = turned(claim(of_base, of_runs, trained=False))
    else:
        trained = None not in of_base
        found = claim(of_runs, of_base, trained=trained, shared_order=shares_order(runs, base))
    return claim_words(found), found.p


def turned(found: Claim) -> Claim:
    """b - a of a claim a - b."""
    if found.low is None or found.high is None:
        return replace(found, diff=-found.diff)
    return replace(found, diff=-found.diff, low=-found.high, high=-found.low)


def claim_words(found: Claim) -> str:
    """`+12.3 [9.1, 15.4], p = 0.01, over the training seeds 0, 1, 2 (by seed)`, or no claim."""
    if found.p is None or found.low is None or found.high is None:
        return f"{100 * found.diff:+.1f}; {found.note}"
    seeds = ", ".join(map(str, found.seeds))
    return (
        f"{100 * found.diff:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}], p ="
        f" {found.p:.2g}, over the training seeds {seeds} ({found.pairing})"
    )


def _of_policies(run: EvalRun, base: EvalRun, a: Any, b: Any) -> tuple[str, float]:
    """Policies that nobody trained here are compared as they are, over questions."""
    tasks = list(a)
    found = paired(a, b, samples=(samples_of(run, tasks), samples_of(base, tasks)))
    text = (
        f"{100 * found.diff:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}], p ="
        f" {found.p:.2g}, over questions: of these two policies"
    )
    return text, found.p


def ranked(rows: Sequence[MethodRow], columns: Sequence[str]) -> list[MethodRow]:
    """Best and second of each model and column; equal numbers share their place.

    What was chosen on the test data has no place.
    """
    out = list(rows)
    for model in unique(r.model for r in rows):
        block = [i for i, r in enumerate(rows) if r.model == model]
        for column in columns:
            shown = {i: _number(out[i], column) for i in block if not out[i].chosen_on_test}
            values = {i: round(v, 1) for i, v in shown.items() if v is not None}
            if len(values) < 2:
                continue
            places = sorted(set(values.values()), reverse=True)
            for i, value in values.items():
                cell = replace(
                    out[i].cells[column],
                    best=value == places[0],
                    second=len(places) > 1 and value == places[1],
                )
                out[i] = replace(out[i], cells={**out[i].cells, column: cell})
    return out


def _number(row: MethodRow, column: str) -> float | None:
    """Ours, or the paper's in a table of the paper alone."""
    cell = row.cells[column]
    if row.seeds or cell.paper is None:
        return cell.score
    printed = number(cell.paper)
    return None if isnan(printed) else printed


def on_shared_questions(
    runs: Sequence[EvalRun], base: Sequence[EvalRun], tasks: Sequence[str]
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Scores of both, by training seed, on the questions that all of them completed."""
    named = {("a", i): r for i, r in enumerate(runs)} | {("b", i): r for i, r in enumerate(base)}
    keys = {f"{side}{i}": r for (side, i), r in named.items()}
    scores, _ = shared_scores(keys, Metric(), tasks)

    def by_seed(side: str, members: Sequence[EvalRun]) -> dict[Any, Any]:
        return {r.label.get("train_seed"): scores[f"{side}{i}"] for i, r in enumerate(members)}

    return by_seed("a", runs), by_seed("b", base)


def completed(runs: Sequence[EvalRun], tasks: Sequence[str]) -> bool:
    """Whether every run has complete questions of every benchmark."""
    return all(task in run.tasks for run in runs for task in tasks)


def share_questions(runs: Sequence[EvalRun], base: Sequence[EvalRun], tasks: Sequence[str]) -> bool:
    """Whether all runs completed some question of every benchmark in common."""
    if not base or not completed([*runs, *base], tasks):
        return False
    for task in tasks:
        if not set.intersection(*(set(r.tasks[task].names) for r in (*runs, *base))):
            return False
    return True
