"""Graders the task files name, for a tree in which they are not there yet; nothing where they
are."""

from __future__ import annotations

from sage_bench.grading.extract import last_boxed
from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.registry import GRADERS, register_grader
from sage_bench.grading.verdict import Verdict


class _Mcq:
    """The boxed letter, nothing else."""

    version = "stand-in"

    def grade(self, gold, texts):
        answers = [last_boxed(t) for t in texts]
        return [
            Verdict(a.strip("() ").upper() == gold, "ok", a) if a else Verdict(False, "no_answer")
            for a in answers
        ]

    def gold_error(self, gold):
        return None if len(gold) == 1 and gold.isupper() else "no letter"


REPLACED = {name for name in ("robust", "mcq") if name not in GRADERS}
if "robust" in REPLACED:
    register_grader("robust")(type("Robust", (MathVerify,), {}))
if "mcq" in REPLACED:
    register_grader("mcq")(_Mcq)
