"""The TRL engine: the same methods, applied by TRL's GRPOTrainer on accelerate, in one process or
many (DDP, FSDP2, DeepSpeed ZeRO-3). It needs the extra `trl`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sage_bench.config.schema import RunConfig
from sage_bench.engines.registry import register_engine
from sage_bench.utils.errors import UsageError

if TYPE_CHECKING:
    from sage_bench.engines.trl.engine import TrlEngine

REMEDY = "pip install 'sage-bench[trl]'"


@register_engine("trl")
def trl(config: RunConfig, optimizer_steps: int) -> TrlEngine:
    """TRL's GRPOTrainer on accelerate: one process or many (`torchrun`, `sage-bench launch`)."""
    if find_spec("trl") is None:
        raise UsageError(
            "engine `trl` needs TRL, which is not installed",
            where="engine.name",
            remedy=f"{REMEDY}, or train with --engine local",
        )
    # not above: TRL takes ten seconds to import, and lists of engines must not wait for it
    from sage_bench.engines.trl.build import build

    return build(config, optimizer_steps)


if find_spec("trl") is None:
    first_line = (trl.__doc__ or "").splitlines()[0]
    trl.note = f"{first_line} Not installed: {REMEDY}"  # type: ignore[attr-defined]
