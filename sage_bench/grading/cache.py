"""Verdicts are remembered: lm-eval's metrics, the grades file and the tables ask for the same
ones."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading.registry import GRADERS
from sage_bench.grading.verdict import Grader, Verdict

DEFAULT = "robust"
Options = tuple[str, ...] | None
_graders: dict[tuple[str, Options], Grader] = {}
_verdicts: dict[tuple[str, Options, str, str], Verdict] = {}


def grader(name: str = DEFAULT, options: Sequence[str] | None = None) -> Grader:
    """One instance a process; with the options of a multiple-choice question, if it takes any
    (`for_options`), one of its own."""
    if (name, None) not in _graders:
        _graders[name, None] = GRADERS.get(name)()
    plain = _graders[name, None]
    if options is None or not hasattr(plain, "for_options"):
        return plain
    key = (name, tuple(options))
    if key not in _graders:
        _graders[key] = plain.for_options(key[1])  # type: ignore[attr-defined]
    return _graders[key]


def grade(
    gold: str, texts: Sequence[str], name: str = DEFAULT, options: Sequence[str] | None = None
) -> list[Verdict]:
    """`grader(name, options).grade`, each distinct (gold, text) once."""
    key = None if options is None else tuple(options)
    missing = list(dict.fromkeys(t for t in texts if (name, key, gold, t) not in _verdicts))
    if missing:
        for text, verdict in zip(missing, grader(name, options).grade(gold, missing), strict=True):
            _verdicts[name, key, gold, text] = verdict
    return [_verdicts[name, key, gold, t] for t in texts]
