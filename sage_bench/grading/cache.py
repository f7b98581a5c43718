"""Verdicts are remembered: metrics, the grades file and the tables ask for the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading.registry import GRADERS
from sage_bench.grading.verdict import Grader, OptionGrader, Verdict

DEFAULT = "robust"
Options = tuple[str, ...] | None
_graders: dict[tuple[str, Options], Grader] = {}
_verdicts: dict[tuple[str, Options, str, str], Verdict] = {}


def grader(name: str = DEFAULT, options: Sequence[str] | None = None) -> Grader:
    """One instance a process.

    With the options of a multiple-choice question one of its own, where the grader takes any.
    """
    if (name, None) not in _graders:
        _graders[name, None] = GRADERS.get(name)()
    plain = _graders[name, None]
    if options is None or not isinstance(plain, OptionGrader):
        return plain
    key = (name, tuple(options))
    if key not in _graders:
        _graders[key] = plain.for_options(tuple(options))
    return _graders[key]


def grade(
    gold: str, texts: Sequence[str], name: str = DEFAULT, options: Sequence[str] | None = None
) -> list[Verdict]:
    """`grader(name, options).grade`, each distinct (gold, text) once."""
    key = None if options is None else tuple(options)
    missing = list(dict.fromkeys(t for t in texts if (name, key, gold, t) not in _verdicts))
    if missing:
        verdicts = grader(name, options).grade(gold, missing)
        for text, verdict in zip(missing, verdicts, strict=True):
            _verdicts[name, key, gold, text] = verdict
    return [_verdicts[name, key, gold, t] for t in texts]
