"""Grading: extract the answer, compare it to the gold, say how it went. Never a bare bool."""

from sage_bench.grading.extract import last_boxed
from sage_bench.grading.verdict import Verdict

__all__ = ["Verdict", "last_boxed"]
