"""The constants of the objective. Its maths is in `losses`: a configuration loads no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Aggregation = Literal["token-mean", "seq-mean", "micro-batch token-mean", "constant"]


class Objective(BaseModel):
    """Constants of the update: verl's vanilla policy loss with DAPO's higher upper clip.

    Source: docs/design/sage.md 3.2 to 3.4.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: bool = Field(True, description="clip the ratio at all (LUFFY's final form does not)")
    clip_low: float = Field(0.2, gt=0, lt=1, description="ratio is clipped below at 1 - clip_low")
    clip_high: float = Field(
        0.28, gt=0, description="ratio is clipped above at 1 + clip_high (DAPO clip-higher)"
    )
    dual_clip: float | None = Field(
        3.0,
        gt=1,
        description="loss of negative advantages is capped at dual_clip * |A|; null = off",
    )
    log_ratio_clamp: float = Field(
        20.0, gt=0, description="log ratio is clamped to +- this before exp"
    )
    aggregation: Aggregation = Field(
        "token-mean",
        description=(
            "token-mean: every completion token of the update counts the same; seq-mean: every"
            " completion counts the same; micro-batch token-mean: the released recipe, token mean"
            " of `recipe_micro_batch` rows at a time, averaged; constant: sum of a completion's"
            " tokens over `constant_length`, averaged over completions (Dr. GRPO)"
        ),
    )
    constant_length: int | None = Field(
        None, ge=1, description="denominator of `constant`; null = sampling.max_tokens"
    )
    entropy_coef: float = Field(
        0.0, ge=0, description="weight of the token-mean entropy, which is maximised"
    )
    recipe_micro_batch: int = Field(
        4,
        ge=1,
        description="rows of a micro-batch in `micro-batch token-mean` (released recipe: 4)",
    )
    off_gamma: float = Field(
        0.1, gt=0, description="gamma of the off-policy shaping p / (p + gamma)"
    )
    importance: Literal["off", "token", "sequence"] = Field(
        "off",
        description=(
            "weigh the loss by the probability of the learner over that of the sampler, of each"
            " token or of whole completions, cut at `importance_cap` (truncated importance"
            " sampling)"
        ),
    )
    importance_cap: float = Field(2.0, gt=0, description="upper bound of that weight")
