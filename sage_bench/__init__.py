"""SAGE-Bench: train reasoning policies with the methods of the field, evaluate them without hints,
print the table.

>>> from sage_bench import register_backend                     # doctest: +SKIP
>>> from sage_bench.backends.grpo import GRPO                   # doctest: +SKIP

Importing this package imports neither torch nor transformers.
"""

import os

# Before anything imports torch: with the default, OpenMP threads spin while they wait, and a second
# process on the same
# cores makes steps ten to thirty times slower. Waiting passively costs nothing measurable.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sage_bench.config.registry import register_model
from sage_bench.data.registry import register_dataset
from sage_bench.engines.registry import register_engine
from sage_bench.grading.registry import register_grader
from sage_bench.methods.registry import register_backend
from sage_bench.version import VERSION as __version__

__all__ = [
    "__version__",
    "register_backend",
    "register_dataset",
    "register_engine",
    "register_grader",
    "register_model",
]
