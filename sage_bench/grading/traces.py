"""Is a teacher's trace right? Math-Verify on what follows the thinking, boxed or not.

Source: docs/design/sage.md 1.1. This is how the 64k prompts of SAGE were chosen; the reward and the
benchmarks have graders of their own, which want a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

from sage_bench.grading.pool import Pool, shared_pool
from sage_bench.grading.verdict import Verdict
from sage_bench.grading.worker import METRIC_PRECISION, METRIC_SECONDS, Reply, cpu_alarm

COMPARER = "sage_bench.grading.traces:compare"
END_OF_THINKING = "</think>"


class TraceGrader:
    r"""Math-Verify's metric on whole texts.

    >>> texts = ["<think>5? no.</think> The answer is 7.", r"so \boxed{5}"]
    >>> [v.correct for v in TraceGrader().grade("7", texts)]
    [True, False]
    """

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        self.version = f"traces, math-verify {version('math-verify')}"

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        return self.grade_many([(gold, text) for text in texts])

    def grade_many(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts on (gold, trace) pairs, compared together in the worker processes."""
        jobs = [(gold, answer_part(trace), COMPARER) for gold, trace in pairs]
        replies = (self.pool or shared_pool()).distinct(jobs)
        return [Verdict(replies[job]["correct"], replies[job]["status"]) for job in jobs]


def answer_part(trace: str) -> str:
    """What is said after the thinking; all of it where nothing marks the end of thinking.

    >>> answer_part("<think>a</think> b"), answer_part("c")
    (' b', 'c')
    """
    return trace.rpartition(END_OF_THINKING)[2]


def compare(gold: str, answer: str) -> Reply:
    """Runs in a worker process. Its time-outs are of processor time."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    def parsed(text: str, *how: object) -> list[object]:
        with suppress(TimeoutError), cpu_alarm(METRIC_SECONDS):
            return list(parse(text, how, parsing_timeout=None))
        return []

    golds = parsed("\\boxed{" + gold + "}", LatexExtractionConfig())
    if not golds:
        return {"correct": False, "status": "parse_error"}
    answers = parsed(answer, ExprExtractionConfig(), LatexExtractionConfig())
    if not answers:
        return {"correct": False, "status": "no_answer"}
    same = False
    with suppress(TimeoutError), cpu_alarm(METRIC_SECONDS):
        same = bool(verify(golds, answers, METRIC_PRECISION, timeout_seconds=None))
    return {"correct": same, "status": "ok"}
