"""The registry of graders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from sage_bench.grading.verdict import Grader

GRADERS: Registry[type[Grader]] = Registry(
    "grader", package="sage_bench.grading.graders", group="sage_bench.graders"
)
register_grader = GRADERS.register
