"""Which runs may be compared: what differs between the ways in which they were asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sage_bench.reporting.runs import EvalRun
from sage_bench.utils.errors import UsageError, did_you_mean

# what may differ: its name for --allow -> keys of a task's `sampling` in the manifest
KINDS = {
    "prompts": ("prompt_id",),
    "sampling": ("temperature", "top_p", "max_gen_toks"),
    "data": ("data_rev",),
}
GRADER = "grader"


def differences(a: EvalRun, b: EvalRun) -> dict[str, list[str]]:
    """What differs between two runs on the tasks they share, in words.

    By kind: `prompts`, `sampling`, `data`, `grader`; kinds that do not differ are left out.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for task in common_tasks([a, b]):
        one = a.manifest["sampling"][task]
        two = b.manifest["sampling"][task]
        for kind, keys in KINDS.items():
            for key in keys:
                if one.get(key) != two.get(key):
                    found[kind].append(f"{task}: {key} {one.get(key)} and {two.get(key)}")
    if a.manifest["grader"] != b.manifest["grader"]:
        found[GRADER] = [f"{a.manifest['grader']} and {b.manifest['grader']}"]
    return {kind: lines for kind, lines in found.items() if lines}


def common_tasks(runs: Sequence[EvalRun]) -> list[str]:
    """The tasks that all runs answered, in the order of the first."""
    return [t for t in runs[0].tasks if all(t in r.tasks for r in runs)]


def check(runs: Mapping[str, EvalRun], allow: Collection[str]) -> list[str]:
    """Notes on what differs from the first run and was allowed.

    Raises `UsageError` naming a difference that was not allowed, and for an unknown word.
    """
    known = (*KINDS, GRADER)
    for word in allow:
        if word not in known:
            raise UsageError(
                f"unknown difference `{word}`; {did_you_mean(word, known)}".rstrip("; "),
                where="--allow",
                remedy="one of " + ", ".join(known),
            )
    first, *others = runs
    notes = []
    for name in others:
        for kind, lines in differences(runs[first], runs[name]).items():
            shown = "; ".join(lines[:3])
            more = "; ..." if len(lines) > 3 else ""
            difference = f"{first} and {name} differ in {kind} ({shown}{more})"
            if kind not in allow:
                raise UsageError(
                    difference,
                    where=str(runs[name].folder),
                    remedy=f"compare runs that were asked alike, or add --allow {kind}",
                )
            notes.append(difference)
    return notes
