"""Six pairs whose grades change with the versions underneath.

The antlr runtime alone decides the first two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from sage_bench.grading.pool import Pool, shared_pool

PACKAGES = (
    "math-verify",
    "latex2sympy2_extended",
    "antlr4-python3-runtime",
    "sympy",
    "mpmath",
    "pylatexenc",
)
EXPECTED = (  # (gold, answer, what math-verify 0.9 with antlr 4.13.2 says)
    ("50", r"50\%", True),
    ("0.5", r"50\%", True),
    (r"\frac{1}{3}", "0.333333", True),
    (r"3\sqrt{13}", r"\sqrt{117}", True),
    ("(1,2)", "(2,1)", False),
    ("x+1", "x+2", False),
)


@dataclass(frozen=True, slots=True)
class Canary:
    """One pair, what was expected of math-verify, and what it answered.

    answered: None where the comparison was lost.
    """

    gold: str
    answer: str
    expected: bool
    answered: bool | None

    @property
    def well(self) -> bool:
        return self.answered is self.expected


def canaries(pool: Pool | None = None) -> list[Canary]:
    """Ask math-verify, past all our short cuts; once a process.

    Any that is not `well` means: grades here differ from grades elsewhere.
    """
    return list(_asked(pool))


@cache
def _asked(pool: Pool | None) -> tuple[Canary, ...]:
    replies = (pool or shared_pool()).compare([(gold, answer) for gold, answer, _ in EXPECTED])
    found = []
    for (gold, answer, expected), reply in zip(EXPECTED, replies, strict=True):
        answered = reply["correct"] if reply["status"] == "ok" else None
        found.append(Canary(gold, answer, expected, answered))
    return tuple(found)


def packages() -> dict[str, str]:
    """Versions of everything that decides a grade."""
    out = {}
    for name in PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out
