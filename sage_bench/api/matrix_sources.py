"""What a training of a matrix takes from other runs: recorded groups, the weights of a judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sage_bench.config.models import path_of
from sage_bench.config.schema import RunConfig
from sage_bench.engines.rollouts.registry import kind_and_argument
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.weights import hash_weights
from sage_bench.judges.trained import read_trained
from sage_bench.utils.errors import SageBenchError

MISSING = "missing"
RECORDED = "recorded"
OPTIONS = "judge_options"


@dataclass(frozen=True)
class Source:
    """What another run made. digest: of its contents. lacking: why it cannot be used, and how it is
    made; empty where it can."""

    key: str
    digest: str
    lacking: str = ""


def sources_of(config: RunConfig) -> Iterator[Source]:
    """The record a training reads, and the judge it asks."""
    kind, folder = kind_and_argument(config.engine.rollouts)
    if kind == RECORDED and folder:
        yield record_at(folder)
    for name in judge_models(config.method.get(OPTIONS)):
        yield judge_at(name)


def judge_models(options: Any) -> Iterator[str]:
    """Models named in the options of a judge, or in those of a judge within it.

    >>> list(judge_models({"judge": "policy", "options": {"model": "runs/judge"}}))
    ['runs/judge']
    """
    if not isinstance(options, Mapping):
        return
    if isinstance(options.get("model"), str) and "base_url" not in options:
        yield options["model"]
    yield from judge_models(options.get("options"))


@lru_cache(maxsize=32)
def record_at(folder: str) -> Source:
    """digest: of the record in a folder."""
    try:
        return Source("record", Record.open(Path(folder)).digest)
    except SageBenchError as error:
        reason = f"no record of rollouts in {folder} ({error.what}): make it with"
        return Source("record", MISSING, f"{reason} `sage-bench record`")


@lru_cache(maxsize=32)
def judge_at(name: str) -> Source:
    """digest: of a judge's weights; of a model of the Hub its name."""
    trained = read_trained(name)
    path = trained.model if trained else path_of(name)
    if Path(path).exists():
        return Source("judge weights", hash_weights(path, None))
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return Source("judge weights", name)
    lacking = f"no judge in {name}: teach one with `sage-bench judge-train`"
    return Source("judge weights", MISSING, lacking)
