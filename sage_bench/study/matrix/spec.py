"""The file of a matrix: what is trained from what, how often, and on what it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from sage_bench.config.files import read_yaml
from sage_bench.config.nesting import flatten
from sage_bench.config.schema import Section
from sage_bench.utils.errors import UsageError, did_you_mean

BASE = "base"  # the row of the policy as it is; it is not trained
Place = tuple[str | int, ...]


class ModelEntry(Section):
    """A policy to start from. A plain string is both name and model."""

    name: str = Field(min_length=1, description="what tables call it")
    model: str = Field("", description="preset, folder, Hub id or fake:P; the name unless given")
    set: dict[str, Any] = Field(
        default_factory=dict, description="keys of the training configuration, for this model"
    )
    parameters: float | None = Field(
        None, gt=0, description="how many the policy has, for the disk of `--dry-run`"
    )

    @property
    def path(self) -> str:
        """What `--model` is given."""
        return self.model or self.name


class BackendEntry(Section):
    """A row of the table: a backend, or a variant of one. A plain string is both."""

    name: str = Field(min_length=1, description="what tables call the row")
    backend: str = Field("", description="method to train with; the name unless given")
    backend_files: tuple[str, ...] = Field(
        (), description="Python files that register it, for this row alone"
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="keys of the training configuration, for this row"
    )
    models: tuple[str, ...] | None = Field(None, description="names of models; all unless given")
    seeds: int | None = Field(None, ge=1, description="only the first of the seeds")

    @field_validator("backend_files", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @property
    def method(self) -> str:
        """What `--backend` is given."""
        return self.backend or self.name


class EqualBudget(Section):
    """Rows that are trained until they have sampled as much as the reference did."""

    rollouts: tuple[str, ...] = Field((), description="rows trained to as many completions")
    tokens: tuple[str, ...] = Field((), description="rows trained to as many sampled tokens")
    reference: str = Field("sage", description="the row that says how many, by model and seed")
    models: tuple[str, ...] | None = Field(None, description="names of models; all unless given")
    seeds: int | None = Field(None, ge=1, description="only the first of the seeds")


class EvaluationEntry(Section):
    """How every policy is evaluated."""

    tasks: tuple[str, ...] = Field((), description="tasks with samples a question (tiny:4)")
    limit: int | None = Field(None, ge=1, description="first questions of each task only")
    data: tuple[str, ...] = Field((), description="TASK=FILE instead of the Hub, or folders")
    set: dict[str, Any] = Field(
        default_factory=dict, description="keys of the evaluation's configuration"
    )

    @field_validator("tasks", "data", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Room(Section):
    """What one cell takes of a machine."""

    cores: int = Field(1, ge=1, description="processor cores")
    memory_gb: float = Field(2.0, gt=0, description="main memory")
    gpus: float = Field(0, ge=0, description="accelerators")


class Resources(Section):
    """What cells take of a machine, by kind."""

    train: Room = Field(default_factory=Room)
    eval: Room = Field(default_factory=Room)


class Assumptions(Section):
    """What `--dry-run` reckons with while no cell of a kind has finished."""

    tokens_per_second: float = Field(2000.0, gt=0, description="what one cell generates")
    length: float = Field(0.5, gt=0, le=1, description="mean completion, as a share of max_tokens")
    learning: float = Field(0.5, ge=0, description="time of the updates, as a share of sampling")
    extra: float = Field(
        0.5, ge=0, description="further rollouts of methods that retry, as a share of a group"
    )
    rows: int = Field(
        15_000, ge=1, description="training prompts, for epochs over data that are not here"
    )
    start_seconds: float = Field(60.0, ge=0, description="until a cell samples its first token")


class Slurm(Section):
    """What the batch files of `--executor slurm` begin with."""

    options: tuple[str, ...] = Field((), description="of sbatch, e.g. --partition=gpu")
    setup: tuple[str, ...] = Field((), description="lines of shell before a cell")


class MatrixSpec(Section):
    """A whole study."""

    name: str = Field(min_length=1, description="of the study; the table's title")
    out: str | None = Field(None, description="folder of the study; --out stands over it")
    models: tuple[ModelEntry, ...] = Field(min_length=1, description="initial policies")
    backends: tuple[BackendEntry, ...] = Field(min_length=1, description="rows of the table")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="a list, or how many from 0")
    data: str | None = Field(None, description="training data; the preset's unless given")
    config: tuple[str, ...] = Field((), description="`--config` files or presets of every training")
    backend_files: tuple[str, ...] = Field((), description="Python files that register backends")
    set: dict[str, Any] = Field(
        default_factory=dict, description="keys of the training configuration, for all rows"
    )
    select: Literal["last", "best"] = Field(
        "last", description="checkpoint that is evaluated: the last, or the best on validation"
    )
    equal: EqualBudget = Field(default_factory=EqualBudget)
    evaluation: EvaluationEntry
    prompts: EvaluationEntry | None = Field(
        None, description="training prompts on which the policies are sampled as they are"
    )
    reference: str | None = Field(None, description="a paper's table beside ours")
    baseline: str | None = Field(None, description="the row others are tested against")
    resources: Resources = Field(default_factory=Resources)
    assume: Assumptions = Field(default_factory=Assumptions)
    slurm: Slurm = Field(default_factory=Slurm)

    @field_validator("models", "backends", mode="before")
    @classmethod
    def _plain_names(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [{"name": entry} if isinstance(entry, str) else entry for entry in value]

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return list(range(value))
        return value

    @field_validator("config", "backend_files", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def seeds_of(self, only_first: int | None) -> tuple[int, ...]:
        """The training seeds of a row."""
        return self.seeds[:only_first]


# ---- reading ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class MatrixFile:
    """A matrix and where each of its keys stands. lines: line of every place in the file."""

    spec: MatrixSpec
    path: Path
    lines: Mapping[Place, int]

    def at(self, *place: str | int) -> str:
        """`file:line: key` of a place, or of the nearest one around it that stands in the file."""
        return place_text(self.path, self.lines, place)


def place_text(path: Path, lines: Mapping[Place, int], place: Place) -> str:
    """`file:line: key`, with the line of the nearest place around it that stands in the file."""
    known = place
    while known and known not in lines:
        known = known[:-1]
    line = f":{lines[known]}" if known else ""
    return f"{path}{line}: {key_of(place)}".rstrip(": ")


def key_of(place: Sequence[str | int]) -> str:
    """A place as a person writes it.

    >>> key_of(("backends", 2, "set", "optim.lr"))
    'backends[2].set.optim.lr'
    """
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def read_matrix(path: Path) -> MatrixFile:
    """A matrix from its file. Raises `UsageError` with line, key and remedy of every mistake."""
    values = read_yaml(path, str(path))
    lines = dict(_lines(yaml.compose(path.read_text(encoding="utf-8-sig"))))
    try:
        file = MatrixFile(MatrixSpec.model_validate(values), path, lines)
    except ValidationError as error:
        mistakes = []
        for found in error.errors():
            place = tuple(found["loc"])
            mistakes.append(f"{place_text(path, lines, place)}: {_explain(found, place)}")
        raise refusal(mistakes, path) from error
    mistakes = [*_doubles(file), *_unknown_names(file)]
    if mistakes:
        raise refusal(mistakes, path)
    return file


def refusal(mistakes: Sequence[str], path: Path) -> UsageError:
    """One error that names all mistakes."""
    listed = "".join(f"\n  {mistake}" for mistake in mistakes)
    return UsageError(
        f"the matrix is refused, nothing was started:{listed}\n",
        where=str(path),
        remedy="mend these lines; docs/study.md lists every key",
    )


def _lines(node: yaml.Node | None, place: Place = ()) -> Iterator[tuple[Place, int]]:
    """The line of every key and entry; dotted keys of `set` as one part."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            inner = (*place, number)
            yield inner, value.start_mark.line + 1
            yield from _lines(value, inner)


def _explain(found: Any, place: Place) -> str:
    if found["type"] == "extra_forbidden":
        hint = did_you_mean(str(place[-1]), _keys_at(place))
        return f"unknown key; {hint}".rstrip("; ")
    if found["type"] == "missing":
        return "is missing"
    return f"{found['msg']} (it is {found['input']!r})"


def _keys_at(place: Place) -> list[str]:
    """The keys that may stand where an unknown one does."""
    sections: dict[str, type[Section]] = {
        "models": ModelEntry,
        "backends": BackendEntry,
        "equal": EqualBudget,
        "evaluation": EvaluationEntry,
        "assume": Assumptions,
        "prompts": EvaluationEntry,
        "slurm": Slurm,
    }
    if len(place) == 1:
        return list(MatrixSpec.model_fields)
    if place[0] == "resources":
        return list((Resources if len(place) == 2 else Room).model_fields)
    section = sections.get(str(place[0]))
    return list(section.model_fields) if section else []


def _doubles(file: MatrixFile) -> Iterator[str]:
    """Names that stand twice would be one row."""
    for key in ("models", "backends"):
        seen: set[str] = set()
        for number, entry in enumerate(getattr(file.spec, key)):
            if entry.name in seen:
                yield f"{file.at(key, number)}: the name `{entry.name}` stands twice"
            seen.add(entry.name)
    if len(set(file.spec.seeds)) < len(file.spec.seeds):
        yield f"{file.at('seeds')}: a seed stands twice"


def _unknown_names(file: MatrixFile) -> Iterator[str]:
    """Names that stand for entries of this file."""
    spec = file.spec
    models = [m.name for m in spec.models]
    rows = [b.name for b in spec.backends if b.name != BASE]
    for number, entry in enumerate(spec.backends):
        yield from _unknown(file, ("backends", number, "models"), entry.models or (), models)
    yield from _unknown(file, ("equal", "models"), spec.equal.models or (), models)
    yield from _unknown(file, ("equal", "rollouts"), spec.equal.rollouts, rows)
    yield from _unknown(file, ("equal", "tokens"), spec.equal.tokens, rows)
    if spec.equal.rollouts or spec.equal.tokens:
        yield from _unknown(file, ("equal", "reference"), (spec.equal.reference,), rows)


def _unknown(
    file: MatrixFile, place: Place, names: Sequence[str], known: Sequence[str]
) -> Iterator[str]:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            yield f"{file.at(*place)}: `{name}` is not in this matrix; {hint}"


def words_of(*sections: Mapping[str, Any]) -> list[str]:
    """`key=value` words of some `set` sections; later ones win.

    >>> words_of({"train": {"steps": 40}}, {"train.steps": 2, "optim.betas": [0.9, 0.95]})
    ['train.steps=2', 'optim.betas=[0.9, 0.95]']
    """
    merged: dict[str, Any] = {}
    for section in sections:
        merged |= dict(flatten(section))
    return [f"{key}={_value(value)}" for key, value in merged.items()]


def _value(value: Any) -> str:
    """A value as YAML has it on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    return text.removesuffix("\n...\n").strip()
