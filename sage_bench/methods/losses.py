"""The objective as pure tensor maths: per-token loss, and the weight every token has in the mean.

A step minimises sum over rows of `w_row * sum over tokens of loss`. `row_weights` fixes `w_row`
from the lengths of *all* rows of the update, dead ones included, before anything is run. Therefore
neither skipping rows whose advantage is zero nor cutting the update into micro-batches changes the
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sage_bench.methods.objective import Aggregation, Objective
from sage_bench.types import Kind


def row_weights(
    lengths: Sequence[int],
    aggregation: Aggregation = "token-mean",
    recipe_micro_batch: int = 4,
    constant_length: int | None = None,
) -> Tensor:
    """Weight of one token of each row in the loss. lengths: tokens of each of the R rows. Returns
    (R,) float64. Raises `ValueError` for `constant` without a constant_length.

    >>> row_weights([1, 3]).tolist()                       # every token 1/4
    [0.25, 0.25]
    >>> row_weights([1, 3], "seq-mean").tolist()           # every row 1/2
    [0.5, 0.16666666666666666]
    >>> row_weights([1, 3, 2], "micro-batch token-mean", 2).tolist()
    [0.125, 0.125, 0.25]
    >>> row_weights([1, 3], "constant", constant_length=10).tolist()
    [0.05, 0.05]
    """
    n = torch.tensor(lengths, dtype=torch.float64)
    if len(n) == 0:
        return n
    if aggregation == "token-mean":
        return torch.full_like(n, 1.0) / n.sum().clamp(min=1)
    if aggregation == "seq-mean":
        return 1.0 / (len(n) * n.clamp(min=1))
    if aggregation == "constant":
        if not constant_length:
            raise ValueError("aggregation `constant` needs constant_length")
        return torch.full_like(n, 1.0 / (len(n) * constant_length))
    micro = torch.split(n, recipe_micro_batch)
    return torch.cat([torch.full_like(m, 1.0) / (len(micro) * m.sum().clamp(min=1)) for m in micro])


def token_loss(
    logp: Tensor, old_logp: Tensor, advantage: Tensor, kind: Tensor, objective: Objective
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of each token, and sums for the log.

    All arguments are (N,): the completion tokens of some rows, laid end to end. kind holds `Kind`
    values. Returns (loss (N,), stats), stats being sums over policy-gradient tokens, to be divided
    by `stats["pg_tokens"]`.

    PG (docs/design/sage.md 3.2): r = exp(clamp(logp - old, +-20)), and
    L = max(-A r, -A clip(r, 1 - lo, 1 + hi)); for A < 0 also L = min(L, -c A).
    OFF: -A p / (p + gamma). CE: -A logp.

    >>> half = torch.tensor([0.5]).log()
    >>> kind = torch.zeros(1, dtype=torch.long)
    >>> loss, stats = token_loss(half + 1.0, half, torch.tensor([2.0]), kind, Objective())
    >>> round(loss.item(), 4), stats["clip_fraction"].item()     # ratio e is clipped at 1.28
    (-2.56, 1.0)
    """
    o = objective
    log_ratio = (logp - old_logp).clamp(-o.log_ratio_clamp, o.log_ratio_clamp)
    ratio = log_ratio.exp()
    plain = -advantage * ratio
    clipped = -advantage * ratio.clamp(1 - o.clip_low, 1 + o.clip_high) if o.clip else plain
    pg = torch.maximum(plain, clipped)
    if o.dual_clip is not None:
        pg = torch.where(advantage < 0, torch.minimum(pg, -o.dual_clip * advantage), pg)
    loss = pg
    if bool((kind != Kind.PG).any()):  # spare the common case two more passes over the tokens
        p = logp.exp()
        loss = torch.where(kind == Kind.OFF, -advantage * p / (p + o.off_gamma), loss)
        loss = torch.where(kind == Kind.CE, -advantage * logp, loss)
    with torch.no_grad():
        on = (kind == Kind.PG).to(logp.dtype)
        stats = {
            "pg_tokens": on.sum(),
            "clip_fraction": (on * (clipped > plain)).sum(),
            "ratio": (on * ratio).sum(),
            "kl_old": (on * (ratio - 1 - log_ratio)).sum(),  # k3 estimate of KL(old || current)
        }
    return loss, stats
