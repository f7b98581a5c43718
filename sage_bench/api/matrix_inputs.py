"""What every cell of a matrix is made from, and every mistake in it before the first one starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sage_bench.api.evaluation import settle
from sage_bench.api.matrix_sources import RECORDED, sources_of
from sage_bench.api.settings import evaluation_config, training_config
from sage_bench.config.layers import Resolved
from sage_bench.config.models import FAKE, path_of
from sage_bench.config.nesting import values_of
from sage_bench.config.schema import DataConfig, RunConfig
from sage_bench.data.hub import from_the_cache
from sage_bench.data.problems import load_problems
from sage_bench.data.registry import DATASETS
from sage_bench.data.rows import is_file
from sage_bench.engines.rollouts.registry import kind_and_argument
from sage_bench.evaluation.tasks.spec import task_files
from sage_bench.generation.model_folders import model_path
from sage_bench.generation.weights import hash_weights
from sage_bench.grading.registry import GRADERS
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.spec import EvaluationEntry, MatrixFile, Place, words_of
from sage_bench.study.matrix.state import EVALUATION
from sage_bench.training.columns import missing_columns
from sage_bench.training.identity import FREE, NAMES_OF_CONTENTS, method_digest
from sage_bench.types import Problem
from sage_bench.utils.errors import DataError, SageBenchError
from sage_bench.utils.secrets import masked

REFERENCE = "reference."  # before the inputs of the run whose budget is the measure
OF_RECORDS = "engine.recorded."  # keys that nothing reads where completions are drawn live
# keys of an evaluation that decide none of its answers, or are digested by themselves
NOT_ASKED = ("model.", "label", "cost.", "tasks", "sampler.threads")


@dataclass
class Checked:
    """online: whether the network may be asked for what is not here. inputs: of each cell, by its
    name. mistakes: each with line, key and remedy. missing: what is not on this machine. trainings:
    the configuration of each training; rows: how many problems it has, where they are here.
    goes_on: those that may go on to a longer schedule."""

    online: bool = False
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    trainings: dict[str, Resolved[RunConfig]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    goes_on: set[str] = field(default_factory=set)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)

    def mistake(self, text: str) -> None:
        """Note a mistake once, however many cells have it."""
        if text not in self.mistakes:
            self.mistakes.append(text)

    def lacks(self, text: str) -> None:
        """Note something that is missing here, once."""
        if text not in self.missing:
            self.missing.append(text)


def check(file: MatrixFile, cells: Sequence[Cell], *, online: bool = False) -> Checked:
    """Resolve every cell as its command would, and find what is wrong or missing. Loads no weights.

    online: fetch data that are not on this machine; else they are listed as missing.
    """
    found = Checked(online)
    for cell in cells:
        if cell.kind == "train":
            found.inputs[cell.name] = _training(file, cell, found)
        elif cell.kind == "eval":
            found.inputs[cell.name] = _evaluation(file, cell, found)
        else:
            found.inputs[cell.name] = {"select": file.spec.select}
    for cell in cells:  # those that a cell needs stand before it
        _add_upstream(cell, found.inputs)
    return found


def _add_upstream(cell: Cell, inputs: Mapping[str, dict[str, Any]]) -> None:
    """A cell is made from all that the cells it needs are made from."""
    for need in cell.after:
        prefix = ""
        if cell.budget is not None and need == cell.budget.reference:
            prefix = REFERENCE
        for key, value in inputs.get(need, {}).items():
            inputs[cell.name].setdefault(prefix + key, value)


# ---- training -----------------------------------------------------------------------------------
def _training(file: MatrixFile, cell: Cell, found: Checked) -> dict[str, Any]:
    try:
        resolved = _resolve(cell.words)
    except SageBenchError as error:
        found.mistake(_placed(file, cell, error))
        return {}
    found.trainings[cell.name] = resolved
    config = resolved.config
    method = BACKENDS.get(config.backend)
    try:
        make_config(method, config.method, "method")
    except SageBenchError as error:
        found.mistake(_placed(file, cell, error))
        return {}
    if config.optim.schedule == "constant" and not method.uses_progress:
        found.goes_on.add(cell.name)
    if cell.budget is not None and config.train.epochs is not None:
        place = file.at(*cell.place)
        found.mistake(f"{place}: `{cell.row}` has train.epochs; equal budgets need train.steps")
    _check_selection(file, cell, config, found)
    _check_data(file, cell, config, found)
    values = masked(values_of(config))
    left_out = [*FREE, *NAMES_OF_CONTENTS]
    if kind_and_argument(config.engine.rollouts)[0] != RECORDED:
        left_out.append(OF_RECORDS)
    inputs = {k: v for k, v in values.items() if not k.startswith(tuple(left_out))}
    path = model_path(config.model.path)
    if path.startswith(FAKE):
        found.mistake(f"{_model_place(file, cell)}: `{path}` has no weights to train")
        return {}
    if not Path(path).exists():
        _lacks_model(path, found)
    if cell.budget is not None:
        inputs.pop("train.steps", None)  # it follows from the reference
        inputs["equal"] = cell.budget.unit
    for source in sources_of(config):
        inputs[source.key] = source.digest
        if source.lacking:
            found.lacks(f"{file.at(*cell.place)}: {source.lacking}")
    return inputs | {
        "weights": hash_weights(path, config.model.revision),
        "data": _data_digest(config.data.source, found.online),
        "method source": method_digest(method),
        "prompts": _file_digest(config.prompts) if config.prompts else None,
    }


def _resolve(words: Sequence[str]) -> Resolved[RunConfig]:
    """The configuration of a `train` command."""
    flags: dict[str, Any] = {"backend_files": [], "configs": []}
    names = {"--backend-file": "backend_files", "--config": "configs"}
    overrides = []
    rest = iter(words[1:])
    for word in rest:
        if word in names:
            flags[names[word]].append(next(rest))
        elif word.startswith("--"):
            flags[word.removeprefix("--")] = next(rest)
        else:
            overrides.append(word)
    flags.pop("out")
    return training_config(overrides=overrides, **flags)


def _check_selection(file: MatrixFile, cell: Cell, config: RunConfig, found: Checked) -> None:
    if file.spec.select != "best":
        return
    saved, measured = config.train.save_every, config.validation.every
    if config.validation.source is None:
        found.mistake(
            f"{file.at('select')}: `best` needs a validation set, and `{cell.row}` of"
            f" {cell.model.name} has none: set validation.source"
        )
    elif saved % measured and config.train.steps % measured:
        found.mistake(
            f"{file.at('select')}: no checkpoint of `{cell.row}` meets a validation: save_every is"
            f" {saved}, validation.every {measured}"
        )


# ---- data ---------------------------------------------------------------------------------------
def _check_data(file: MatrixFile, cell: Cell, config: RunConfig, found: Checked) -> None:
    """Whether the data are here and have the columns that the method reads."""
    data = config.data
    key = (data.source, data.limit, tuple(sorted(data.columns.items())), config.grader)
    problems, reason = _problems(*key, found.online)
    if problems is None:
        if is_file(data.source):
            found.mistake(f"{_data_place(file)}: {reason}")
        else:
            found.lacks(f"training data `{data.source}`: {_here(reason)}")
        return
    found.rows[cell.name] = len(problems)
    method = BACKENDS.get(config.backend)
    lacking = missing_columns(method, make_config(method, config.method, "method"), problems)
    if lacking and not config.train.allow_degraded:
        found.mistake(
            f"{file.at(*cell.place)}: {data.source} lacks what `{config.backend}` reads:"
            f" {'; '.join(lacking)}. Give data with it, or train.allow_degraded: true"
        )


@lru_cache(maxsize=32)
def _problems(
    source: str,
    limit: int | None,
    columns: tuple[tuple[str, str], ...],
    grader: str,
    online: bool,
) -> tuple[Sequence[Problem] | None, str]:
    """The problems of a source, or None and why there are none."""
    config = DataConfig(source=source, limit=limit, columns=dict(columns))
    try:
        with from_the_cache(not online):
            loaded = load_problems(config, GRADERS.get(grader)(), lambda p: 0, 1)
    except DataError as error:
        return None, error.what
    return loaded.problems, ""


@lru_cache(maxsize=32)
def _data_digest(source: str, online: bool) -> str:
    """Digest of a file, or of the rows of a registered dataset that is made here; the name of one
    that has to be fetched."""
    if is_file(source):
        return _file_digest(source)
    if _problems(source, None, (), "robust", online)[0] is None:
        return source
    digest = hashlib.sha256()
    with from_the_cache(not online):
        for row in DATASETS.get(source)():
            digest.update(json.dumps(dict(row), sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)
def _file_digest(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        return "missing"
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()[:16]


# ---- evaluation ---------------------------------------------------------------------------------
def entry_of(file: MatrixFile, cell: Cell) -> EvaluationEntry:
    """What a cell asks: the benchmarks, or training prompts."""
    on_prompts = file.spec.prompts if cell.place == ("prompts",) else None
    return on_prompts or file.spec.evaluation


def _evaluation(file: MatrixFile, cell: Cell, found: Checked) -> dict[str, Any]:
    root = "prompts" if entry_of(file, cell) is file.spec.prompts else "evaluation"
    if root not in found.asked:  # the same for every row and seed
        found.asked[root] = _asked(file, cell, root, found)
    inputs = dict(found.asked[root])
    if cell.seed is None:
        path = cell.model.path
        if not path.startswith(FAKE):
            path = path_of(path)
            if not Path(path).exists():
                _lacks_model(path, found)
        inputs["weights"] = path if path.startswith(FAKE) else hash_weights(path, None)
    return inputs


def _asked(file: MatrixFile, cell: Cell, root: str, found: Checked) -> dict[str, Any]:
    """What decides the answers of an evaluation besides the weights."""
    spec = entry_of(file, cell)
    flags = {
        "model.path": cell.model.path,
        "tasks": list(spec.tasks),
        "data.files": list(spec.data) or None,
        "sampling.limit": spec.limit,
    }
    try:
        config = evaluation_config(flags=flags, overrides=words_of(spec.set)).config
        asked = settle(config)
    except SageBenchError as error:
        found.mistake(_placed(file, cell, error, (root,)))
        return {}
    values = masked(values_of(config))
    inputs = {f"{EVALUATION}{k}": v for k, v in values.items() if not k.startswith(NOT_ASKED)}
    inputs[f"{EVALUATION}tasks"] = dict(asked.tasks)
    files = task_files()
    for task in asked.tasks:
        text = json.dumps(files[task].values, sort_keys=True, default=str)
        inputs[f"{EVALUATION}task {task}"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    for name in spec.data:
        inputs[f"{EVALUATION}data {name}"] = _file_digest(name.partition("=")[2] or name)
    return inputs


def missing_benchmarks(file: MatrixFile, *, online: bool = False) -> Iterator[str]:
    """Tasks whose rows are not on this machine, nor to be had where the network may be asked."""
    from sage_bench.evaluation.tasks.loading import load

    spec = file.spec.evaluation
    flags = {"model.path": "fake:0", "tasks": list(spec.tasks), "data.files": list(spec.data)}
    asked = settle(evaluation_config(flags={k: v or None for k, v in flags.items()}).config)
    for task, n in asked.tasks.items():
        try:
            with from_the_cache(not online):
                _, skipped = load({task: n}, asked.data)
        except SageBenchError as error:
            yield f"benchmark `{task}`: {_here(error.what)}"
            continue
        for skip in skipped.values():
            yield f"benchmark `{task}`: {_here(skip['why'])}"


def _here(reason: str) -> str:
    """Without what is only true while we look: the network was not asked."""
    return reason.removesuffix(", and the network is switched off")


# ---- places -------------------------------------------------------------------------------------
def _lacks_model(path: str, found: Checked) -> None:
    """Note a model of the Hub that is not here, and cannot be fetched where that is allowed."""
    from transformers.utils.hub import cached_file

    try:
        with from_the_cache(not found.online):
            cached_file(path, "config.json", local_files_only=not found.online)
    except OSError as error:
        reason = "not in the cache of this machine" if not found.online else str(error)
        found.lacks(f"model {path}: {reason.splitlines()[0]}")


def _model_place(file: MatrixFile, cell: Cell) -> str:
    names = [m.name for m in file.spec.models]
    return file.at("models", names.index(cell.model.name))


def _data_place(file: MatrixFile) -> str:
    return file.at("data") if file.spec.data is not None else file.at("models")


def _placed(file: MatrixFile, cell: Cell, error: SageBenchError, root: Place | None = None) -> str:
    """An error of a cell's command with the line of the matrix it comes from."""
    key = (error.where or "").rpartition(": ")[2]
    place = _place_of(file, cell, key, error, root)
    remedy = f" Remedy: {error.remedy}" if error.remedy else ""
    named = f"`{key}` " if key and "." in key and " " not in key else ""
    return f"{file.at(*place)}: {named}{error.what}.{remedy}"


def _place_of(
    file: MatrixFile, cell: Cell, key: str, error: SageBenchError, root: Place | None
) -> Place:
    spec = file.spec
    if root is not None:
        return _deepest(file, (*root, "set"), key) or (root if root else cell.place)
    if "backend" in error.what.split("`")[0] and "`" in error.what:
        return cell.place
    models = [m.name for m in spec.models]
    of_model: Place = ("models", models.index(cell.model.name))
    for section in ((*cell.place, "set"), (*of_model, "set"), ("set",)):
        found = _deepest(file, section, key)
        if found is not None:
            return found
    if key == "data.source" or (spec.data is not None and error.where == spec.data):
        return ("data",)
    if cell.model.path in f"{error.what} {error.where}":
        return of_model
    return cell.place


def _deepest(file: MatrixFile, section: Place, key: str) -> Place | None:
    """The place of a key below a section, dotted or nested."""
    parts = key.split(".") if key else []
    candidates: list[Place] = [(*section, key), (*section, *parts)]
    for known in file.lines:
        if known[: len(section)] == section and len(known) > len(section):
            candidates.append(known)
    for place in candidates:
        below = ".".join(map(str, place[len(section) :]))
        if place in file.lines and below and key and (below == key or key.startswith(below + ".")):
            return place
    return None
