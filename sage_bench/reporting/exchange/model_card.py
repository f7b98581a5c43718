"""A model folder that others can load and publish: weights, tokenizer, and a card with the scores.

The folder holds what `transformers` and vLLM read, and nothing of the training run: no optimiser
state, no state of the method.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.config.models import path_of
from sage_bench.data.schema import EvalManifest, TrainConfig, TrainManifest
from sage_bench.evaluation.runner import slug
from sage_bench.generation import adapters
from sage_bench.generation.model_folders import LABEL, check_folder, checkpoints
from sage_bench.reporting.exchange import hub_results
from sage_bench.reporting.exchange.scores import AVERAGE, Finished, finished
from sage_bench.reporting.runs import kind_of
from sage_bench.utils.cells import markdown_cell
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import make_folder, read_json, write_text, writing
from sage_bench.version import VERSION

CARD = "README.md"
# what a checkpoint has for the run to go on; a published model has no use for it
OF_THE_RUN = ("optimizer.safetensors", "engine.json", "method.json", "run.json", "files.json")


def write(
    folder: Path, out: Path, *, name: str | None = None, grader: str | None = None
) -> list[Path]:
    """The model of an evaluation, or the newest checkpoint of a training run, with its card.

    `out` may be the model's own folder, which then gets the card. Raises `UsageError` where the
    model is not a folder on this machine or is adapters alone, or `out` holds other things.
    """
    is_run = (folder / "manifest.json").is_file()
    kind = kind_of(folder) if is_run else ""
    evaluation = finished(folder, name, grader) if kind == "eval" else None
    source = _model_of(folder, kind)
    if adapters.base_of(source) is not None:
        raise UsageError(
            "these are adapters, not a model that others load by itself",
            where=str(source),
            remedy=f"`sage-bench export {source} --merge --out MODEL`, then export MODEL",
        )
    check_folder(str(source))
    _check_out(out, source)
    make_folder(out)
    files = [] if out.resolve() == source.resolve() else _copy(source, out)
    label = read_json(source / LABEL) if (source / LABEL).is_file() else {}
    trained = _training(source)
    shown = name or (evaluation.name if evaluation else f"local/{slug(str(source))}")
    write_text(out / CARD, card(shown, label, trained, evaluation))
    files.append(out / CARD)
    if evaluation is not None and not evaluation.run.limited and hub_results.entries(evaluation):
        files += hub_results.write(evaluation, out)
    return files


def _check_out(out: Path, source: Path) -> None:
    """What lies in the way is only replaced where it was exported, too."""
    ours = out.resolve() == source.resolve() or (out / LABEL).exists()
    if out.is_dir() and not ours and any(p.name != CARD for p in out.iterdir()):
        raise UsageError(
            "the folder holds other things", where=str(out), remedy="give an empty --out"
        )


def _model_of(folder: Path, kind: str) -> Path:
    if kind == "eval":
        stated = EvalManifest.read(folder / "manifest.json").model
        found = Path(path_of(stated))
        if not found.is_dir():
            raise UsageError(
                f"the evaluated model `{stated}` is not a folder on this machine",
                where=str(folder),
                remedy="export the checkpoint's own folder, or where its weights are",
            )
        return found
    if kind == "train":
        found_steps = checkpoints(folder)
        if not found_steps:
            raise DataError(
                "the run has no checkpoint yet", where=str(folder), remedy="train it further"
            )
        return found_steps[-1]
    return folder


def _copy(source: Path, out: Path) -> list[Path]:
    files = []
    for file in sorted(p for p in source.iterdir() if p.is_file()):
        if file.name in OF_THE_RUN or file.name.startswith(".") or file.name == CARD:
            continue
        target = out / file.name
        with writing(target):
            target.unlink(missing_ok=True)
            # weights are large and nobody edits them; a text file may be edited where it lies
            if file.suffix != ".safetensors" or not _linked(file, target):
                shutil.copyfile(file, target)
        files.append(target)
    return files


def _linked(file: Path, target: Path) -> bool:
    """Whether one copy on the disk could serve both; not across disks."""
    try:
        os.link(file, target)
    except OSError:
        return False
    return True


def _training(source: Path) -> tuple[TrainManifest, Mapping[str, Any]] | None:
    """Manifest and configuration of the run a checkpoint lies in, where they are here."""
    run = source.parent.parent
    if not (run / "manifest.json").is_file() or not (run / "config.json").is_file():
        return None
    if kind_of(run) != "train":
        return None
    return TrainManifest.read(run / "manifest.json"), TrainConfig.read(run / "config.json").values


# ---- the card -----------------------------------------------------------------------------------
def card(
    name: str,
    label: Mapping[str, Any],
    trained: tuple[TrainManifest, Mapping[str, Any]] | None,
    evaluation: Finished | None,
) -> str:
    """README.md: metadata for the Hub, how it was trained, how it scored, how to load it."""
    from huggingface_hub import ModelCardData

    base = str(label.get("base_model") or "")
    is_hub_id = base.count("/") == 1 and not base.startswith((".", "/")) and ":" not in base
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=base if is_hub_id else None,
        tags=["sage-bench", *([str(label["backend"])] if label.get("backend") else [])],
        model_name=name,
    )
    parts = [f"---\n{data.to_yaml()}\n---", f"# {markdown_cell(name)}", _origin(label, base)]
    if trained is not None:
        parts += ["## Training", _training_table(*trained)]
    if evaluation is not None:
        parts += ["## Evaluation", _score_table(evaluation)]
    parts += ["## Use", _USE.format(name=name)]
    return "\n\n".join(parts) + "\n"


_USE = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```

Give the name under which you published the folder, or its path. With vLLM: `vllm serve {name}`."""


def _origin(label: Mapping[str, Any], base: str) -> str:
    method = label.get("backend")
    if not method:
        return f"Evaluated with sage-bench {VERSION}."
    text = f"Trained with sage-bench {VERSION} by the method `{method}`"
    text += f" from `{markdown_cell(base)}`" if base else ""
    return f"{text}, seed {label.get('seed')}, {label.get('step')} steps."


def _training_table(manifest: TrainManifest, values: Mapping[str, Any]) -> str:
    shown = {
        "method": manifest.backend,
        "data": f"{values.get('data.source')} ({manifest.data.get('problems', '?')} problems)",
        "grader": manifest.grader,
        "prompts a step": values.get("train.prompts_per_step"),
        "planned steps": manifest.steps,
        "learning rate": values.get("optim.lr"),
        "longest completion": values.get("sampling.max_tokens"),
    }
    if manifest.recorded:
        shown["recorded groups"] = manifest.recorded
    rows = [f"| {key} | {markdown_cell(value)} |" for key, value in shown.items()]
    for what in (*manifest.degraded, *map(str, manifest.accepted_changes)):
        rows.append(f"| not as its name says | {markdown_cell(what)} |")
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _score_table(evaluation: Finished) -> str:
    rows = ["| benchmark | metric | score | ± SE | 95 % interval | questions |"]
    rows.append("|---|---|---:|---:|---:|---:|")
    for score in evaluation.scores:
        error = "–" if score.se is None else f"{100 * score.se:.1f}"
        interval = "–"
        if score.low is not None and score.high is not None:
            interval = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
        metric = score.metric
        if metric == AVERAGE:
            metric = f"avg@{score.samples}"
        cells = [score.task, metric, f"{100 * score.value:.1f}", error, interval, score.questions]
        rows.append("| " + " | ".join(markdown_cell(c) for c in cells) + " |")
    notes = ["", "In percent; standard errors are clustered by question."]
    if evaluation.run.limited:
        notes.append(f"{evaluation.run.limited}: these are not results of the benchmarks.")
    return "\n".join([*rows, *notes])
