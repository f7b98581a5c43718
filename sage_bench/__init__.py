"""Train reasoning policies with the methods of the field, evaluate them without hints.

>>> from sage_bench import train, evaluate, compare, register_backend
>>> result = train("sage", "tiny-llama", "tiny", out="runs/sage")      # doctest: +SKIP
>>> evaluate(result.checkpoint, "tiny:4", out="runs/eval").table       # doctest: +SKIP

The functions are loaded when they are first used: importing this package imports neither torch nor
transformers.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before anything imports torch: by default, OpenMP threads spin while they wait, and a second
# process on the same cores makes steps ten to thirty times slower. Waiting passively costs nothing
# measurable.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sage_bench.version import VERSION as __version__

if TYPE_CHECKING:
    from sage_bench.api.evaluation import evaluate
    from sage_bench.api.grading import grade, grade_file
    from sage_bench.api.tables import compare, report
    from sage_bench.api.training import train
    from sage_bench.config.registry import register_model
    from sage_bench.data.registry import register_dataset
    from sage_bench.engines.registry import register_engine
    from sage_bench.engines.rollouts.registry import register_rollouts
    from sage_bench.generation.registry import register_sampler
    from sage_bench.grading.registry import register_grader
    from sage_bench.judges.registry import register_judge
    from sage_bench.methods.registry import register_backend
    from sage_bench.training.boards.registry import register_sink

__all__ = [
    "__version__",
    "compare",
    "evaluate",
    "grade",
    "grade_file",
    "register_backend",
    "register_dataset",
    "register_engine",
    "register_grader",
    "register_judge",
    "register_model",
    "register_rollouts",
    "register_sampler",
    "register_sink",
    "report",
    "train",
]

_HOMES = {
    "train": "sage_bench.api.training",
    "evaluate": "sage_bench.api.evaluation",
    "grade": "sage_bench.api.grading",
    "grade_file": "sage_bench.api.grading",
    "compare": "sage_bench.api.tables",
    "report": "sage_bench.api.tables",
    "register_backend": "sage_bench.methods.registry",
    "register_dataset": "sage_bench.data.registry",
    "register_engine": "sage_bench.engines.registry",
    "register_grader": "sage_bench.grading.registry",
    "register_judge": "sage_bench.judges.registry",
    "register_model": "sage_bench.config.registry",
    "register_sampler": "sage_bench.generation.registry",
    "register_rollouts": "sage_bench.engines.rollouts.registry",
    "register_sink": "sage_bench.training.boards.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `sage_bench` has no attribute `{name}`")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
