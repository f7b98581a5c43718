"""SAGE's two math-verify verifiers exactly as released (spec 4.1, 4.2), to reproduce their numbers.
`math_verify` mends their extraction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

from sage_bench.grading.extract import closings
from sage_bench.grading.pool import Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict

METRIC = "sage_bench.grading.worker:metric"


def train_box(text: str) -> str | None:
    r"""What follows the last `\boxed{` up to its closing brace; None when that one is not closed,
    even if an earlier one is.

    >>> train_box(r"\boxed{5} and \boxed{6}"), train_box(r"\boxed{5}, finally \boxed{6"), train_box(r"\boxed 5")
    ('6', None, None)
    """
    start = text.rfind("\\boxed{")
    end = closings(text, escapes=False).get(start + len("\\boxed")) if start >= 0 else None
    return None if end is None else text[start + len("\\boxed{") : end].strip()


def eval_box(text: str) -> str | None:
    r"""As `train_box`, but an earlier closed box counts, `\boxed 5` counts, and an unmatched `}`
    anywhere before hides everything.

    >>> eval_box(r"\boxed{5}, finally \boxed{6"), eval_box(r"thus $\boxed 5$"), eval_box(r"a } stray brace, \boxed{5}")
    ('5', '5', None)
    """
    depth = 0
    for c in text[: max(text.rfind("\\boxed"), 0)]:
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return None
    ends = closings(text, escapes=False)
    starts = [m.end() for m in re.finditer(r"\\boxed(?=\{)", text)]
    found = next((text[i + 1 : ends[i]].strip() for i in reversed(starts) if i in ends), None)
    if found is None and "\\boxed " in text:
        bare = text.split("\\boxed ")[-1].split("$")[0]
        return None if bare.startswith("{") else bare.strip()
    return found


class _Released:
    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        self.version = (
            f"{self.name} 1, math_verify {version('math-verify')}, antlr"
            f" {version('antlr4-python3-runtime')}"
        )

    name = ""

    def box(self, text: str) -> str | None:
        raise NotImplementedError

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        answers = [self.box(t) for t in texts]
        distinct = list(dict.fromkeys(a for a in answers if a))
        replies = (
            dict(
                zip(
                    distinct,
                    (self.pool or shared_pool()).compare([(gold, a, METRIC) for a in distinct]),
                    strict=True,
                )
            )
            if distinct
            else {}
        )
        return [
            (
                Verdict(replies[a]["correct"], replies[a]["status"], a)
                if a
                else Verdict(False, "no_answer")
            )
            for a in answers
        ]

    def gold_error(self, gold: str) -> str | None:
        return None  # the released code has no such check: what cannot be read never matches


@register_grader("sage_train")
class SageTrain(_Released):
    r"""SAGE's training reward: last literal `\boxed{`, then math-verify's metric on boxed texts.

    >>> [v.correct for v in SageTrain().grade("1/2", [r"\boxed{0.5}", r"\boxed{1/2} \boxed{"])]
    [True, False]
    """

    name = "sage_train"

    def box(self, text: str) -> str | None:
        return train_box(text)


@register_grader("sage_eval")
class SageEval(_Released):
    r"""SAGE's other evaluation path (`compute_score` without the oat grader): another extraction,
    the same metric.

    >>> [v.correct for v in SageEval().grade("1/2", [r"\boxed{0.5}", r"\boxed{1/2} \boxed{", r"thus $\boxed 5$"])]
    [True, True, False]
    """

    name = "sage_eval"

    def box(self, text: str) -> str | None:
        return eval_box(text)
