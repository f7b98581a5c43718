"""What has to be said under a table about the data its numbers come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sage_bench.evaluation.tasks.digests import unverified_rows
from sage_bench.reporting.runs import EvalRun


def data_notes(runs: Mapping[str, EvalRun]) -> list[str]:
    """Corrected golds by name, missing samples, incomplete data, left-out tasks, limits, data that
    differ.

    A line holds for all rows unless it begins with the name of one.
    """
    rows_of: dict[str, list[str]] = defaultdict(list)
    for name, run in runs.items():
        lines = _manifest_notes(run.manifest) + _training_notes(run.label)
        for task, status in run.lacking.items():
            lines.append(f"{task}: {status} samples; only questions that have all of them count.")
        if run.limited:
            lines.append(f"{run.limited}.")
        for line in lines:
            rows_of[line].append(name)
    out = []
    for line, names in rows_of.items():
        out.append(line if len(names) == len(runs) else f"{', '.join(names)}: {line}")
    editions: dict[str, set[str]] = defaultdict(set)
    for run in runs.values():
        for task in run.tasks:
            editions[task].add(run.manifest["sampling"][task]["data_rev"])
    for task, revisions in editions.items():
        if len(revisions) > 1:
            out.append(
                f"{task}: the rows answered different questions or golds; do not compare them."
            )
    return out


def _manifest_notes(manifest: Mapping[str, Any]) -> list[str]:
    out = []
    golds: Mapping[str, Mapping[str, Any]] = manifest.get("golds") or {}
    if golds and manifest.get("gold_corrections") == "off":
        out.append("Golds are as their sources have them, without our corrections.")
    for task, report in golds.items():
        if report.get("other_data"):
            out.append(f"{task}: OTHER DATA than the benchmark's: {report['other_data']}.")
        if report.get("unverified"):
            out.append(f"{task}: {unverified_rows(report)}.")
        facts = _gold_facts(report)
        if facts:
            out.append(f"{task}: {'; '.join(facts)}.")
    for task, skip in (manifest.get("skipped") or {}).items():
        out.append(f"{task}: not evaluated, {_reason_of_skip(skip)}.")
    return out


def _training_notes(label: Mapping[str, Any]) -> list[str]:
    """What the training of the evaluated weights lacked, or changed on the way."""
    out = []
    for what in label.get("degraded") or ():
        out.append(f"Trained without what the method builds on: {what}.")
    for what in label.get("recorded") or ():
        out.append(
            f"Trained on recorded groups: {what}. Rows on one record differ in credit alone."
        )
    for what in label.get("accepted_changes") or ():
        out.append(f"Changed while it was trained, and accepted: {what}.")
    return out


def _gold_facts(report: Mapping[str, Any]) -> list[str]:
    """What was done to a task's golds, and what its data lack."""
    facts = []
    if report["corrected"]:
        facts.append(f"golds corrected: {', '.join(report['corrected'])}")
    if report["excluded"]:
        left_out = ", ".join(report["excluded"])
        facts.append(f"questions left out as ill-posed or disputed: {left_out}")
    if report["quarantine"]:
        facts.append(f"{len(report['quarantine'])} unusable rows left out")
    if report["partial"]:
        expected = min(report["expected"])
        facts.append(f"only {report['found']} of {expected} questions were in the data")
    return facts


def _reason_of_skip(skip: Mapping[str, str]) -> str:
    if skip["status"] == "skipped_gated":
        return f"its terms are not accepted ({skip['url']})"
    return "its data could not be loaded"
