"""GPUs by name: how much memory they have, and how fast they are on paper."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sage_bench.utils.errors import UsageError, did_you_mean

# (dense bfloat16 TFLOP/s, memory bandwidth in TB/s), from NVIDIA's data sheets
SPEEDS = {
    "A100": (312.0, 2.0),
    "H100": (989.0, 3.35),
    "H200": (989.0, 4.8),
    "B200": (2250.0, 8.0),
    "L40S": (362.0, 0.864),
    "RTX4090": (165.0, 1.008),
}
_WRITTEN = re.compile(r"(?:(\d+)\s*x\s*)?([A-Za-z][A-Za-z0-9]*)?-?(\d+)\s*G(?:i?B)?", re.I)


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one kind. memory: GiB of each. speed: (TFLOP/s, TB/s), None where not known."""

    count: int
    name: str
    memory: float
    speed: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{self.count} x {self.name} {self.memory:g} GiB".replace("  ", " ")


def parse(text: str) -> Gpus:
    """GPUs as they are written on the command line. Raises `UsageError`.

    >>> parse("8xH100-80G")
    Gpus(count=8, name='H100', memory=80.0, speed=(989.0, 3.35))
    >>> str(parse("H200-141G")), parse("2x48G").speed
    ('1 x H200 141 GiB', None)
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None or match[1] == "0" or match[3] == "0":
        raise UsageError(
            f"`{text}` does not say which GPUs",
            where="--gpus",
            remedy="write number, name and memory of each, e.g. 8xH100-80G or 1xH200-141G",
        )
    name = (match[2] or "").upper()
    if name and name not in SPEEDS:
        hint = did_you_mean(name, SPEEDS)
        raise UsageError(
            f"the speed of a `{name}` is not known here" + (f"; {hint}" if hint else ""),
            where="--gpus",
            remedy=f"one of {', '.join(SPEEDS)}, or the memory alone (8x80G) for a plan without"
            " hours",
        )
    return Gpus(int(match[1] or 1), name or "GPU", float(match[3]), SPEEDS.get(name))
