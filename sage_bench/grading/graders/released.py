"""SAGE's two math-verify verifiers exactly as released, to reproduce their numbers.

Source: docs/design/sage.md 4.1 and 4.2.
`math_verify` mends their extraction.
"""

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
    r"""What follows the last `\boxed{` up to its closing brace.

    None when that one is not closed, even if an earlier one is.

    >>> train_box(r"\boxed{5} and \boxed{6}"), train_box(r"\boxed{5}, finally \boxed{6")
    ('6', None)
    """
    start = text.rfind("\\boxed{")
    end = closings(text, escapes=False).get(start + len("\\boxed")) if start >= 0 else None
    return None if end is None else text[start + len("\\boxed{") : end].strip()


def eval_box(text: str) -> str | None:
    r"""As `train_box`, but an earlier closed box counts, `\boxed 5` counts, and an unmatched `}`
    anywhere before hides everything.

    >>> eval_box(r"\boxed{5}, finally \boxed{6"), eval_box(r"thus $\boxed 5$")
    ('5', '5')
    >>> eval_box(r"a } stray brace, \boxed{5}")
    """
    depth = 0
    for c in text[: max(text.rfind("\\boxed"), 0)]:
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return None
    ends = closings(text, escapes=False)
    starts = [m.end() for m in re.finditer(r"\\boxed(?=\{)", text)]
    for start in reversed(starts):
        if start in ends:
            return text[start + 1 : ends[start]].strip()
    if "\\boxed " not in text:
        return None
    bare = text.split("\\boxed ")[-1].split("$")[0]
    return None if bare.startswith("{") else bare.strip()


class _Released:
    """math-verify's metric on what an extraction of theirs finds."""

    name = ""

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        antlr = version("antlr4-python3-runtime")
        self.version = f"{self.name} 1, math_verify {version('math-verify')}, antlr {antlr}"

    def box(self, text: str) -> str | None:
        raise NotImplementedError

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        answers = [self.box(t) for t in texts]
        replies = (self.pool or shared_pool()).distinct([(gold, a, METRIC) for a in answers if a])
        verdicts = []
        for a in answers:
            if not a:
                verdicts.append(Verdict(False, "no_answer"))
                continue
            reply = replies[gold, a, METRIC]
            verdicts.append(Verdict(reply["correct"], reply["status"], a))
        return verdicts

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
    r"""SAGE's other evaluation path (`compute_score` without the oat grader).

    Another extraction, the same metric.

    >>> texts = [r"\boxed{0.5}", r"\boxed{1/2} \boxed{", r"thus $\boxed 5$"]
    >>> [v.correct for v in SageEval().grade("1/2", texts)]
    [True, True, False]
    """

    name = "sage_eval"

    def box(self, text: str) -> str | None:
        return eval_box(text)
