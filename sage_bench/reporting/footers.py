"""What has to be said under a table about the data its numbers come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sage_bench.reporting.runs import EvalRun


def data_notes(runs: Mapping[str, EvalRun]) -> list[str]:
    """Corrected golds by name, incomplete data, tasks that were left out, limits, and data that
    differ between rows.

    A line holds for all rows unless it begins with the name of one.
    """
    lines: dict[str, list[str]] = defaultdict(list)
    for name, run in runs.items():
        for line in _of(run.manifest) + ([f"{run.limited}."] if run.limited else []):
            lines[line].append(name)
    out = [
        line if len(names) == len(runs) else f"{', '.join(names)}: {line}"
        for line, names in lines.items()
    ]
    editions: dict[str, set[str]] = defaultdict(set)
    for run in runs.values():
        for task in run.tasks:
            editions[task].add(run.manifest["sampling"][task]["data_rev"])
    return out + [
        f"{task}: the rows answered different questions or golds; do not compare them."
        for task, revisions in editions.items()
        if len(revisions) > 1
    ]


def _of(manifest: Mapping[str, Any]) -> list[str]:
    out = []
    golds: Mapping[str, Mapping[str, Any]] = manifest.get("golds") or {}
    if golds and manifest.get("gold_corrections") == "off":
        out.append("Golds are as their sources have them, without our corrections.")
    for task, report in golds.items():
        said = [f"golds corrected: {', '.join(report['corrected'])}"] if report["corrected"] else []
        said += (
            [f"questions left out as ill-posed or disputed: {', '.join(report['excluded'])}"]
            if report["excluded"]
            else []
        )
        said += (
            [f"{len(report['quarantine'])} unusable rows left out"] if report["quarantine"] else []
        )
        said += (
            [f"only {report['found']} of {min(report['expected'])} questions were in the data"]
            if report["partial"]
            else []
        )
        if said:
            out.append(f"{task}: {'; '.join(said)}.")
    out += [
        f"{task}: not evaluated, {_why(skip)}."
        for task, skip in (manifest.get("skipped") or {}).items()
    ]
    return out


def _why(skip: Mapping[str, str]) -> str:
    return (
        f"its terms are not accepted ({skip['url']})"
        if skip["status"] == "skipped_gated"
        else "its data could not be loaded"
    )
