"""`sage-bench grade FILE.jsonl`: completions that were recorded elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.grading.cache import DEFAULT
from sage_bench.grading.grader_study.measure import read_reasons
from sage_bench.grading.grader_study.recorded import grade_recorded, read_recorded, shares
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import write_text
from sage_bench.utils.progress import Bar, stderr


def grade_files(
    paths: Sequence[Path],
    names: Sequence[str],
    *,
    by: str | None,
    gold: str,
    text: str,
    stated: bool,
    adjudications: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Grade every row of every file and print shares by group, then each row whose label a grader
    does not share."""
    for path in paths:
        if not path.is_file():
            raise UsageError(
                "files and folders cannot be graded in one call",
                where=str(path),
                remedy="call twice",
            )
    reasons = (
        {key: reason for key, (_, reason) in read_reasons(adjudications).items()}
        if adjudications
        else {}
    )
    graders = list(names) or [DEFAULT]
    tables = []
    for path in paths:
        rows, bad = read_recorded(path, by, gold=gold, text=text, stated=stated)
        for row in bad[:5]:
            stderr().print(f"quarantined {row.where}: {row.reason}", markup=False)
        with Bar(f"grade {path.name}", len(rows) * len(graders), quiet=quiet) as bar:
            graded = grade_recorded(rows, graders, lambda name, bar=bar: bar.advance(note=name))
        tables.append((path, graded.assign(file=path.stem), len(bad)))
    everything = pd.concat([g for _, g, _ in tables], ignore_index=True)
    if out:
        write_text(
            out,
            "".join(
                json.dumps(r, ensure_ascii=False) + "\n"
                for r in (
                    everything.astype(object).where(everything.notna(), None).to_dict("records")
                )
            ),
        )
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "file": str(path),
                        "quarantined": bad,
                        "shares": shares(graded).reset_index().to_dict("records"),
                        "differences": differences(graded, reasons),
                    }
                    for path, graded, bad in tables
                ],
                indent=1,
                ensure_ascii=False,
            )
        )
        return
    for path, graded, bad in tables:
        _show(path, graded, bad, reasons)


def differences(
    graded: pd.DataFrame, reasons: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """Rows whose label a grader does not share, with the reason where somebody has read them."""
    known = graded.dropna(subset=["label"])
    return [
        {
            **{k: r[k] for k in ("grader", "row", "group", "gold", "correct", "status")},
            "extracted": None if pd.isna(r["extracted"]) else r["extracted"],
            "label": bool(r["label"]),
            "reason": reasons.get((r["file"], str(r["row"]))),
        }
        for r in known[known["correct"] != known["label"]].to_dict("records")
    ]


def _show(
    path: Path, graded: pd.DataFrame, bad: int, reasons: Mapping[tuple[str, str], str]
) -> None:
    table = shares(graded)
    width = max(len(str(g)) for g in [*table.index, "group"])
    names = [c for c in table.columns if c != "rows" and not table[c].isna().all()]
    print(f"{'group':<{width}}  {'rows':>6}  " + "  ".join(f"{n:>{max(len(n), 6)}}" for n in names))
    for group, row in table.iterrows():
        print(
            f"{group:<{width}}  {int(row['rows']):>6}  "
            + "  ".join(f"{row[n]:>{max(len(n), 6)}.1f}" for n in names)
        )
    for d in differences(graded, reasons):
        verdict = "right" if d["correct"] else "wrong"
        answer = d["extracted"] if d["extracted"] is not None else d["status"]
        print(
            f"{d['grader']} says {verdict}, the label not: row {d['row']} ({d['group']}), gold"
            f" {d['gold']}, answer {answer}" + (f": {d['reason']}" if d["reason"] else "")
        )
    print(
        f"{path}: {len(graded) // graded.grader.nunique()} rows, {bad} quarantined; percent of"
        " right completions"
    )
