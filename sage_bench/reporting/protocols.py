"""What makes two numbers of one column comparable: the protocol they were measured under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.reporting.runs import EvalRun

# what of a task's sampling decides its numbers, whatever the model
KEYS = ("temperature", "top_p", "max_gen_toks", "data_rev")


def protocol(run: EvalRun, task: str) -> dict[str, Any]:
    """Sampling, data and grader; `prompt_id` too, which models with templates do not share."""
    sampling: Mapping[str, Any] = run.manifest["sampling"][task]
    graders = run.manifest.get("graders") or {}
    found = {key: sampling.get(key) for key in KEYS}
    found["grader"] = graders.get(task, run.manifest["grader"])
    found["prompt_id"] = sampling.get("prompt_id")
    return found


def protocol_differences(runs: Sequence[EvalRun]) -> list[str]:
    """Every difference between runs of one benchmark, in words; the first run is the measure.

    Prompts are held against those of the same model only: another model has another chat template.
    """
    first: dict[str, tuple[EvalRun, dict[str, Any]]] = {}
    prompts: dict[tuple[str, str], tuple[EvalRun, Any]] = {}
    models = model_names(runs)
    out = []
    for run in runs:
        for task in run.tasks:
            own = protocol(run, task)
            prompt = own.pop("prompt_id")
            other, theirs = first.setdefault(task, (run, own))
            for key, value in own.items():
                if value != theirs[key]:
                    out.append(_words(task, key, theirs[key], other, value, run))
            other, their_prompt = prompts.setdefault((models[run.folder], task), (run, prompt))
            if prompt != their_prompt:
                out.append(_words(task, "prompt_id", their_prompt, other, prompt, run))
    return out


def shares_order(a: Sequence[EvalRun], b: Sequence[EvalRun]) -> bool:
    """Whether training runs of one seed saw the same prompts in the same order, in both methods.

    Checkpoints say so; where they do not, seeds count as independent.
    """
    orders = {run.label.get("train_seed"): run.label.get("data_order") for run in a}
    shared = [run for run in b if run.label.get("train_seed") in orders]
    return bool(shared) and all(
        run.label.get("data_order") is not None
        and run.label["data_order"] == orders[run.label.get("train_seed")]
        for run in shared
    )


def _words(task: str, key: str, value: Any, run: EvalRun, other: Any, other_run: EvalRun) -> str:
    return f"{task}: {key} {value} in {run.folder} and {other} in {other_run.folder}"


UNNAMED = "model not named"


def known_model(run: EvalRun) -> str | None:
    """What a run's model is called; None where a method's weights do not say what they were.

    Given to `eval`, a preset, what training began from, or, where no method is named, the model
    itself.
    """
    label = run.label
    named = label.get("model_name") or label.get("preset") or _base_name(label)
    if named is None and label.get("method") in {None, "base"}:
        named = run.model
    return None if named is None else str(named)


def _base_name(label: Mapping[str, Any]) -> str | None:
    """The name of what training began from: of a folder its last part, wherever it lay."""
    base = label.get("base_model")
    return Path(base).name if base and Path(base).is_absolute() else base


def model_names(runs: Sequence[EvalRun]) -> dict[Path, str]:
    """The model of every run, by folder; one that does not say is of the only one that is known."""
    known = {run.folder: known_model(run) for run in runs}
    hashes: dict[str, set[str]] = {}
    for run in runs:
        if "base_weights" in run.label and (name := known[run.folder]) == _base_name(run.label):
            hashes.setdefault(str(name), set()).add(run.label["base_weights"])
    for run in runs:
        # two folders of one name hold different models: their contents tell them apart
        name = known[run.folder]
        if name and len(hashes.get(name, ())) > 1 and "base_weights" in run.label:
            known[run.folder] = f"{name} ({run.label['base_weights'][:6]})"
    named = {name for name in known.values() if name is not None}
    other = named.pop() if len(named) == 1 else UNNAMED
    return {folder: other if name is None else name for folder, name in known.items()}
