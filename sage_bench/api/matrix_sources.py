"""What a training of a matrix takes from other runs: recorded groups, the weights of a judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def sources_of(config: RunConfig, lacking: list[str]) -> dict[str, str]:
    """Digests of what other runs made, by key. What is not there is noted in `lacking`, with the
    command that makes it."""
    found = {}
    kind, folder = kind_and_argument(config.engine.rollouts)
    if kind == RECORDED and folder:
        found["record"] = record_digest(folder)
        if found["record"] == MISSING:
            lacking.append(f"no record of rollouts in {folder}: make it with `sage-bench record`")
    for name in judge_models(config.method.get(OPTIONS) or {}):
        found["judge weights"] = judge_digest(name)
        if found["judge weights"] == MISSING:
            lacking.append(f"no judge in {name}: teach one with `sage-bench judge-train`")
    return found


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
def record_digest(folder: str) -> str:
    """The digest of a record, or that there is none that can be read."""
    try:
        return Record.open(Path(folder)).digest
    except SageBenchError:
        return MISSING


@lru_cache(maxsize=32)
def judge_digest(name: str) -> str:
    """Digest of a judge's weights; the name itself for a model of the Hub."""
    trained = read_trained(name)
    path = trained.model if trained else path_of(name)
    if Path(path).exists():
        return hash_weights(path, None)
    return name if name.count("/") == 1 and not name.startswith((".", "/")) else MISSING
