"""Verdicts are remembered: lm-eval's metrics, the grades file and the tables ask for the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading.verdict import Grader, Verdict
from sage_bench.registry import GRADERS

DEFAULT = "robust"
_graders: dict[str, Grader] = {}
_verdicts: dict[tuple[str, str, str], Verdict] = {}


def grader(name: str = DEFAULT) -> Grader:
    """One instance a process."""
    if name not in _graders:
        _graders[name] = GRADERS.get(name)()
    return _graders[name]


def grade(gold: str, texts: Sequence[str], name: str = DEFAULT) -> list[Verdict]:
    """`grader(name).grade`, each distinct (gold, text) once."""
    missing = list(dict.fromkeys(t for t in texts if (name, gold, t) not in _verdicts))
    if missing:
        for text, verdict in zip(missing, grader(name).grade(gold, missing), strict=True):
            _verdicts[name, gold, text] = verdict
    return [_verdicts[name, gold, t] for t in texts]
