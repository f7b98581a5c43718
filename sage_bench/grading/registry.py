"""The registry of graders."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sage_bench.utils.errors import UsageError
from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from sage_bench.grading.verdict import Grader

TOLERANCE_MARK = "~"
# no decimal point: the name stands in file names, where a point sets parts apart
_AMOUNT = re.compile(r"[1-9]e-(?:[2-9]|1\d)|1e-1")


class Graders(Registry["type[Grader]"]):
    """Graders by name; `robust~1e-3` is `robust` with a tolerance.

    A tolerance is part of the name, so that whatever names the grader tells of it: the manifest,
    the files of grades, the tables, and the check that two runs were graded alike.
    """

    def get(self, name: str) -> type[Grader]:
        """As the registry's. Raises `UsageError` for a tolerance that cannot be meant, or where
        the grader has none."""
        base, mark, amount = name.partition(TOLERANCE_MARK)
        entry = super().get(base)
        if not mark:
            return entry
        if not hasattr(entry, "tolerance"):
            raise UsageError(
                f"the grader `{base}` has no tolerance", remedy=f"name it `{base}`, or take robust"
            )
        if not _AMOUNT.fullmatch(amount):
            raise UsageError(
                f"`{name}`: `{amount}` is not a tolerance",
                remedy="write the largest relative difference as 1e-3; at most 1e-1",
            )
        return type(entry.__name__, (entry,), {"tolerance": float(amount)})

    def __contains__(self, name: str) -> bool:
        base, mark, amount = name.partition(TOLERANCE_MARK)
        return super().__contains__(base) and (not mark or bool(_AMOUNT.fullmatch(amount)))


GRADERS = Graders("grader", package="sage_bench.grading.graders", group="sage_bench.graders")
register_grader = GRADERS.register
