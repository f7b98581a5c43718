"""The grader of SAGE's and Dr. GRPO's tables, for comparison with published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from sage_bench.grading.oat import boxed, mathd
from sage_bench.grading.pool import Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict
from sage_bench.grading.worker import Reply


@register_grader("oat")
class Oat:
    r"""The oat grader (docs/design/sage.md 4.2): string, sympy and, unless `fast`, math-verify.

    Lenient; `a+b` passes for `c+b`. Golds may be lists, of which any one will do.

    >>> texts = [r"\boxed{5}", r"\boxed {5}", r"\boxed{5} or \boxed{5"]
    >>> [v.correct for v in Oat(fast=True).grade("5", texts)]
    [True, False, False]
    """

    def __init__(self, fast: bool = False, pool: Pool | None = None):
        self.fast = fast
        self.pool = pool
        self.how = "sage_bench.grading.oat:equivalent" + ("_fast" if fast else "")
        packages = ["sympy", "pylatexenc"]
        if not fast:
            packages += ["math-verify", "antlr4-python3-runtime"]
        self.version = "oat 1, " + ", ".join(f"{p} {version(p)}" for p in packages)

    def grade(self, gold: str | float | Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        golds = [str(g) for g in gold] if isinstance(gold, (list, tuple)) else [str(gold)]
        golds = [(boxed(g) or "") if "\\boxed" in g else g for g in golds]
        answers = [boxed(t) for t in texts]
        slow = [
            (g, a, self.how)
            for a in dict.fromkeys(answers)
            for g in golds
            if a is not None and mathd(g) != mathd(a)
        ]
        replies = (self.pool or shared_pool()).distinct(slow)
        same: Reply = {"correct": True, "status": "ok"}
        verdicts = []
        for a in answers:
            if a is None:
                verdicts.append(Verdict(False, "no_answer"))
                continue
            found = [replies.get((g, a, self.how), same) for g in golds]
            best = next((r for r in found if r["correct"]), found[0])
            verdicts.append(Verdict(best["correct"], best["status"], a))
        return verdicts

    def gold_error(self, gold: str) -> str | None:
        return None  # the released code has no such check: what cannot be read never matches


@register_grader("oat_fast")
class OatFast(Oat):
    """The oat grader without its math-verify step (its `fast` mode)."""

    def __init__(self, pool: Pool | None = None):
        super().__init__(fast=True, pool=pool)
