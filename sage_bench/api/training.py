"""`train` from Python, and the plan of a run without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sage_bench.api.settings import Overrides, training_config, warnings_of
from sage_bench.config.layers import Resolved
from sage_bench.config.schema import RunConfig
from sage_bench.methods.base import make_config
from sage_bench.methods.registry import BACKENDS
from sage_bench.utils.files import read_jsonl
from sage_bench.utils.progress import first_process, stderr
from sage_bench.utils.secrets import masked, masked_text


@dataclass(frozen=True)
class TrainResult:
    """A finished training run.

    folder: of the run. checkpoint: the last one, a model folder. metrics: one row a step;
    validation: one row a measurement of the reward without hints; ledger: one row a group.
    """

    folder: Path
    checkpoint: Path

    @property
    def metrics(self) -> pd.DataFrame:
        return self._table("metrics.jsonl")

    @property
    def validation(self) -> pd.DataFrame:
        return self._table("validation.jsonl")

    @property
    def ledger(self) -> pd.DataFrame:
        return self._table("ledger.jsonl")

    def _table(self, name: str) -> pd.DataFrame:
        return pd.DataFrame(list(read_jsonl(self.folder / name)))


def train(
    backend: str | None = None,
    model: str | None = None,
    data: str | None = None,
    *,
    out: Path | str,
    engine: str | None = None,
    configs: Sequence[str] = (),
    overrides: Overrides = (),
    backend_files: Sequence[str] = (),
    overwrite: bool = False,
    quiet: bool = True,
) -> TrainResult:
    """Train a policy with one method; the same call goes on where an earlier one stopped.

    backend: a registered method. model: preset, folder or Hub id. data: dataset or file. out: the
    run's folder. configs: YAML files or presets. overrides: dotted keys with values, or
    `key=value` words. overwrite: a run that lies in `out` goes to .trash first.

    Raises `UsageError` for a wrong name or key, `TrainingError` when the run cannot go on.
    """
    resolved = training_config(
        backend=backend,
        model=model,
        data=data,
        engine=engine,
        configs=configs,
        overrides=overrides,
        backend_files=backend_files,
    )
    return run_training(resolved, Path(out), overwrite=overwrite, quiet=quiet)


def run_training(
    resolved: Resolved[RunConfig], out: Path, *, overwrite: bool = False, quiet: bool = True
) -> TrainResult:
    """Train what a configuration says."""
    from sage_bench.training import loop, setup

    # of several processes the first one speaks
    quiet = quiet or not first_process()
    for warning in warnings_of(resolved) if first_process() else ():
        stderr().print(f"warning: {warning}")
    checkpoint = loop.train(setup.build(resolved, out, quiet=quiet, overwrite=overwrite))
    return TrainResult(out, checkpoint)


@dataclass(frozen=True)
class TrainingPlan:
    """What a run would do. text: for people; values: for programs."""

    text: str
    values: dict[str, Any]


def training_plan(resolved: Resolved[RunConfig]) -> TrainingPlan:
    """The plan `--dry-run` prints. Loads no weights, writes nothing."""
    from sage_bench.api.planning import short_plan
    from sage_bench.training.plan import deviations, plan

    config = resolved.config
    method_class = BACKENDS.get(config.backend)
    method = make_config(method_class, config.method, resolved.origins.get("method", "method"))
    per_step = config.train.prompts_per_step * method.group_size if method_class.needs else 0
    memory, numbers = short_plan(resolved)
    values = {
        "configuration": masked(config.model_dump(mode="json")),
        "switches": masked(method.model_dump(mode="json")),
        "rollouts_per_step": per_step,
        "warnings": warnings_of(resolved),
        "memory": numbers,
        "deviations": [
            {"switch": name, "value": value, "paper": paper, "code": code}
            for name, value, paper, code in deviations(method)
        ],
    }
    warned = [f"warning    {warning}" for warning in warnings_of(resolved)]
    shown = RunConfig.model_validate(masked(config.model_dump()))
    text = plan(Resolved(shown, resolved.origins))
    lines = [masked_text(text), f"memory     {memory}", *warned]
    return TrainingPlan("\n".join(lines), values)


def config_rows(resolved: Resolved[Any]) -> list[tuple[str, Any, str]]:
    """(key, value, origin) of every value, with each switch of a training run's method.

    A switch that no layer sets shows the method's own default.
    """
    rows = [(key, masked(value, key), origin) for key, value, origin in resolved.rows()]
    if not isinstance(resolved.config, RunConfig):
        return rows
    method_class = BACKENDS.get(resolved.config.backend)
    switches = make_config(method_class, resolved.config.method, "method").model_dump()
    out = []
    for key, value, origin in rows:
        if key == "method" or key.startswith("method."):
            continue
        out.append((key, value, origin))
    place = next(i for i, row in enumerate(out) if row[0].startswith("objective."))
    own = [
        (f"method.{name}", masked(value, name), _origin(f"method.{name}", resolved.origins))
        for name, value in switches.items()
    ]
    return [*out[:place], *own, *out[place:]]


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """The layer that set a key, or the last one that set something inside it."""
    inside = [origin for known, origin in origins.items() if known.startswith(key + ".")]
    return origins.get(key) or (inside[-1] if inside else "default")
