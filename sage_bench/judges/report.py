"""How good a judge is: from judgements of labelled steps to a table. Pure functions of the stored
rows.

A row that was abstained from is never counted as right: not as the right step, not as an alarm, not
as an all-clear. So it lowers the exact match, the accuracy of its side and, if something is wrong
in it, the recall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from sage_bench.statistics import clustered_se, wilson
from sage_bench.utils.cells import csv_text, markdown_cell
from sage_bench.utils.files import write_json, write_text

DRAWS = 2000
Row = Mapping[str, Any]  # a judgement as `sage_bench.judges.run` stores it


def score(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers of some judgements; shares in [0, 1], NaN where there is nothing to take a share
    of.

    exact: first wrong step found, or rightly none. error_acc, correct_acc: the same on the rows
    with and without an error; f1: their harmonic mean (ProcessBench). precision, recall, split_f1:
    of "something is wrong", wherever. early, late: alarms before and after the labelled step.
    false_alarms: share of the rows without an error in which one is seen. spearman: of the score
    (k - 1) / n of SGPO's eq. 1 after the judge against the one after the label, on rows judged.
    Standard errors are clustered by question, *_lo and *_hi are Wilson's, those of f1 a percentile
    bootstrap over questions.

    >>> pairs = enumerate([(2, 2), (1, -1), (-1, -1), (-1, None)])  # label, judgement
    >>> s = score(
    ...     [{"label": a, "judgement": b, "question": i, "seconds": 0.5} for i, (a, b) in pairs]
    ... )
    >>> [s[k] for k in ("rows", "abstained", "exact", "error_acc", "correct_acc", "f1")]
    [4, 1, 0.5, 0.5, 0.5, 0.5]
    >>> s["precision"], s["recall"]
    (1.0, 0.5)
    """
    hit = [r["judgement"] is not None and r["judgement"] == r["label"] for r in rows]
    error = [r["label"] >= 0 for r in rows]
    alarm = [r["judgement"] is not None and r["judgement"] >= 0 for r in rows]
    found = [h for h, e in zip(hit, error, strict=True) if e]
    cleared = [h for h, e in zip(hit, error, strict=True) if not e]
    true = sum(a and e for a, e in zip(alarm, error, strict=True))
    precision, recall = _share(true, sum(alarm)), _share(true, sum(error))
    questions = [r["question"] for r in rows]
    f1_lo, f1_hi = f1_interval(hit, error, questions)
    bounds = {
        "exact": wilson(sum(hit), len(hit)),
        "error_acc": wilson(sum(found), len(found)),
        "correct_acc": wilson(sum(cleared), len(cleared)),
    }
    return {
        "rows": len(rows),
        "judged": sum(r["judgement"] is not None for r in rows),
        "abstained": sum(r["judgement"] is None for r in rows),
        "errors": sum(error),
        "with_solution": sum(bool(r.get("solution")) for r in rows),
        "exact": _share(sum(hit), len(hit)),
        "exact_se": clustered_se(np.array(hit, float), questions) if rows else float("nan"),
        "error_acc": _share(sum(found), len(found)),
        "correct_acc": _share(sum(cleared), len(cleared)),
        "f1": harmonic(_share(sum(found), len(found)), _share(sum(cleared), len(cleared))),
        "f1_lo": f1_lo,
        "f1_hi": f1_hi,
        "precision": precision,
        "recall": recall,
        "split_f1": harmonic(precision, recall),
        "false_alarms": _share(sum(alarm) - true, len(cleared)),
        "spearman": score_correlation(rows),
        "early": sum(
            a and r["judgement"] < r["label"]
            for r, a, e in zip(rows, alarm, error, strict=True)
            if e
        ),
        "late": sum(
            a and r["judgement"] > r["label"]
            for r, a, e in zip(rows, alarm, error, strict=True)
            if e
        ),
        "seconds": fmean([r["seconds"] for r in rows]) if rows else float("nan"),
        "calls": sum(r.get("judge_calls", 0) for r in rows),
        **{
            f"{k}_{end}": bound
            for k, pair in bounds.items()
            for end, bound in zip(("lo", "hi"), pair, strict=True)
        },
    }


def score_correlation(rows: Sequence[Row]) -> float:
    """Spearman's correlation of the scores that judgements and labels give, over the rows judged;
    NaN where either side does not vary, or the number of steps is not known.

    >>> said = [(3, 0, 0), (3, 1, 1), (3, 2, 2), (3, -1, 2)]  # steps, label, judgement
    >>> rows = [dict(zip(("steps", "label", "judgement"), row)) for row in said]
    >>> round(score_correlation(rows), 4)
    0.9487
    """
    judged = [r for r in rows if r["judgement"] is not None and r.get("steps")]
    true = pd.Series([_score(r["label"], r["steps"]) for r in judged], dtype=float)
    given = pd.Series([_score(r["judgement"], r["steps"]) for r in judged], dtype=float)
    if true.nunique() < 2 or given.nunique() < 2:
        return float("nan")
    return float(true.corr(given, method="spearman"))


def _score(first_wrong: int, steps: int) -> float:
    """(k - 1) / n of a first wrong step counted from 0; 1 where none is wrong (-1)."""
    return 1.0 if first_wrong < 0 else first_wrong / steps


def harmonic(a: float, b: float) -> float:
    """2ab / (a + b); 0 when both are 0, NaN when one is (a set without errors has no F1).

    >>> harmonic(0.5, 1.0), harmonic(0.0, 0.0)
    (0.6666666666666666, 0.0)
    """
    if isnan(a) or isnan(b):
        return float("nan")
    return 2 * a * b / (a + b) if a + b else 0.0


def f1_interval(
    hit: Sequence[bool],
    error: Sequence[bool],
    questions: Sequence[object],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap of ProcessBench's F1, questions drawn with replacement. NaN where
    it has none."""
    if not any(error) or all(error):
        return float("nan"), float("nan")
    _, which = np.unique(np.array([str(q) for q in questions]), return_inverse=True)
    h, e = np.array(hit, float), np.array(error, float)
    sums = np.stack(
        [np.bincount(which, w) for w in (h * e, e, h * (1 - e), 1 - e)], 1
    )  # (questions, 4)
    counts = (
        np.random.default_rng(seed).multinomial(
            len(sums), np.full(len(sums), 1 / len(sums)), size=draws
        )
        @ sums
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = counts[:, 0] / counts[:, 1], counts[:, 2] / counts[:, 3]
        f1 = np.where(a + b > 0, 2 * a * b / (a + b), np.where(np.isnan(a + b), np.nan, 0.0))
    low, high = np.nanquantile(f1, (0.025, 0.975))
    return float(low), float(high)


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """`score` of every subset, then of every file, in the order of the rows. Files of several
    subsets also get the plain mean of their F1s (`f1_mean`, ProcessBench's headline number)."""
    out = []
    for file in dict.fromkeys(r["file"] for r in rows):
        mine = [r for r in rows if r["file"] == file]
        subsets = list(dict.fromkeys(r["subset"] for r in mine))
        parts = (
            [
                {"file": file, "subset": s, **score([r for r in mine if r["subset"] == s])}
                for s in subsets
            ]
            if len(subsets) > 1
            else []
        )
        whole = {"file": file, "subset": "all" if parts else subsets[0], **score(mine)}
        if parts and not any(isnan(p["f1"]) for p in parts):
            whole["f1_mean"] = fmean(p["f1"] for p in parts)
        out += [*parts, whole]
    return out


def table(parts: Sequence[Mapping[str, Any]], reasons: Mapping[str, int] | None = None) -> str:
    """The table in Markdown; shares in percent, ± is the standard error clustered by question."""
    head = (
        "| data | rows | judged | abstained | exact | error acc | correct acc | F1 | 95 % |"
        " precision | recall | split F1 | false alarms | Spearman | s/row |"
    )
    lines = [head, "|---|" + "---:|" * (head.count("|") - 2)]
    for p in parts:
        name = p["file"] + (f"/{p['subset']}" if p["subset"] else "")
        interval = "–" if isnan(p["f1_lo"]) else f"{100 * p['f1_lo']:.1f}–{100 * p['f1_hi']:.1f}"
        exact = percent(p["exact"]) + (
            "" if isnan(p["exact_se"]) else f" ± {100 * p['exact_se']:.1f}"
        )
        shares = [percent(p[k]) for k in ("precision", "recall", "split_f1")]
        cells = [
            name,
            p["rows"],
            p["judged"],
            p["abstained"],
            exact,
            percent(p["error_acc"]),
            percent(p["correct_acc"]),
            percent(p["f1"]),
            interval,
            *shares,
            percent(p["false_alarms"]),
            correlation(p["spearman"]),
            f"{p['seconds']:.4f}",
        ]
        lines.append("| " + " | ".join(map(markdown_cell, cells)) + " |")
    lines += [
        "",
        (
            "F1: harmonic mean of the accuracies on rows with and without an error (ProcessBench)."
            " Rows abstained from count as wrong in every accuracy and as no alarm. False alarms:"
            " rows without an error in which one is seen. Spearman: of the score (k - 1) / n."
        ),
    ]
    lines += [
        f"{p['file']}: mean F1 of its subsets {percent(p['f1_mean'])}"
        for p in parts
        if "f1_mean" in p
    ]
    if reasons:
        lines.append(
            "set aside: "
            + ", ".join(f"{n} x {reason}" for reason, n in reasons.items())
            + " (quarantine.jsonl)"
        )
    return "\n".join(lines) + "\n"


def percent(share: float) -> str:
    return "–" if isnan(share) else f"{100 * share:.1f}"


def correlation(value: float) -> str:
    return "–" if isnan(value) else f"{value:.2f}"


def write(folder: Path, rows: Sequence[Row], reasons: Mapping[str, int] | None = None) -> str:
    """summary.json, summary.csv and table.md in the folder; returns the table."""
    parts = summary(rows)
    write_json(
        folder / "summary.json",
        {
            "parts": [
                {k: None if isinstance(v, float) and isnan(v) else v for k, v in p.items()}
                for p in parts
            ],
            "quarantined": dict(reasons or {}),
        },
    )
    write_text(folder / "summary.csv", csv_text(pd.DataFrame(parts)))
    text = table(parts, reasons)
    write_text(folder / "table.md", text)
    return text


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
